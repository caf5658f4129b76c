"""The picture of a validation run: connections, CPU, memory, goroutines and messages over time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wsnode.config.expectations import MIB, Range, TestName
from wsnode.validate_criteria import Report
from wsnode.validate_plan import Plan
from wsnode.validate_ranges import GOROUTINES_STEP
from wsnode.validate_report import headline, range_text
from wsnode.validate_samples import NodeFigures, Run, rates
from wsnode.validate_svg import Band, Chart, Line, Mark, Panel, Span, draw

_NODE, _CLIENTS = "#1f5fa8", "#d9822b"


def picture(plan: Plan, run: Run, report: Report, url: str) -> str:
    """The text of an SVG file."""
    panels = [_connections(plan, run)]
    if run.before is not None:
        panels += [_cpu(plan, run, report), _memory(plan, run, report), _goroutines(plan, run, report)]
    panels.append(_messages(plan, run, report))
    hold = run.hold
    ramp_end = hold[0].at_seconds if hold else (run.samples[-1].at_seconds if run.samples else 0.0)
    return draw(
        Chart(
            title=f"{headline(plan)}: {report.outcome}",
            subtitles=(url + (f", node {run.before.name}" if run.before is not None else ""), _machine(plan)),
            seconds=[sample.at_seconds for sample in run.samples],
            panels=panels,
            spans=(Span(0.0, ramp_end, "ramp"),) if ramp_end > 0 else (),
        )
    )


def _machine(plan: Plan) -> str:
    settings = plan.settings
    if not plan.settings_known:
        return "the node's settings are not known; ranges are those of the document's machine"
    return (
        f"WS_MAX_CONNECTIONS {settings.max_connections:,}, WS_CPU_LIMIT {settings.cpu_limit:g},"
        f" WS_MEMORY_LIMIT {settings.memory_limit / MIB:,.0f} MB; green: what the document expects"
    )


def _connections(plan: Plan, run: Run) -> Panel:
    clients = Line("clients", [float(s.subscribed) for s in run.samples], _CLIENTS, dashed=True)
    lines = [clients]
    if run.before is not None:
        lines.insert(0, Line("node", _of_node(run, lambda node: node.connections), _NODE))
    marks = [Mark(plan.settings.max_connections, "limit")] if plan.settings_known else []
    if plan.test.name is TestName.OVERLOAD:
        marks.append(Mark(plan.test.connections, f"{plan.test.connections:,} asked"))
    elif plan.test.connections != plan.settings.max_connections:
        marks.append(Mark(plan.test.connections, "test"))
    return Panel("Connections", lines, _peak(lines[0].values, ""), marks=marks)


def _cpu(plan: Plan, run: Run, report: Report) -> Panel:
    values = _of_node(run, lambda node: node.cpu_percent)
    mean = report.figures.cpu_mean
    remark = "" if mean is None else f"mean {mean:.1f} %, peak {report.figures.cpu_peak:.1f} %"
    threshold = plan.settings.cpu_reject_threshold
    return Panel(
        "CPU, % of WS_CPU_LIMIT",
        [Line("node", values, _NODE)],
        remark,
        _band(plan.test.cpu_percent, "%"),
        [Mark(threshold, f"reject at {threshold:g} %")],
    )


def _memory(plan: Plan, run: Run, report: Report) -> Panel:
    values = [None if v is None else v / MIB for v in _of_node(run, lambda node: node.memory_bytes)]
    expected = plan.test.memory_bytes
    band = None
    if expected is not None and expected.high is not None:
        band = Band(expected.low / MIB, expected.high / MIB, f"expected {range_text(expected, 'bytes')}")
    limit = Mark(plan.settings.memory_limit / MIB, "limit")
    return Panel("Memory, MB", [Line("node", values, _NODE)], _peak(values, " MB"), band, [limit])


def _goroutines(plan: Plan, run: Run, report: Report) -> Panel:
    values = _of_node(run, lambda node: node.goroutines)
    about = plan.test.goroutines
    band = None if about is None else Band(about - GOROUTINES_STEP, about, f"expected about {about:,}")
    limit = Mark(plan.settings.max_goroutines, "limit")
    return Panel("Goroutines", [Line("node", values, _NODE)], _peak(values, ""), band, [limit])


def _messages(plan: Plan, run: Run, report: Report) -> Panel:
    lines = [Line("clients", rates(run.samples, lambda s: s.deliveries), _CLIENTS, dashed=True)]
    if run.before is not None:
        lines.insert(0, Line("node", rates(run.samples, run.delivered), _NODE))
    rate = report.figures.messages_per_second
    remark = "" if rate is None else f"mean {rate:,.0f}/s"
    band = None if plan.test.messages_per_second is None else _band(plan.test.messages_per_second, "msg/s")
    return Panel("Messages to clients a second", lines, remark, band)


def _of_node(run: Run, read: Callable[[NodeFigures], float | None]) -> list[float | None]:
    return [None if sample.node is None else read(sample.node) for sample in run.samples]


def _peak(values: Sequence[float | None], unit: str) -> str:
    known = [value for value in values if value is not None]
    return f"peak {max(known):,.0f}{unit}" if known else ""


def _band(expected: Range, unit: str) -> Band:
    return Band(expected.low, expected.high, f"expected {range_text(expected, unit)}")
