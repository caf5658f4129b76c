"""Figures over time as an SVG: panels one below the other on one axis of time. Pure, values in, text out."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH = 960
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 168, 92, 44
_PLOT_HEIGHT, _PANEL_HEIGHT = 104, 152
_PLOT_WIDTH = _WIDTH - _LEFT - _RIGHT
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800)
_MOST_TIME_TICKS = 10
_AS_MINUTES_FROM = 120
_STYLE = """
text{font:12px system-ui,'Segoe UI','Helvetica Neue',Arial,sans-serif;fill:#3d4450}
.h{font-size:18px;font-weight:600;fill:#161b22}.t{font-size:13px;font-weight:600;fill:#161b22}
.s{fill:#5c6470}.a{font-size:11px;fill:#6b7280}.band{fill:#2f9e5f;fill-opacity:.16}.bl{font-size:11px;fill:#23784a}
.mark{stroke:#c0392b;stroke-width:1;stroke-dasharray:5 4}.ml{font-size:11px;fill:#b03426}
.grid{stroke:#e6e8eb;stroke-width:1}.axis{stroke:#9aa1ab;stroke-width:1}.span{fill:#eef0f3}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One figure at the chart's times; None leaves a gap."""

    name: str
    values: Sequence[float | None]
    color: str
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """A range behind the lines; a high of None reaches to the panel's top."""

    low: float
    high: float | None
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A level across the panel, such as a limit; shown only where the axis reaches it anyway."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure: its lines, what is said of it beside its title, what is expected of it."""

    title: str
    lines: Sequence[Line]
    remark: str = ""
    band: Band | None = None
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """A time with a name, shaded behind all panels."""

    start: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The whole picture. `seconds` are the times of every line's values, in order."""

    title: str
    subtitles: Sequence[str]
    seconds: Sequence[float]
    panels: Sequence[Panel]
    spans: Sequence[Span] = ()


def draw(chart: Chart) -> str:
    """The picture as the text of an SVG file."""
    height = _TOP + len(chart.panels) * _PANEL_HEIGHT + _BOTTOM
    scale = _TimeScale(max(chart.seconds, default=0.0))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{_plain(chart.title)}</title><style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        _text(24, 34, chart.title, "h"),
        *(_text(24, 56 + 18 * row, line, "s") for row, line in enumerate(chart.subtitles[:2])),
    ]
    for number, panel in enumerate(chart.panels):
        last = number == len(chart.panels) - 1
        top = _TOP + number * _PANEL_HEIGHT + _PANEL_HEIGHT - _PLOT_HEIGHT
        parts += _panel(panel, chart, scale, top, first=number == 0, last=last)
    return "\n".join([*parts, "</svg>", ""])


_PRECISE = 1e16
"""Nearer to the least of all floats than this, parts of a number lose their digits, or become 0."""


def ticks(top: float, most: int = 4) -> list[float]:
    """Round levels from 0 up to the first one at or above `top`: steps of 1, 2 or 5 times a power of ten."""
    if not top > sys.float_info.min * _PRECISE:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(top / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * most >= top * (1 - 1e-9))
    return [number * step for number in range(math.ceil(top / step - 1e-9) + 1)]


def time_ticks(seconds: float) -> list[int]:
    """Round times within `seconds`."""
    step = next((s for s in _TIME_STEPS if seconds / s <= _MOST_TIME_TICKS), _TIME_STEPS[-1])
    return list(range(0, int(seconds) + 1, step))


def clock(seconds: float, whole: float) -> str:
    """A time on the axis: seconds where the `whole` is short, else minutes and seconds."""
    if whole < _AS_MINUTES_FROM:
        return f"{seconds:g} s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class _TimeScale:
    def __init__(self, seconds: float) -> None:
        self.whole = max(seconds, 1.0)

    def __call__(self, seconds: float) -> float:
        return _LEFT + _PLOT_WIDTH * seconds / self.whole


class _LevelScale:
    """From a value to the height in the panel."""

    def __init__(self, panel: Panel, top: float) -> None:
        highest = max((v for line in panel.lines for v in line.values if v is not None), default=0.0)
        if panel.band is not None:
            highest = max(highest, panel.band.low if panel.band.high is None else panel.band.high)
        # A limit near the figures belongs to the picture; a far one would press them flat.
        near = [mark.value for mark in panel.marks if highest < mark.value <= 1.5 * highest]
        self.ticks = ticks(max([highest, *near]))
        self.most = self.ticks[-1]
        self._bottom = top + _PLOT_HEIGHT

    def __call__(self, value: float) -> float:
        return self._bottom - _PLOT_HEIGHT * min(value, self.most) / self.most


def _panel(
    panel: Panel, chart: Chart, time: _TimeScale, top: float, *, first: bool, last: bool
) -> Iterator[str]:
    level, right, bottom = _LevelScale(panel, top), _LEFT + _PLOT_WIDTH, top + _PLOT_HEIGHT
    yield _text(_LEFT, top - 12, panel.title, "t")
    yield _text(right, top - 12, panel.remark, "s", anchor="end")
    for span in chart.spans:
        start, end = time(span.start), time(span.end)
        yield _rect(start, top, end - start, _PLOT_HEIGHT, "span")
        if first:
            yield _text(start + 4, top + 13, span.label, "a")
    if panel.band is not None:
        high = level(level.most if panel.band.high is None else panel.band.high)
        low = level(panel.band.low)
        yield _rect(_LEFT, high, _PLOT_WIDTH, max(low - high, 2), "band")
        yield _text(right + 8, (low + high) / 2 + 4, panel.band.label, "bl")
    for value in level.ticks:
        yield _line(_LEFT, level(value), right, level(value), "axis" if value == 0 else "grid")
        yield _text(_LEFT - 8, level(value) + 4, f"{value:,.10g}", "a", anchor="end")
    for seconds in time_ticks(time.whole):
        yield _line(time(seconds), top, time(seconds), bottom, "grid")
        if last:
            yield _text(time(seconds), bottom + 18, clock(seconds, time.whole), "a", anchor="middle")
    for mark in panel.marks:
        if mark.value <= level.most:
            yield _line(_LEFT, level(mark.value), right, level(mark.value), "mark")
            yield _text(right + 8, level(mark.value) + 4, mark.label, "ml")
    for line in panel.lines:
        yield from _curve(line, chart.seconds, time, level)
    yield from _legend(panel, top)


def _legend(panel: Panel, top: float) -> Iterator[str]:
    """Names behind the title, only where there are several lines."""
    if len(panel.lines) < 2:
        return
    x = _LEFT + 12 + 8 * len(panel.title)
    for line in panel.lines:
        dash = ' stroke-dasharray="4 3"' if line.dashed else ""
        yield (
            f'<line x1="{x}" y1="{top - 16}" x2="{x + 18}" y2="{top - 16}" stroke="{line.color}"'
            f' stroke-width="2"{dash}/>'
        )
        yield _text(x + 24, top - 12, line.name, "a")
        x += 40 + 7 * len(line.name)


def _curve(line: Line, seconds: Sequence[float], time: _TimeScale, level: _LevelScale) -> Iterator[str]:
    dash = ' stroke-dasharray="4 3"' if line.dashed else ""
    for points in _stretches(line, seconds):
        if len(points) == 1:
            x, y = time(points[0][0]), level(points[0][1])
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.8" fill="{line.color}"/>'
            continue
        path = " ".join(f"{time(at):.1f},{level(value):.1f}" for at, value in points)
        yield f'<polyline class="line" stroke="{line.color}"{dash} points="{path}"/>'


def _stretches(line: Line, seconds: Sequence[float]) -> Iterator[list[tuple[float, float]]]:
    """The runs of values without a gap between."""
    points: list[tuple[float, float]] = []
    for at, value in zip(seconds, line.values, strict=True):
        if value is not None:
            points.append((at, value))
        elif points:
            yield points
            points = []
    if points:
        yield points


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    if not text:
        return ""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{_plain(text)}</text>'


def _plain(text: str) -> str:
    """Text for XML, which has no place for control characters and lone surrogates."""
    return escape("".join(char for char in text if char.isprintable()))


def _rect(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{style}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'
