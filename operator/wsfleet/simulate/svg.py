"""Figures over time as an SVG: panels one below the other on one axis of time. Values in, text out."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 960
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 84, 40
_PLOT_HEIGHT, _PANEL_HEIGHT = 112, 160
_PLOT_WIDTH = WIDTH - _LEFT - _RIGHT
_TIME_STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_STYLE = """
text{font:12px system-ui,'Segoe UI','Helvetica Neue',Arial,sans-serif;fill:#57606a}
.h{font-size:18px;font-weight:600;fill:#1f2328}.t{font-size:13px;font-weight:600;fill:#1f2328}
.grid{stroke:#e6e8eb;stroke-width:1}.axis{stroke:#9aa1ab;stroke-width:1}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure at times of its own (seconds). `stepped`: it stays until it changes."""

    name: str
    seconds: Sequence[float]
    values: Sequence[float]
    color: str
    dashed: bool = False
    stepped: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """The range between two figures."""

    seconds: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    color: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A title, curves, and ranges behind them."""

    title: str
    curves: Sequence[Curve]
    areas: Sequence[Area] = ()


def draw(title: str, subtitle: str, seconds: float, panels: Sequence[Panel]) -> str:
    """The picture as the text of an SVG file; `seconds` is the length of its axis."""
    height = _TOP + len(panels) * _PANEL_HEIGHT + _BOTTOM - 24
    whole = max(seconds, 1.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(24, 34, title, "h"),
        _text(24, 56, subtitle),
    ]
    for number, panel in enumerate(panels):
        top = _TOP + number * _PANEL_HEIGHT + _PANEL_HEIGHT - _PLOT_HEIGHT - 24
        parts += _panel(panel, whole, top, last=number == len(panels) - 1)
    return "\n".join([*parts, "</svg>", ""])


def levels(most: float, number: int = 4) -> list[float]:
    """Round levels from 0 to the first at or above `most`: steps of 1, 2 or 5 times a power of ten."""
    if not most > sys.float_info.min * 1e16:  # parts of less lose their digits, or become 0
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(most / number))
    step = next(one * power for one in (1, 2, 5, 10) if one * power * number >= most * (1 - 1e-9))
    return [count * step for count in range(math.ceil(most / step - 1e-9) + 1)]


def _panel(panel: Panel, whole: float, top: float, *, last: bool) -> Iterator[str]:
    highest = max(
        (float(v) for values in (*panel.curves,) for v in values.values),
        default=0.0,
    )
    highest = max([highest, *(float(v) for area in panel.areas for v in area.high)])
    marks = levels(highest)
    bottom, most = top + _PLOT_HEIGHT, marks[-1]

    def x(at: float) -> float:
        return _LEFT + _PLOT_WIDTH * min(at, whole) / whole

    def y(value: float) -> float:
        return bottom - _PLOT_HEIGHT * value / most

    yield _text(_LEFT, top - 12, panel.title, "t")
    yield from _legend(panel, top)
    for value in marks:
        yield _line(_LEFT, y(value), _LEFT + _PLOT_WIDTH, y(value), "grid" if value else "axis")
        yield _text(_LEFT - 8, y(value) + 4, f"{value:,.10g}", anchor="end")
    step = next((one for one in _TIME_STEPS if whole / one <= 12), _TIME_STEPS[-1])
    for at in range(0, int(whole) + 1, step):
        yield _line(x(at), top, x(at), bottom, "grid")
        if last:
            yield _text(x(at), bottom + 18, f"{at // 3600}:{at % 3600 // 60:02d}", anchor="middle")
    for area in panel.areas:
        there = [f"{x(at):.1f},{y(v):.1f}" for at, v in zip(area.seconds, area.high, strict=True)]
        back = [f"{x(at):.1f},{y(v):.1f}" for at, v in zip(area.seconds, area.low, strict=True)]
        points = " ".join(there + back[::-1])
        yield f'<polygon fill="{area.color}" fill-opacity="0.18" points="{points}"/>'
    for curve in panel.curves:
        points = " ".join(f"{x(at):.1f},{y(v):.1f}" for at, v in _points(curve, whole))
        dash = ' stroke-dasharray="4 3"' if curve.dashed else ""
        yield f'<polyline class="line" stroke="{curve.color}"{dash} points="{points}"/>'


def _points(curve: Curve, whole: float) -> Iterator[tuple[float, float]]:
    before: float | None = None
    values = curve.values
    for number, (at, value) in enumerate(zip(curve.seconds, values, strict=True)):
        if 0 < number < len(values) - 1 and values[number - 1] == value == values[number + 1]:
            continue  # in the middle of a level stretch: nothing to see
        if curve.stepped and before is not None:
            yield at, before
        yield at, value
        before = value
    if curve.stepped and before is not None:
        yield whole, before


def _legend(panel: Panel, top: float) -> Iterator[str]:
    """Names at the right end of the title's line."""
    place = float(_LEFT + _PLOT_WIDTH)
    for curve in reversed(panel.curves):
        place -= 7 * len(curve.name)
        yield _text(place, top - 12, curve.name)
        dash = ' stroke-dasharray="4 3"' if curve.dashed else ""
        yield (
            f'<line x1="{place - 26:.1f}" y1="{top - 16}" x2="{place - 6:.1f}" y2="{top - 16}"'
            f' stroke="{curve.color}" stroke-width="2"{dash}/>'
        )
        place -= 44


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named} text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'
