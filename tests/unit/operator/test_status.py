"""When a status is worth a write, and when a condition's time moves."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wsfleet.status import Finding, epoch_seconds, merge_conditions, rfc3339, seconds_until_write

READY = Finding.of("Ready", True, "AllNodesReady", "2 of 2 nodes are ready")


def status(**changes: Any) -> dict[str, Any]:
    conditions = merge_conditions([], [READY], now=1000.0, generation=1)
    base = {
        "phase": "Running",
        "replicas": 2,
        "connections": 1000,
        "cpuPercent": 10.0,
        "memory": {"minute": 1},
        "conditions": conditions,
    }
    return {**base, **changes}


def wait(old: dict[str, Any], new: dict[str, Any], since: float = 1000.0, jitter: float = 0.0) -> float:
    return seconds_until_write(old, new, since, jitter)


def test_nothing_new_is_never_written() -> None:
    assert wait(status(), status()) == math.inf
    assert wait(status(), status(recommendation=None)) == math.inf


def test_a_count_is_written_at_once_but_at_most_once_a_second() -> None:
    assert wait(status(), status(replicas=3)) == 0
    assert wait(status(), status(replicas=3), since=0.25) == 0.75


def test_a_flipped_condition_is_news_and_its_message_is_not() -> None:
    old = status()
    flipped = merge_conditions(old["conditions"], [Finding.of("Ready", False, "NoNodes")], 1010.0, 1)
    assert wait(old, status(conditions=flipped), since=1.0) == 0
    other_words = merge_conditions(
        old["conditions"], [Finding.of("Ready", True, "AllNodesReady", "2 of 2 nodes run")], 1010.0, 1
    )
    assert wait(old, status(conditions=other_words), since=1.0) == 14.0


def test_figures_wait_15_seconds_and_small_changes_for_the_minute() -> None:
    assert wait(status(), status(connections=1051), since=5.0) == 10.0
    assert wait(status(), status(connections=1050), since=5.0) == 55.0
    assert wait(status(), status(cpuPercent=16.0), since=5.0) == 10.0
    assert wait(status(), status(cpuPercent=14.0), since=5.0) == 55.0


def test_what_only_a_restart_needs_waits_for_the_minute_with_jitter() -> None:
    assert wait(status(), status(memory={"minute": 2}), since=0.0) == 60.0
    assert wait(status(), status(memory={"minute": 2}), since=0.0, jitter=1.0) == 75.0
    assert wait(status(), status(memory={"minute": 2}), since=61.0) == 0


def test_a_first_figure_is_news() -> None:
    assert wait(status(connections=None), status(), since=2.0) == 0


def test_the_transition_time_moves_only_on_a_flip() -> None:
    first = merge_conditions([], [READY], now=1000.0, generation=1)
    same = merge_conditions(first, [READY], now=2000.0, generation=2)
    assert same[0]["lastTransitionTime"] == first[0]["lastTransitionTime"] == rfc3339(1000.0)
    assert same[0]["observedGeneration"] == 2
    flipped = merge_conditions(same, [Finding.of("Ready", False, "NoNodes")], now=3000.0, generation=2)
    assert flipped[0]["lastTransitionTime"] == rfc3339(3000.0)


def test_a_condition_without_a_finding_stays() -> None:
    first = merge_conditions([], [READY], now=1000.0, generation=1)
    second = merge_conditions(first, [Finding.of("Degraded", True, "Bad")], now=2000.0, generation=1)
    assert [one["type"] for one in second] == ["Ready", "Degraded"]


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_moments_survive_writing_and_reading(seconds: int) -> None:
    assert epoch_seconds(rfc3339(seconds)) == seconds


def test_a_moment_that_is_none_is_none() -> None:
    assert epoch_seconds(None) is None
    assert epoch_seconds("yesterday") is None


def test_numbers_within_a_text_move_with_every_look_and_say_nothing_new() -> None:
    before = [Finding.of("ScalingActive", True, "FiguresComplete", "1,234 connections need 1 node")]
    after = [Finding.of("ScalingActive", True, "FiguresComplete", "1,301.5 connections need 1 node")]
    old = status(conditions=merge_conditions([], before, 1000.0, 1))
    new = status(conditions=merge_conditions(old["conditions"], after, 1010.0, 1))
    assert wait(old, new, since=1.0) == 59.0


def test_measured_costs_that_moved_wait_for_the_minute() -> None:
    old, new = status(costs={"intervals": 40}), status(costs={"intervals": 41})
    assert wait(old, new, since=5.0) == 55.0
    assert wait(old, status(costs={"intervals": 40}), since=5.0) == math.inf


def test_what_holds_the_size_is_written_as_texts_are() -> None:
    held = "no node goes for about 30 min"
    assert wait(status(holds=[held]), status(holds=["no node goes for about 29 min"]), since=0.0) == 60.0
    assert wait(status(holds=[]), status(holds=[held]), since=0.0) == 15.0
    assert wait(status(holds=[held]), status(holds=[held]), since=0.0) == float("inf")


def test_how_many_nodes_have_settings_in_force_is_no_news_and_what_they_refuse_is() -> None:
    def told(in_force: int, refused: str = "", hash_: str = "a") -> dict[str, Any]:
        return status(nodeSettings={"hash": hash_, "inForce": in_force, "refused": refused})

    assert wait(told(2), told(1), since=0.0) == 60.0, "one that is late to tell"
    assert wait(told(1), told(2), since=0.0) == 15.0
    assert wait(told(39), told(40), since=0.0) == 60.0
    assert wait(told(2), told(2, "WS_X=1: no"), since=0.0) == 1.0
    assert wait(told(2, "WS_X=1: no"), told(2, "WS_Y: no"), since=0.0) == 15.0
    assert wait(told(2), told(0, hash_="b"), since=0.0) == 1.0


def test_a_rebalance_is_news_when_a_run_begins_or_is_stopped() -> None:
    def pause(before: str | None, after: str | None) -> float:
        return wait(status(rebalance=before), status(rebalance=after), since=0.0)

    assert pause(None, "Steering") == pause("Steering", None) == 60.0
    assert pause("Labels", "Closing") == pause("Closing", "Labels") == 60.0
    assert pause("Steering", "Labels") == pause("Closing", "Easing") == pause("Closing", "Held") == 1.0


@given(
    st.lists(
        st.tuples(st.sampled_from([None, "Steering", "Easing"]), st.integers(39, 40), st.integers(990, 1010)),
        min_size=240,
        max_size=240,
    )
)
@settings(max_examples=20, deadline=None)
def test_an_idle_fleet_is_written_at_most_once_a_minute(looks: list[tuple[str | None, int, int]]) -> None:
    written, writes, since = status(), 0, 0.0
    for phase, in_force, connections in looks:
        since += 5.0
        new = status(rebalance=phase, nodeSettings={"inForce": in_force}, connections=connections)
        if wait(written, new, since) <= 0:
            written, writes, since = new, writes + 1, 0.0
    assert writes <= 21, "20 minutes, and the first look"
