"""Medians, steps and verdicts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tests.bench.cases import BEST_GO, DENSE_COMPARED, OWN, UWEBSOCKETS
from tests.bench.targets import Against, Target

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Step:
    """One rate of W4; `why` tells what was full where it was not held."""

    rate: float
    figures: Figures
    why: str = ""


@dataclass
class Results:
    """Samples of each server and case, one a run, and why there are none."""

    samples: dict[tuple[str, str], list[Figures]] = field(default_factory=dict)
    steps: dict[str, list[list[Step]]] = field(default_factory=dict)
    """W4's, by server and run."""
    skipped: dict[tuple[str, str], str] = field(default_factory=dict)
    """Reason by server and case; case `*` for all of them."""
    titles: dict[str, str] = field(default_factory=dict)
    """How each server is called, by name, in the order of the tables."""
    go: set[str] = field(default_factory=set)
    """Names of the Go servers among them."""
    warnings: list[str] = field(default_factory=list)

    def medians(self, server: str, case: str) -> Figures:
        """Median of each figure over the runs; empty where there is none."""
        if case == "W4":
            rate = self.compared_rate(server)
            return self.at_step(server, rate) if rate else {}
        return medians(self.samples.get((server, case), ()))

    def compared_rate(self, server: str) -> float:
        """The step at which a server's W4 is judged: the highest up to DENSE_COMPARED that it holds."""
        return max((rate for rate in self.held(server) if rate <= DENSE_COMPARED), default=0)

    def held(self, server: str) -> set[float]:
        """Rates that the server held in every run."""
        runs = [{step.rate for step in run if not step.why} for run in self.steps.get(server, ())]
        return set.intersection(*runs) if runs else set()

    def at_step(self, server: str, rate: float) -> Figures:
        """Medians of one rate of W4; empty where it was not held."""
        steps = [step for run in self.steps.get(server, ()) for step in run]
        return medians([step.figures for step in steps if step.rate == rate and not step.why])

    def best_go(self, case: str, metric: str) -> float | None:
        """The lowest figure of a Go server."""
        return min(
            (figures[metric] for name in self.go if metric in (figures := self.medians(name, case))),
            default=None,
        )

    def pair(self, target: Target) -> tuple[float | None, float | None]:
        """The node's figure and the reference's; None for what was not measured."""
        own = self.medians(OWN, target.case)
        if target.case == "W4" and target.reference == UWEBSOCKETS:
            # At the highest rate that both hold: a cost a delivery falls as messages get denser.
            common = max(self.held(OWN) & self.held(UWEBSOCKETS), default=0)
            own = self.at_step(OWN, common)
            return own.get(target.metric), self.at_step(UWEBSOCKETS, common).get(target.metric)
        if not target.reference:
            return own.get(target.metric), None
        metric = target.reference_metric or target.metric
        case = target.reference_case or target.case
        if target.reference == BEST_GO:
            return own.get(target.metric), self.best_go(case, metric)
        return own.get(target.metric), self.medians(target.reference, case).get(metric)


@dataclass(frozen=True)
class Verdict:
    """One target, judged. `met` is None where something was not measured."""

    target: Target
    own: float | None
    reference: float | None
    value: float | None
    """Ratio, difference or the figure itself, as the target compares it."""
    met: bool | None


def judge(target: Target, own: float | None, reference: float | None) -> Verdict:
    """Holds a figure against its bound."""
    if own is None or (target.reference and reference is None):
        return Verdict(target, own, reference, None, None)
    if target.against is Against.RATIO:
        value = own / reference if reference else float("inf")
    elif target.against is Against.ABOVE_BY:
        value = own - (reference or 0.0)
    else:
        value = own
    met = value >= target.bound if target.against is Against.AT_LEAST else value <= target.bound
    return Verdict(target, own, reference, value, met)


def medians(samples: Sequence[Figures]) -> dict[str, float]:
    """Median of each figure that any sample has."""
    names: Iterable[str] = dict.fromkeys(name for sample in samples for name in sample)
    return {name: median(s[name] for s in samples if name in s) for name in names}


def expected_deliveries(first: int, last: int, channels: int, clients: int, lists: int, each: int) -> int:
    """Deliveries of the messages numbered `first` up to before `last`, published to channels in turn.

    `clients` take the `lists` of `each` neighbouring channels in turn.
    """
    total = 0
    for channel in range(channels):
        sent = (last - channel + channels - 1) // channels - (first - channel + channels - 1) // channels
        owner = channel // each
        total += sent * len(range(owner, clients, lists))
    return total


def to_json(results: Results) -> dict[str, Any]:
    """All samples, as plain values."""
    return {
        "servers": [
            {"name": name, "title": title, "go": name in results.go} for name, title in results.titles.items()
        ],
        "samples": [
            {"server": server, "case": case, "runs": [dict(run) for run in runs]}
            for (server, case), runs in results.samples.items()
        ],
        "w4": [
            {"server": server, "runs": [[asdict(step) for step in run] for run in runs]}
            for server, runs in results.steps.items()
        ],
        "skipped": [
            {"server": server, "case": case, "reason": reason}
            for (server, case), reason in results.skipped.items()
        ],
        "warnings": results.warnings,
    }


def from_json(values: Mapping[str, Any]) -> Results:
    """The inverse of `to_json`."""
    return Results(
        samples={(entry["server"], entry["case"]): entry["runs"] for entry in values["samples"]},
        steps={
            entry["server"]: [[Step(**s) for s in run] for run in entry["runs"]] for entry in values["w4"]
        },
        skipped={(entry["server"], entry["case"]): entry["reason"] for entry in values["skipped"]},
        titles={entry["name"]: entry["title"] for entry in values["servers"]},
        go={entry["name"] for entry in values["servers"] if entry["go"]},
        warnings=list(values["warnings"]),
    )
