"""The part of the README that holds the last full run. Pure, but for `write`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.bench.figures import Results
from tests.bench.machine import named
from tests.bench.processes import BenchError
from tests.bench.table import markdown, ratios_table, skipped_lines, summary_table

BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
README = Path(__file__).resolve().parents[2] / "README.md"


def block(results: Results, facts: Mapping[str, str]) -> str:
    """Machine, servers side by side, targets, and what was left out, in Markdown."""
    left_out = [f"- {line}" for line in skipped_lines(results)]
    parts = [
        f"Measured on {facts.get('date', 'an unknown day')}: {named(facts)}. "
        f"Median of {facts['runs']} runs, windows of {facts['window_seconds']} s; "
        "us are microseconds of the server's CPU.",
        markdown(summary_table(results)),
        markdown(ratios_table(results)),
        *(["Not measured:\n" + "\n".join(left_out)] if left_out else []),
    ]
    return "\n\n".join(parts)


def placed(text: str, new: str) -> str:
    """The README's text with `new` between the two marks. Raises BenchError where they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"the README lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def write(results: Results, facts: Mapping[str, str], path: Path = README) -> None:
    """Puts the results into the README. Raises BenchError."""
    path.write_text(placed(path.read_text(), block(results, facts)))
