"""When a lease may be taken, and what is written into it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfleet.kube.lease import Contender, LeaseState, lease_document

WALL = 1_735_689_600.0 + 500  # 500 s into 2025


def lease(
    holder: str = "", transitions: int = 0, renewed: str = "", uid: str = "u1", seconds: int = 10
) -> Any:
    spec = {
        "holderIdentity": holder,
        "leaseTransitions": transitions,
        "renewTime": renewed,
        "leaseDurationSeconds": seconds,
    }
    return {"metadata": {"name": "x", "namespace": "y", "uid": uid}, "spec": spec}


def test_the_charts_empty_lease_is_taken_at_once() -> None:
    contender = Contender(10)
    assert contender.may_take({"metadata": {"name": "x", "uid": "u1"}}, 0.0)
    assert contender.next_transitions(WALL) == 501


def test_a_released_lease_is_taken_at_once() -> None:
    contender = Contender(10)
    assert not contender.may_take(lease("a", 7, "t1"), 0.0)
    assert contender.may_take(lease("", 7, "t2"), 2.0)
    assert contender.next_transitions(WALL) == 8


def test_a_held_lease_is_taken_once_it_stood_still_for_its_duration() -> None:
    contender = Contender(10)
    assert not contender.may_take(lease("a", 7, "t1"), 0.0)
    assert not contender.may_take(lease("a", 7, "t2"), 9.5)
    assert not contender.may_take(lease("a", 7, "t2"), 19.25)
    assert contender.may_take(lease("a", 7, "t2"), 19.5)


def test_the_holders_own_duration_counts_where_it_is_longer() -> None:
    contender = Contender(2)
    assert not contender.may_take(lease("a", 7, "t1", seconds=10), 0.0)
    assert not contender.may_take(lease("a", 7, "t1", seconds=10), 9.0)
    assert contender.may_take(lease("a", 7, "t1", seconds=10), 10.0)


def test_a_contender_that_slept_does_not_take_what_was_renewed_meanwhile() -> None:
    contender = Contender(10)
    assert not contender.may_take(lease("a", 7, "t1"), 0.0)
    assert not contender.may_take(lease("a", 7, "t9"), 500.0)


def test_a_lease_that_is_gone_is_waited_for() -> None:
    contender = Contender(10)
    assert not contender.may_take(lease("a", 7, "t1"), 0.0)
    assert not contender.may_take(None, 2.0)
    assert not contender.may_take(None, 11.9)
    assert contender.may_take(None, 12.0)
    assert contender.next_transitions(WALL) == 8


def test_a_lease_that_was_never_seen_is_waited_for_too() -> None:
    contender = Contender(10)
    assert not contender.may_take(None, 0.0)
    assert contender.may_take(None, 10.0)


def test_an_empty_lease_in_the_place_of_a_deleted_one_is_waited_for() -> None:
    contender = Contender(10)
    assert not contender.may_take(lease("a", 7, "t1"), 0.0)
    assert not contender.may_take(lease(uid="u2"), 1.0)
    assert not contender.may_take(lease(uid="u2"), 3.0)
    assert contender.may_take(lease(uid="u2"), 11.0)
    assert contender.next_transitions(WALL) == 8


@given(st.lists(st.tuples(st.floats(0, 4), st.booleans()), max_size=40), st.integers(0, 2**31 - 1))
def test_nobody_takes_a_lease_that_moved_within_its_duration(
    looks: list[tuple[float, bool]], transitions: int
) -> None:
    contender, now, moved, renewals = Contender(10), 0.0, 0.0, 0
    for pause, renewed in [(0.0, True), *looks]:
        now += pause
        if renewed:
            moved, renewals = now, renewals + 1
        taken = contender.may_take(lease("a", transitions, f"t{renewals}"), now)
        assert taken == (now - moved >= 10)
    assert contender.next_transitions(WALL) in (transitions + 1, 2**31 - 1, 501)


def test_what_is_written_keeps_what_others_put_there() -> None:
    there = lease("a", 7, "t1")
    there["metadata"] |= {"resourceVersion": "12", "labels": {"of": "the chart"}, "managedFields": []}
    written = lease_document(
        "y",
        "x",
        holder="b",
        transitions=8,
        duration_seconds=10.0,
        acquired="2025-01-01T00:00:00.000000Z",
        wall_seconds=WALL,
        like=there,
    )
    assert written["metadata"] == {
        "name": "x",
        "namespace": "y",
        "uid": "u1",
        "resourceVersion": "12",
        "labels": {"of": "the chart"},
    }
    assert LeaseState.of(written) == LeaseState("b", 8, 10.0, "2025-01-01T00:08:20.000000Z", "u1")


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": None, "leaseTransitions": None}])
def test_a_lease_that_says_nothing_is_nobodys(spec: Any) -> None:
    assert LeaseState.of({"metadata": {}, "spec": spec}) == LeaseState("", 0, 0.0, "", "")
