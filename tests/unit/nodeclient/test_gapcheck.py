"""What a client may conclude from `seq` and `prev`: with literals, then against a model."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.gapcheck import NONE, Finding, Ledger, Verdict, may_have_lost, silent_losses


@pytest.mark.parametrize(
    ("prev", "seen", "bar", "lost"),
    [(10, 10, 0, False), (10, 0, 10, False), (11, 10, 10, True), (11, 11, 10, False), (0, NONE, NONE, True)],
)
def test_the_rule(prev: int, seen: int, bar: int, lost: bool) -> None:
    assert may_have_lost(prev, seen, bar) is lost


class OneClient:
    """A client's channels in dictionaries, judged by the ledger as the load client does it with arrays."""

    def __init__(self, *, resumes: bool = False) -> None:
        self.ledger = Ledger(resumes=resumes)
        self.findings: list[Finding] = []
        self.base: dict[str, int] = {}
        self.bar: dict[str, int] = {}
        self.stands = NONE

    def acknowledged(self, channels: Iterable[str], seq: int) -> None:
        """On a new connection."""
        self.stands = NONE
        for channel in channels:
            self.bar[channel] = seq
            self.base[channel] = min(self.base.get(channel, seq), seq)

    def message(self, channel: str, seq: int, prev: int) -> Finding | None:
        had, bar = self.base.get(channel, NONE), self.bar.get(channel, NONE)
        verdict, base = self.ledger.judge(channel, had, bar, self.stands, seq, prev)
        if channel in self.base:
            self.base[channel] = base
        if verdict is Verdict.OK:
            return None
        finding = Finding(verdict, channel, seq, prev, max(had, bar) if verdict is Verdict.LOST else had)
        self.findings.append(finding)
        return finding


def checker(ack: int = 10, *channels: str) -> OneClient:
    check = OneClient()
    check.acknowledged(channels or ("A.x",), ack)
    return check


def verdicts(check: OneClient) -> list[tuple[str, int]]:
    return [(str(finding.verdict), finding.seq) for finding in check.findings]


def test_a_chain_after_the_acknowledgement_is_in_order() -> None:
    check = checker(10)
    assert check.message("A.x", 11, 4) is None
    assert check.message("A.x", 15, 11) is None
    assert check.base == {"A.x": 15}
    assert check.ledger.broken == 0


def test_a_prev_up_to_the_acknowledgement_is_no_loss() -> None:
    assert checker(10).message("A.x", 12, 10) is None


def test_a_prev_above_the_acknowledgement_is_a_loss() -> None:
    finding = checker(10).message("A.x", 13, 11)
    assert finding == Finding(Verdict.LOST, "A.x", 13, 11, 10)
    assert finding.missing == (11, 11)
    assert str(finding) == "lost on A.x: seq 13 says prev 11, had 10"


def test_channels_are_judged_apart() -> None:
    check = checker(10, "A.x", "B.x")
    assert check.message("A.x", 11, 9) is None
    assert check.message("B.x", 12, 10) is None
    assert check.message("A.x", 13, 11) is None
    assert check.message("B.x", 15, 14) is not None


def test_the_same_message_twice_is_doubled() -> None:
    check = checker(10)
    check.message("A.x", 11, 10)
    check.message("A.x", 11, 10)
    assert verdicts(check) == [("doubled", 11)]
    assert check.ledger.doubled == 1


def test_a_late_message_is_reordered_and_no_longer_lost() -> None:
    check = checker(10)
    check.message("A.x", 12, 11)
    assert check.ledger.lost == 1
    check.message("A.x", 11, 10)
    assert (check.ledger.lost, check.ledger.reordered, check.ledger.doubled) == (0, 1, 0)
    check.message("A.x", 11, 10)
    assert check.ledger.doubled == 1


def test_a_late_message_out_of_the_middle_leaves_two_losses() -> None:
    check = checker(10)
    check.message("A.x", 20, 18)
    check.message("A.x", 14, 12)
    assert (check.ledger.lost, check.ledger.reordered) == (2, 1)


def test_a_message_that_a_position_covered_comes_too_late() -> None:
    check = checker(10)
    check.stands = 15
    check.message("A.x", 14, 10)
    assert verdicts(check) == [("reordered", 14)]
    assert check.message("A.x", 16, 14) is None


def test_a_position_hides_no_loss() -> None:
    check = checker(10)
    check.stands = 15
    assert check.message("A.x", 16, 14) == Finding(Verdict.LOST, "A.x", 16, 14, 10)


def test_a_channel_that_was_not_asked_for() -> None:
    check = checker(10)
    check.message("B.x", 11, 5)
    assert verdicts(check) == [("unasked", 11)]


