"""A run's figures beside the expected ranges of its test. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from wsnode.config.expectations import Range, TestName
from wsnode.validate_plan import Plan
from wsnode.validate_samples import NodeFigures, Run, Sample, rate_over

TOLERANCE = 0.05
"""Of a rate's range: a run of seconds cuts a steady rate at both ends."""
GOROUTINES_STEP = 500
"""To which the document rounds its expected goroutines."""
_OTHERS_ALLOWED_PERCENT = 5.0
_SETTLE_SECONDS = 5.0
"""The node's CPU figure is a mean over this time, so the ramp is in the first ones of the hold."""


class Verdict(StrEnum):
    """On one criterion or one range."""

    PASS = "pass"
    BETTER = "better than expected"
    WORSE = "worse than expected"
    FAIL = "fail"
    UNKNOWN = "not judged"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One line of the report.

    Attributes:
        text: why, in words.
        measured, expected: figures, in the same unit, where there are some.
        unit: `%`, `bytes`, `msg/s`, or empty for counts.
    """

    name: str
    verdict: Verdict
    text: str
    measured: float | None = None
    expected: Range | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is set beside the ranges. None: not known.

    Attributes:
        cpu_mean: percent of WS_CPU_LIMIT, over the hold; cpu_peak is that of the whole run.
        memory_peak, goroutines_peak, connections_end: bytes and counts of the node, in the hold.
        messages_per_second: to clients, by the node's figure, else the clients'; over the hold.
        offered_per_second: what the run's own publisher asked of it; None without one.
        dropped_percent: of the messages due to clients, 0 exactly when no client saw a gap.
        others_percent: share of the clients that another node than the admin port's holds.
    """

    cpu_mean: float | None
    cpu_peak: float | None
    memory_peak: float | None
    goroutines_peak: float | None
    connections_end: float | None
    messages_per_second: float | None
    offered_per_second: float | None
    dropped_percent: float
    others_percent: float | None


def figures_of(plan: Plan, run: Run) -> Figures:
    """The figures of a run."""
    hold = run.hold
    settled = [
        sample
        for sample in hold
        if sample.at_seconds >= hold[0].at_seconds + min(_SETTLE_SECONDS, run.held_seconds / 4)
    ]
    cpu = _seen(settled, lambda node: node.cpu_percent)
    connections = _seen(hold, lambda node: node.connections)
    published = rate_over(hold, lambda sample: sample.published)
    return Figures(
        cpu_mean=sum(cpu) / len(cpu) if cpu else None,
        cpu_peak=max(_seen(run.samples, lambda node: node.cpu_percent), default=None),
        memory_peak=max(_seen(hold, lambda node: node.memory_bytes), default=None),
        goroutines_peak=max(_seen(hold, lambda node: node.goroutines), default=None),
        connections_end=connections[-1] if connections else None,
        messages_per_second=rate_over(hold, run.delivered),
        offered_per_second=None if published is None else published * _subscribers(plan, hold),
        dropped_percent=_dropped_percent(plan, run),
        others_percent=_others_percent(run),
    )


def judge_ranges(plan: Plan, run: Run, figures: Figures) -> list[Judgement]:
    """Each figure beside the range that the document expects; what it expects nothing of is left out."""
    test = plan.test
    if run.before is None or (figures.others_percent or 0) > _OTHERS_ALLOWED_PERCENT:
        why = "only an admin port can tell" if run.before is None else "most of the load may be elsewhere"
        unjudged = [("CPU", test.cpu_percent, "%"), ("memory", test.memory_bytes, "bytes")]
        unjudged += [("goroutines", _about(test.goroutines), "")]
        result = [
            Judgement(name, Verdict.UNKNOWN, why, expected=expected, unit=unit)
            for name, expected, unit in unjudged
            if expected is not None
        ]
    else:
        full, loaded = _all_there(plan, run), _load_reached(plan, run, figures)
        needed = [("CPU", figures.cpu_mean, test.cpu_percent, "%", loaded)]
        if test.memory_bytes is not None:
            needed.append(("memory", figures.memory_peak, test.memory_bytes, "bytes", full))
        expected = _about(test.goroutines)
        if expected is not None:
            needed.append(("goroutines", figures.goroutines_peak, expected, "", full))
        result = [_needed(*figure, reduced=plan.reduced) for figure in needed]
    if test.messages_per_second is not None:
        result.append(_messages(test.messages_per_second, figures))
    if test.name is TestName.OVERLOAD:
        result.append(_final_count(plan, run, figures))
    return result


