"""Whether a validation test has passed, and where this node stands beside the expected ranges. Pure.

The pass criteria decide; they are the document's (seed, "Validation Tests"). The expected ranges do not:
they rest on another server's costs, so a node that needs less is told to be better, one that needs more
to be worse, and neither is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from wsnode.config.expectations import MIB, TestName
from wsnode.validate_plan import Plan
from wsnode.validate_ranges import Figures, Judgement, Verdict, figures_of, judge_ranges
from wsnode.validate_samples import Run

HELD_SHARE = 0.99
"""Of the clients, in a test that allows errors: fewer open ones are not stable."""
LEAST_SHARE = 0.9
"""Of the messages published: what is under way as the hold begins and ends is not counted."""
LEAST_SHARE_UNDER_OVERLOAD = 0.5
"""Above its pause threshold a node reads less, on purpose, and clients come and go."""
LONGEST_SILENCE_SECONDS = 10.0
"""Of the admin port; it answers from the node's loop, so a longer one is a node that does not turn."""


class Outcome(StrEnum):
    """Of the whole run."""

    PASSED = "passed"
    PASSED_IN_PART = "passed as far as it could be judged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict and what it rests on.

    Attributes:
        criteria: what decides.
        ranges: how the node stands beside what the document expects.
        notes: what the reader should know beside it.
    """

    outcome: Outcome
    criteria: tuple[Judgement, ...]
    ranges: tuple[Judgement, ...]
    notes: tuple[str, ...]
    figures: Figures


def judge(plan: Plan, run: Run) -> Report:
    """The report of a run."""
    figures = figures_of(plan, run)
    criteria = tuple(_criteria(plan, run, figures))
    verdicts = {judgement.verdict for judgement in criteria}
    if Verdict.FAIL in verdicts:
        outcome = Outcome.FAILED
    elif run.interrupted:
        outcome = Outcome.INTERRUPTED
    else:
        outcome = Outcome.PASSED_IN_PART if Verdict.UNKNOWN in verdicts else Outcome.PASSED
    ranges = tuple(judge_ranges(plan, run, figures))
    return Report(outcome, criteria, ranges, tuple(_notes(plan, run, figures)), figures)


def _criteria(plan: Plan, run: Run, figures: Figures) -> list[Judgement]:
    asked = plan.test.criteria
    result = [_held(plan, run), _node_stable(run)]
    if figures.offered_per_second:
        result.append(_messages_arrive(plan, run, figures))
    if not asked.errors_allowed:
        result.append(_no_errors(run))
    if asked.drops_below_percent is not None:
        result.append(_drops(asked.drops_below_percent, run, figures))
    if not asked.rejections_allowed:
        result.append(_none_refused(run))
    if plan.test.name is TestName.CAPACITY:
        result.append(_cpu_threshold(plan, run, figures))
    if plan.refuses:
        result += [_refused_in_order(run), _limit_holds(plan, run)]
    return result


def _held(plan: Plan, run: Run) -> Judgement:
    """Stable, as clients see it: they are in, and they stay for the time of the test."""
    name = "clients stay connected"
    if not run.clients.opened_total:
        return Judgement(
            name, Verdict.FAIL, f"no connection could be opened{_most(run.clients.failed_opens)}"
        )
    hold = run.hold
    if not hold and run.interrupted:
        return Judgement(name, Verdict.UNKNOWN, "the run was ended before all clients were due")
    if not hold:
        why = _most(run.clients.closes or run.clients.failed_opens)
        return Judgement(name, Verdict.FAIL, f"none was left when all were due{why}")
    least, closes = min(sample.subscribed for sample in hold), sum(run.clients.closes.values())
    if plan.refuses:
        # Who is in must stay in; how many these are is another criterion.
        wanted = max(sample.subscribed for sample in hold)
        held = least >= HELD_SHARE * wanted and closes <= (1 - HELD_SHARE) * wanted
    else:
        wanted = plan.test.connections
        held = least >= (HELD_SHARE if plan.test.criteria.errors_allowed else 1) * wanted
    text = f"{least:,} of {wanted:,} all through {run.held_seconds:.0f} s"
    if closes:
        text += f", {closes:,} closed{_most(run.clients.closes)}"
    if not held:
        return Judgement(name, Verdict.FAIL, text)
    if run.interrupted:
        return Judgement(name, Verdict.UNKNOWN, f"{text}, but the run was ended early")
    return Judgement(name, Verdict.PASS, text)


def _node_stable(run: Run) -> Judgement:
    """Stable, as the admin port sees it: the same node, ready, and it answers."""
    name = "node stable"
    if run.before is None:
        return _no_admin(name)
    nodes = run.nodes
    uptimes = [node.uptime_seconds for node in nodes if node.uptime_seconds is not None]
    problems = []
    if any(after < before for before, after in pairwise(uptimes)):
        problems.append("it restarted")
    if len({node.name for node in nodes}) > 1:
        problems.append("the admin port is another node's than before")
    unready = sum(node.ready is False for node in nodes)
    if unready:
        problems.append(f"not ready in {unready} of {len(nodes)} samples")
    silence = run.longest_silence_seconds()
    if silence > LONGEST_SILENCE_SECONDS:
        problems.append(f"its admin port did not answer for {silence:.0f} s")
    if problems:
        return Judgement(name, Verdict.FAIL, ", ".join(problems))
    return Judgement(name, Verdict.PASS, "no restart, ready and answering all the time")


def _messages_arrive(plan: Plan, run: Run, figures: Figures) -> Judgement:
    """About as many as were published for those who were there, by rate and time."""
    offered = figures.offered_per_second or 0.0
    came = (run.hold[-1].deliveries - run.hold[0].deliveries) / run.held_seconds
    least = LEAST_SHARE_UNDER_OVERLOAD if plan.refuses else LEAST_SHARE
    verdict = Verdict.PASS if came >= least * offered else Verdict.FAIL
    text = f"{came:,.0f} a second; published were as many as for {offered:,.0f}"
    return Judgement("messages arrive", verdict, text)


def _no_errors(run: Run) -> Judgement:
    clients = run.clients
    counts = {
        "failed opens": sum(clients.failed_opens.values()),
        "closes": sum(clients.closes.values()),
        "errors told to clients": sum(clients.errors.values()),
        "times the feed was lost": clients.feed_losses,
        "gaps": clients.lost + clients.missed_while_away,
        "messages doubled, out of order or unasked": clients.broken - clients.lost,
    }
    found = [f"{amount:,} {what}" for what, amount in counts.items() if amount]
    if found:
        return Judgement("no errors", Verdict.FAIL, ", ".join(found))
    if not clients.deliveries:
        return Judgement("no errors", Verdict.UNKNOWN, "none seen, but no message came that could be checked")
    text = f"{clients.deliveries:,} messages came, each checked by its seq and prev"
    return Judgement("no errors", Verdict.PASS, text)


def _drops(bound_percent: float, run: Run, figures: Figures) -> Judgement:
    name = f"less than {bound_percent:g} % of messages dropped"
    if not run.clients.deliveries:
        return Judgement(name, Verdict.UNKNOWN, "no message came")
    percent = figures.dropped_percent
    verdict = Verdict.PASS if percent < bound_percent else Verdict.FAIL
    if not percent:
        text = f"none of {run.clients.deliveries:,}: no gap at any client"
    else:
        gaps = run.clients.lost + run.clients.missed_while_away
        text = f"{percent:.2f} %, {gaps:,} gaps beside {run.clients.deliveries:,} messages"
    return Judgement(name, verdict, text)


def _none_refused(run: Run) -> Judgement:
    name = "no connection refused"
    refused = run.rejections()
    by_clients = {what: n for what, n in run.clients.failed_opens.items() if what.startswith("http ")}
    if refused or by_clients:
        return Judgement(name, Verdict.FAIL, f"{_listed(refused or by_clients)} refused")
    return Judgement(name, Verdict.PASS, f"{run.clients.opened_total:,} opened")


def _cpu_threshold(plan: Plan, run: Run, figures: Figures) -> Judgement:
    name = "CPU rejection threshold not hit"
    if run.before is None:
        return _no_admin(name)
    threshold, refused = plan.settings.cpu_reject_threshold, run.rejections().get("cpu", 0)
    if figures.cpu_peak is None:
        return Judgement(name, Verdict.UNKNOWN, "the node told no CPU")
    text = f"at most {figures.cpu_peak:.1f} % of WS_CPU_LIMIT, threshold {threshold:g} %"
    if refused:
        text += f", {refused:,} clients refused for it"
    hit = refused or figures.cpu_peak > threshold
    return Judgement(name, Verdict.FAIL if hit else Verdict.PASS, text)


def _refused_in_order(run: Run) -> Judgement:
    """Gracefully is an answer: HTTP 503, not a reset, a time-out or a full backlog."""
    name = "excess load refused in good order"
    failed = run.clients.failed_opens
    refused, total = failed.get("http 503", 0), sum(failed.values())
    if not refused:
        return Judgement(name, Verdict.FAIL, f"no client was refused with 503{_most(failed)}")
    text = f"{refused:,} answers of 503"
    by_node = run.rejections()
    if by_node:
        text += f", by the node for {_listed(by_node)}"
    others = total - refused
    if others:
        rest = {what: n for what, n in failed.items() if what != "http 503"}
        text += f"; {others:,} others{_most(rest)}"
    return Judgement(name, Verdict.FAIL if others > (1 - HELD_SHARE) * total else Verdict.PASS, text)


def _limit_holds(plan: Plan, run: Run) -> Judgement:
    name = "limit holds"
    if run.before is None:
        return _no_admin(name)
    counts = [node.connections for node in run.nodes if node.connections is not None]
    if not counts:
        return Judgement(name, Verdict.UNKNOWN, "the node told no connections")
    limit = plan.settings.max_connections
    verdict = Verdict.PASS if max(counts) <= limit else Verdict.FAIL
    return Judgement(name, verdict, f"never above {max(counts):,}, WS_MAX_CONNECTIONS {limit:,}")


def _notes(plan: Plan, run: Run, figures: Figures) -> list[str]:
    notes = list(run.notes)
    if run.interrupted:
        notes.append(f"ended early, after {run.held_seconds:.0f} of {plan.duration_seconds:g} s")
    if plan.reduced:
        notes.append(
            f"{plan.test.connections:,} connections; the document opens {plan.document_connections:,}"
        )
    if plan.duration_seconds < plan.document_seconds:
        notes.append(f"held for {plan.duration_seconds:g} s; the document asks for {plan.document_seconds} s")
    if run.before is None:
        notes.append(
            "without an admin port only what clients see is judged: no CPU, memory, goroutines, restarts"
            " or reasons of refusal; --admin http://HOST:9102 tells them"
        )
    elif run.before.connections:
        notes.append(
            f"{run.before.connections:,} connections were there before the run; figures include them"
        )
    if figures.others_percent:
        notes.append(
            f"{figures.others_percent:.0f} % of the clients are on other nodes than the admin port's"
        )
    if run.before is not None and run.before.memory_bytes:
        notes.append(
            f"memory before the run: {run.before.memory_bytes / MIB:,.0f} MB (the node's cgroup; "
            "without one of its own, all that shares it)"
        )
    return notes


def _no_admin(name: str) -> Judgement:
    return Judgement(name, Verdict.UNKNOWN, "only an admin port can tell")


def _most(counts: Mapping[str, int]) -> str:
    """The commonest of some counts, for the end of a phrase."""
    if not counts:
        return ""
    what, amount = max(counts.items(), key=lambda item: item[1])
    return f" (most: {what}, {amount:,})"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {amount:,}" for what, amount in sorted(counts.items()))
