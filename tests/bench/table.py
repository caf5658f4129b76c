"""Tables of the results, for a terminal and for the README. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.cases import BEST_GO, OWN, TARGETS, Against, Case, Target
from tests.bench.figures import Results, Verdict, judge

_COLUMNS = {
    "us_per_delivery": ("us CPU/delivery", 1),
    "core_percent": ("% core", 0),
    "p50_ms": ("p50 ms", 1),
    "p99_ms": ("p99 ms", 1),
    "deliveries_per_second": ("deliveries/s", 0),
    "bytes_per_delivery": ("bytes/delivery", 0),
    "resident_kb": ("KB/connection", 2),
    "client_percent": ("client % core", 0),
    "missing": ("missing", 0),
    "us_per_connect": ("us CPU/connect", 0),
    "connects_per_second": ("connects/s", 0),
    "idle_kb": ("KB/connection idle", 2),
    "quiet_p99_ms": ("p99 ms quiet", 1),
    "storm_p99_ms": ("p99 ms in the storm", 1),
}
_NAMES = {
    "us_per_delivery": "CPU a delivery, us",
    "core_percent": "server's core, %",
    "p99_ms": "p99, ms",
    "resident_kb": "memory a connection under load, KB",
    "us_per_connect": "CPU a connect, us",
    "connects_per_second": "connects a second",
    "idle_kb": "memory a connection idle, KB",
    "storm_p99_ms": "p99 of live clients, ms",
    "bytes_per_delivery": "bytes a delivery",
}


def servers_table(case: Case, results: Results) -> list[list[str]]:
    """A row a server with the medians of a case; empty when no server has any."""
    rows = [(name, results.medians(name, case.name)) for name in results.titles]
    columns = [c for c in _COLUMNS if any(c in figures for _, figures in rows)]
    if not columns:
        return []
    header = ["server", *(_COLUMNS[c][0] for c in columns)]
    body = [
        [results.titles[name], *(_number(figures.get(c), _COLUMNS[c][1]) for c in columns)]
        for name, figures in rows
        if figures
    ]
    if case.name == "W4":
        header += ["most deliveries/s held", "why not more"]
        for row, name in zip(body, [n for n, figures in rows if figures], strict=True):
            best = results.at_step(name, max(results.held(name), default=0))
            row += [_number(best.get("deliveries_per_second"), 0), _full(results, name)]
    return [header, *body]


def ratios_table(results: Results) -> list[list[str]]:
    """Each target with the node's figure, what it is held against, and the verdict."""
    rows = [["case", "figure", "wsnode", "against", "theirs", "result", "target", ""]]
    for target in TARGETS:
        verdict = judge(target, *results.pair(target))
        if verdict.own is None and not _was_wanted(results, target):
            continue
        rows.append(_ratio_row(verdict, results.titles))
    return rows


def render(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same for the README."""
    header, *body = rows
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def skipped_lines(results: Results) -> list[str]:
    """What was not measured, and why."""
    return [
        f"{results.titles.get(server, server)}{'' if case == '*' else ', ' + case}: {reason}"
        for (server, case), reason in results.skipped.items()
    ]


def _ratio_row(verdict: Verdict, titles: dict[str, str]) -> list[str]:
    target = verdict.target
    against = {BEST_GO: "best Go server", OWN: "itself"}.get(
        target.reference, titles.get(target.reference, target.reference)
    )
    if target.reference == OWN:
        against = f"own {target.reference_case}" if target.reference_case else "itself when quiet"
    sign = target.against.value
    bound = {
        Against.RATIO: f"at most {target.bound:g} x",
        Against.ABOVE_BY: f"at most +{target.bound:g}",
        Against.AT_MOST: f"at most {target.bound:g}",
        Against.AT_LEAST: f"at least {target.bound:,.0f}",
    }[target.against]
    value = (
        {"x": f"{verdict.value:.2f} x", "+": f"{verdict.value:+.1f}"}.get(sign, "")
        if (verdict.value is not None)
        else "not measured"
    )
    said = {True: "ok", False: "missed", None: "-"}[verdict.met]
    digits = 0 if (verdict.own or 0) >= 1000 else 2 if target.metric.endswith("_kb") else 1
    name = _NAMES[target.metric]
    return [
        target.case,
        name,
        _number(verdict.own, digits),
        against,
        _number(verdict.reference, digits),
        value,
        bound,
        said,
    ]


def _was_wanted(results: Results, target: Target) -> bool:
    return (OWN, target.case) in results.skipped


def _full(results: Results, server: str) -> str:
    reasons = {next((step.why for step in run if step.why), "") for run in results.steps[server]}
    return "; ".join(sorted(reason for reason in reasons if reason)) or "not reached"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