def _needed(
    name: str, measured: float | None, expected: Range, unit: str, comparable: bool, *, reduced: bool
) -> Judgement:
    """A figure of which less is better."""

    def judged(verdict: Verdict, text: str) -> Judgement:
        return Judgement(name, verdict, text, measured, expected, unit)

    if measured is None:
        return judged(Verdict.UNKNOWN, "the node told none")
    match expected.verdict(measured):
        case "within":
            return judged(Verdict.PASS, "")
        case "above" if reduced:
            # The ranges are in proportion to the connections; what a node needs without any is not.
            return judged(Verdict.UNKNOWN, "what the node needs at rest tells with so few connections")
        case "above":
            return judged(Verdict.WORSE, "this node needs more than the document expects")
    if not comparable:
        return judged(Verdict.UNKNOWN, "the load was lighter than the test's")
    factor = expected.low / measured if measured else 0.0
    less = f"{factor:.1f} times less than" if factor >= 1.1 else "less than"
    return judged(Verdict.BETTER, f"this node needs {less} the least that the document expects")


def _messages(expected: Range, figures: Figures) -> Judgement:
    measured, offered = figures.messages_per_second, figures.offered_per_second

    def judged(verdict: Verdict, text: str) -> Judgement:
        return Judgement("messages", verdict, text, measured, expected, "msg/s")

    if measured is None:
        return judged(Verdict.UNKNOWN, "no rate is known")
    if offered is not None and measured < (1 - TOLERANCE) * offered:
        return judged(Verdict.WORSE, f"published were messages for {offered:,.0f}/s")
    if measured < (1 - TOLERANCE) * expected.low:
        hint = "" if offered is not None else "; --publish nats://... brings its own"
        return judged(Verdict.UNKNOWN, "the load was lighter than the test's" + hint)
    if expected.high is not None and measured > (1 + TOLERANCE) * expected.high:
        return judged(Verdict.PASS, "a heavier load than the test's")
    return judged(Verdict.PASS, "")


def _final_count(plan: Plan, run: Run, figures: Figures) -> Judgement:
    """How many are in at the end: about as many as the limit lets in."""
    final = plan.test.final_connections
    expected = Range((1 - TOLERANCE) * final, plan.settings.max_connections)
    measured = figures.connections_end
    name = "final connections"
    if run.before is None or measured is None:
        seen = run.hold[-1].subscribed if run.hold else run.clients.subscribed
        return Judgement(name, Verdict.UNKNOWN, "the node's limit is not known", seen, None)
    if expected.verdict(measured) == "within":
        return Judgement(name, Verdict.PASS, "", measured, expected)
    reasons = ", ".join(sorted(run.rejections())) or "no reason"
    text = f"refused for {reasons}" if measured < expected.low else "above the limit"
    return Judgement(name, Verdict.WORSE, text, measured, expected)


def _about(goroutines: int | None) -> Range | None:
    """The document says about so many, rounded up."""
    if goroutines is None:
        return None
    return Range(max(goroutines - GOROUTINES_STEP, 0), goroutines + GOROUTINES_STEP)


def _all_there(plan: Plan, run: Run) -> bool:
    hold = run.hold
    return bool(hold) and max(s.subscribed for s in hold) >= (1 - TOLERANCE) * plan.test.final_connections


def _load_reached(plan: Plan, run: Run, figures: Figures) -> bool:
    """Whether the node had as much to do as the test asks: else a low CPU says nothing."""
    expected = plan.test.messages_per_second
    # The smaller tests begin at half the rate; overload names none.
    half = plan.test.final_connections * plan.message_rate / 2
    least = (1 - TOLERANCE) * (half if expected is None else expected.low)
    rate = figures.messages_per_second
    return _all_there(plan, run) and rate is not None and rate >= least


def _subscribers(plan: Plan, samples: Sequence[Sample]) -> float:
    """Clients that got one message, on average over the samples."""
    if not samples:
        return 0.0
    clients = sum(sample.subscribed for sample in samples) / len(samples)
    return clients * plan.channels_each / len(plan.channels)


def _dropped_percent(plan: Plan, run: Run) -> float:
    """Exactly 0 without a gap. A gap is at least one message; how many is seen from what should have come."""
    gaps = run.clients.lost + run.clients.missed_while_away
    if not gaps:
        return 0.0
    hold = run.hold
    short = 0.0
    if hold:
        came = hold[-1].deliveries - hold[0].deliveries
        short = (hold[-1].messages - hold[0].messages) * plan.subscribers_per_message - came
    dropped = max(gaps, short)
    return 100 * dropped / (dropped + run.clients.deliveries)


def _others_percent(run: Run) -> float | None:
    """None where no client was greeted by name, or there is no admin port."""
    greeted = sum(node["open"] for node in run.clients.nodes.values())
    if run.before is None or not greeted:
        return None
    here = run.clients.nodes.get(run.before.name, {"open": 0.0})["open"]
    return 100 * (1 - here / greeted)


def _seen(samples: Iterable[Sample], read: Callable[[NodeFigures], float | None]) -> list[float]:
    return [
        value for sample in samples if sample.node is not None and (value := read(sample.node)) is not None
    ]