def test_what_was_published_while_away_is_missed_but_not_lost() -> None:
    check = checker(10)
    check.message("A.x", 11, 10)
    check.acknowledged(["A.x"], 20)
    finding = check.message("A.x", 21, 18)
    assert finding == Finding(Verdict.MISSED_AWAY, "A.x", 21, 18, 11)
    assert finding.missing == (12, 18)
    assert check.ledger.broken == 0
    assert check.ledger.missed_while_away == 1


def test_what_a_resume_was_told_to_miss_is_counted_when_it_is_told() -> None:
    check = OneClient(resumes=True)
    check.acknowledged(["A.x"], 10)
    check.bar["A.x"] = 15
    finding = check.message("A.x", 21, 13)
    assert finding == Finding(Verdict.MISSED_AWAY, "A.x", 21, 13, 10)
    assert (check.ledger.missed_while_away, check.ledger.broken) == (0, 0)


def test_a_quiet_time_away_misses_nothing() -> None:
    check = checker(10)
    check.message("A.x", 11, 10)
    check.acknowledged(["A.x"], 20)
    assert check.message("A.x", 21, 11) is None


def test_a_loss_after_the_reconnect_is_lost_from_the_acknowledgement_on() -> None:
    check = checker(10)
    check.acknowledged(["A.x"], 20)
    finding = check.message("A.x", 25, 23)
    assert finding is not None
    assert finding.verdict is Verdict.LOST
    assert finding.missing == (21, 23)


def test_a_node_that_is_behind_sends_again_what_was_seen_elsewhere() -> None:
    check = checker(10)
    check.message("A.x", 11, 10)
    check.message("A.x", 12, 11)
    check.acknowledged(["A.x"], 11)
    assert check.message("A.x", 12, 11) is None
    assert check.message("A.x", 13, 12) is None


def test_a_silent_loss_is_found_when_the_truth_is_known() -> None:
    published = [11, 13, 15, 17, 19]
    told = Finding(Verdict.LOST, "A.x", 17, 15, 13)
    assert silent_losses(published, [11, 13, 17], [told], 10) == []
    assert silent_losses(published, [11, 17], [told], 10) == [13]
    assert silent_losses(published, [17], [told], 13) == []
    assert silent_losses(published, [], [], 10) == []


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[int, int]], int, list[bool]]:
    """A channel's (seq, prev) in stream order, the acknowledgement, and which of the live ones arrive."""
    steps = draw(st.lists(st.integers(1, 5), min_size=1, max_size=40))
    seq, prev, messages = 100, draw(st.integers(90, 100)), []
    for step in steps:
        seq += step
        messages.append((seq, prev))
        prev = seq
    ack = draw(st.integers(100, seq))
    live = [message for message in messages if message[0] > ack]
    arrives = draw(st.lists(st.booleans(), min_size=len(live), max_size=len(live)))
    return messages, ack, arrives


@given(streams())
def test_no_loss_is_silent_and_no_alarm_is_false(case: tuple[list[tuple[int, int]], int, list[bool]]) -> None:
    messages, ack, arrives = case
    live = [message for message in messages if message[0] > ack]
    check = checker(ack)
    received = [message for message, here in zip(live, arrives, strict=True) if here]
    for seq, prev in received:
        check.message("A.x", seq, prev)
    published = [seq for seq, _ in messages]
    assert silent_losses(published, [seq for seq, _ in received], check.findings, ack) == []
    # The model: a run of missing messages with a later arrival is one loss.
    newest = max((seq for seq, _ in received), default=0)
    runs = sum(
        1
        for index, here in enumerate(arrives)
        if not here and live[index][0] < newest and (index == 0 or arrives[index - 1])
    )
    assert check.ledger.lost == runs
    assert check.ledger.broken == runs


@given(streams(), st.data())
def test_in_any_order_all_that_came_once_is_late_at_worst(
    case: tuple[list[tuple[int, int]], int, list[bool]], data: st.DataObject
) -> None:
    messages, ack, _ = case
    live = [message for message in messages if message[0] > ack]
    check = checker(ack)
    order = data.draw(st.permutations(live))
    for seq, prev in order:
        check.message("A.x", seq, prev)
    late = sum(1 for index, (seq, _) in enumerate(order) if any(seq < before for before, _ in order[:index]))
    assert (check.ledger.lost, check.ledger.doubled, check.ledger.reordered) == (0, 0, late)


@given(streams(), st.data())
def test_every_repetition_is_doubled(
    case: tuple[list[tuple[int, int]], int, list[bool]], data: st.DataObject
) -> None:
    messages, ack, _ = case
    live = [message for message in messages if message[0] > ack]
    check = checker(ack)
    repeats = 0
    for index, (seq, prev) in enumerate(live):
        check.message("A.x", seq, prev)
        if data.draw(st.booleans()):
            check.message("A.x", *live[data.draw(st.integers(0, index))])
            repeats += 1
    assert (check.ledger.lost, check.ledger.doubled, check.ledger.reordered) == (0, repeats, 0)
