"""A validation run in words and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from wsnode.config.expectations import MIB, Range
from wsnode.load_figures import Snapshot
from wsnode.terminal import table
from wsnode.validate_criteria import Outcome, Report
from wsnode.validate_plan import Plan
from wsnode.validate_ranges import Judgement, Verdict
from wsnode.validate_samples import Run, Sample

_LATENCIES = ("p50", "p99", "max")


def headline(plan: Plan) -> str:
    """The test in a phrase."""
    return f"{plan.test.name} test, {plan.test.connections:,} connections"


def text_report(plan: Plan, run: Run, report: Report, url: str) -> str:
    """All of it for a person."""
    node = f" (node {run.before.name})" if run.before is not None else ""
    lines = [f"{headline(plan)}, {url}{node}", f"passes when: {plan.test.criteria.text}", ""]
    lines += _aligned(report.criteria)
    lines += ["", *_ranges(plan, report), ""]
    lines += _clients(run.clients)
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join([*lines, "", *_summary(report)])


def json_report(plan: Plan, run: Run, report: Report, url: str) -> dict[str, Any]:
    """All of it as plain values; times in seconds, memory in bytes, CPU in percent of WS_CPU_LIMIT."""
    return {
        "test": str(plan.test.name),
        "url": url,
        "node": run.before.name if run.before is not None else None,
        "outcome": str(report.outcome),
        "passed": report.outcome in (Outcome.PASSED, Outcome.PASSED_IN_PART),
        "plan": {
            "connections": plan.test.connections,
            "duration_seconds": plan.duration_seconds,
            "document_seconds": plan.document_seconds,
            "ramp_per_second": plan.ramp_per_second,
            "message_rate": plan.message_rate,
            "channels": len(plan.channels),
            "channels_each": plan.channels_each,
            "max_connections": plan.settings.max_connections if plan.settings_known else None,
            "cpu_limit": plan.settings.cpu_limit if plan.settings_known else None,
            "memory_limit": plan.settings.memory_limit if plan.settings_known else None,
        },
        "passes_when": plan.test.criteria.text,
        "criteria": [{"name": c.name, "verdict": str(c.verdict), "text": c.text} for c in report.criteria],
        "ranges": [asdict(judgement) for judgement in report.ranges],
        "figures": asdict(report.figures),
        "rejections": run.rejections(),
        "notes": list(report.notes),
        "clients": run.clients.to_dict(),
        "samples": [_sample(sample) for sample in run.samples],
    }


def range_text(expected: Range, unit: str) -> str:
    """A range as the document prints it: `10-20 %`, `75+ %`, `200-300 MB`."""
    low, high = expected.low, expected.high
    if unit == "bytes":
        low, high, unit = low / MIB, None if high is None else high / MIB, "MB"
    text = f"{low:,.0f}+" if high is None else f"{low:,.0f}-{high:,.0f}"
    if high is not None and round(low) == round(high):
        text = f"{low:,.0f}"
    return _with_unit(text, unit)


def value_text(value: float | None, unit: str) -> str:
    """A figure with its unit; a dash where there is none."""
    if value is None:
        return "-"
    if unit == "bytes":
        return f"{value / MIB:,.0f} MB"
    return _with_unit(f"{value:,.1f}" if unit == "%" else f"{value:,.0f}", unit)


def _with_unit(text: str, unit: str) -> str:
    if unit == "msg/s":
        return f"{text}/s"
    return f"{text} {unit}" if unit else text


def _aligned(criteria: tuple[Judgement, ...]) -> Iterator[str]:
    verdicts = max(len(c.verdict) for c in criteria)
    names = max(len(c.name) for c in criteria)
    for criterion in criteria:
        yield f"  {criterion.verdict:<{verdicts}}  {criterion.name:<{names}}  {criterion.text}"


def _ranges(plan: Plan, report: Report) -> list[str]:
    rows = [
        {
            "figure": judgement.name,
            "measured": value_text(judgement.measured, judgement.unit) + _beside(judgement, report),
            "expected": _expected(plan, judgement),
            "verdict": judgement.verdict + (f": {judgement.text}" if judgement.text else ""),
        }
        for judgement in report.ranges
    ]
    return table(rows).splitlines()


def _beside(judgement: Judgement, report: Report) -> str:
    if judgement.name == "CPU" and judgement.measured is not None:
        return f" (peak {report.figures.cpu_peak:.1f} %)"
    return ""


def _expected(plan: Plan, judgement: Judgement) -> str:
    if judgement.expected is None:
        return "-"
    if judgement.name == "goroutines":
        return f"about {plan.test.goroutines:,}"
    text = range_text(judgement.expected, judgement.unit)
    if judgement.name == "memory":
        share = plan.test.memory_percent(plan.settings.memory_limit)
        text += f" ({range_text(share, '%')})" if share is not None else ""
    return text


def _clients(shot: Snapshot) -> Iterator[str]:
    yield (
        f"clients: {shot.opened_total:,} opened, {shot.reconnects:,} of them reconnects;"
        f" {shot.deliveries:,} messages, {shot.bytes_in / 1e6:,.0f} MB"
    )
    for name, values in (("latency", shot.latency_ms), ("connect", shot.connect_ms)):
        if values:
            parts = [f"{key} {values[key]:g} ms" for key in _LATENCIES if key in values]
            yield f"{name}: {', '.join(parts)}"


def _summary(report: Report) -> list[str]:
    better = [j.name for j in report.ranges if j.verdict is Verdict.BETTER]
    worse = [j.name for j in report.ranges if j.verdict is Verdict.WORSE]
    lines = []
    if better:
        lines.append(f"This node needs less than the document expects: {', '.join(better)}.")
    if worse:
        lines.append(f"Not as good as the document expects: {', '.join(worse)}.")
    return [*lines, f"Verdict: {report.outcome.upper()}"]


def _sample(sample: Sample) -> dict[str, Any]:
    values = asdict(sample)
    node = values.pop("node")
    return {**values, "node": node}
