"""Tables of the results, for a terminal and for the README. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.bench.cases import BEST_GO, OWN, Case, Kind
from tests.bench.figures import Results, Verdict, judge
from tests.bench.targets import TARGETS, Against, Target

_COLUMNS = {
    "us_per_delivery": ("us CPU/delivery", 1),
    "one_us": ("us with one process", 3),
    "times_one": ("capacity against one", 2),
    "core_percent": ("% core", 0),
    "p50_ms": ("p50 ms", 1),
    "p99_ms": ("p99 ms", 1),
    "deliveries_per_second": ("deliveries/s", 0),
    "bytes_per_delivery": ("bytes/delivery", 0),
    "plain_bytes": ("bytes in full", 0),
    "idle_kb": ("KB/connection idle", 2),
    "resident_kb": ("KB/connection", 2),
    "client_us": ("client us/delivery", 2),
    "client_percent": ("client % core", 0),
    "missing": ("missing", 0),
    "resumed_seconds": ("s until all have all", 2),
    "us_per_connect": ("us CPU/connect", 0),
    "connects_per_second": ("connects/s", 0),
    "cuts": ("cuts", 0),
    "delivered_percent": ("% delivered", 4),
    "lost": ("lost", 0),
    "doubled": ("doubled", 0),
    "told": ("gaps told", 0),
    "refused": ("refused", 0),
    "peak_kb": ("KB/client at most", 2),
    "paused": ("feed paused", 0),
    "quiet_p99_ms": ("p99 ms quiet", 1),
    "busy_p99_ms": ("p99 ms meanwhile", 1),
}
_NAMES = {
    "us_per_delivery": "CPU a delivery, us",
    "core_percent": "server's core, %",
    "p99_ms": "p99, ms",
    "resident_kb": "memory a connection under load, KB",
    "us_per_connect": "CPU a connect, us",
    "connects_per_second": "connects a second",
    "idle_kb": "memory a connection idle, KB",
    "busy_p99_ms": "p99 of 1,000 live clients, ms",
    "bytes_per_delivery": "bytes a delivery",
    "resumed_seconds": "seconds until all have all",
    "lost": "messages lost",
    "doubled": "messages doubled",
    "peak_kb": "memory a client at most, KB",
    "paused": "feed paused",
    "delivered_percent": "delivered once and in order, %",
    "times_one": "capacity against one process",
}
_DENSE_DIGITS = {"us_per_delivery": 3}
"""Where a delivery costs a fraction of a microsecond."""
_SUMMARY = (
    ("W1", "us_per_delivery", "W1 us", 1),
    ("W2", "us_per_delivery", "W2 us", 1),
    ("W3", "us_per_delivery", "W3 us", 1),
    ("W1", "p99_ms", "W1 p99 ms", 0),
    ("W3", "p99_ms", "W3 p99 ms", 1),
    ("storm", "idle_kb", "KB/connection idle", 2),
    ("W2", "resident_kb", "KB/connection loaded", 2),
    ("storm", "us_per_connect", "us/connect", 0),
    ("storm", "connects_per_second", "connects/s", 0),
)


def servers_table(case: Case, results: Results) -> list[list[str]]:
    """A row a server with the medians of a case; empty when no server has any."""
    rows = [(name, results.medians(name, case.name)) for name in results.titles]
    columns = [c for c in _COLUMNS if any(c in figures for _, figures in rows)]
    if not columns:
        return []
    digits = _digits(case)
    header = ["server", *(_COLUMNS[c][0] for c in columns)]
    body = [
        [results.titles[name], *(_number(figures.get(c), digits[c]) for c in columns)]
        for name, figures in rows
        if figures
    ]
    if case.kind is Kind.DENSE:
        header += ["most deliveries/s held", "why not more"]
        for row, name in zip(body, [n for n, figures in rows if figures], strict=True):
            row += [_most_held(results, name), _full(results, name)]
    return [header, *body]


def summary_table(results: Results) -> list[list[str]]:
    """The servers side by side, a column a figure."""
    rows = [["server", *(title for _, _, title, _ in _SUMMARY), "W4 deliveries/s held"]]
    for name, title in results.titles.items():
        cells = [
            _number(results.medians(name, case).get(metric), digits) for case, metric, _, digits in _SUMMARY
        ]
        if any(cells):
            rows.append([title, *cells, _most_held(results, name)])
    return rows


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


def _ratio_row(verdict: Verdict, titles: Mapping[str, str]) -> list[str]:
    target = verdict.target
    digits = 0 if (verdict.own or 0) >= 1000 else 2 if target.metric in _TWO_DIGITS else 1
    if target.case == "W4":
        digits = _DENSE_DIGITS.get(target.metric, digits)
    return [
        target.case,
        _NAMES[target.metric],
        _number(verdict.own, digits),
        _against(target, titles),
        _number(verdict.reference, digits),
        _result(verdict),
        _bound(target),
        {True: "ok", False: "missed", None: "-"}[verdict.met],
    ]


_TWO_DIGITS = ("idle_kb", "resident_kb", "peak_kb", "resumed_seconds", "times_one", "delivered_percent")


def _against(target: Target, titles: Mapping[str, str]) -> str:
    if target.reference == BEST_GO:
        return "best Go server"
    if target.reference != OWN:
        return titles.get(target.reference, target.reference)
    if target.reference_case:
        return f"own {target.reference_case}"
    return "the same in full" if target.reference_metric == "plain_bytes" else "itself when quiet"


def _result(verdict: Verdict) -> str:
    if verdict.value is None:
        return "not measured"
    return {"x": f"{verdict.value:.2f} x", "+": f"{verdict.value:+.1f}"}.get(verdict.target.against.value, "")


def _bound(target: Target) -> str:
    return {
        Against.RATIO: f"at most {target.bound:g} x",
        Against.ABOVE_BY: f"at most +{target.bound:g}",
        Against.AT_MOST: f"at most {target.bound:g}" if target.bound else "none",
        Against.AT_LEAST: f"at least {target.bound:,g}",
    }[target.against]


def _digits(case: Case) -> dict[str, int]:
    digits = {name: digits for name, (_, digits) in _COLUMNS.items()}
    return digits | _DENSE_DIGITS if case.kind in (Kind.DENSE, Kind.TWOFOLD) else digits


def _was_wanted(results: Results, target: Target) -> bool:
    return (OWN, target.case) in results.skipped


def _most_held(results: Results, server: str) -> str:
    best = results.at_step(server, max(results.held(server), default=0))
    return _number(best.get("deliveries_per_second"), 0)


def _full(results: Results, server: str) -> str:
    reasons = {next((step.why for step in run if step.why), "") for run in results.steps[server]}
    return "; ".join(sorted(reason for reason in reasons if reason)) or "not reached"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
