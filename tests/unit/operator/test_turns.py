"""Whose turn it is to be asked: a fleet whose pods come and go is not asked all the time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsfleet.scrape import NodeFigures, Target, due


def targets(number: int) -> list[Target]:
    return [Target(f"u{n:03}", "games", f"pod-{n}", "127.0.0.1") for n in range(number)]


def heard(ages: dict[str, float], **more: object) -> dict[str, NodeFigures]:
    return {uid: NodeFigures(taken=1000.0 - age, **more) for uid, age in ages.items()}  # type: ignore[arg-type]


def uids(found: list[Target]) -> list[str]:
    return [one.uid for one in found]


def test_a_small_fleet_is_asked_as_a_whole() -> None:
    known = heard({one.uid: 0.2 for one in targets(20)})
    assert uids(due(targets(20), known, 1000.0)) == uids(targets(20))


def test_of_a_large_fleet_those_are_asked_that_were_not_heard_for_longest() -> None:
    known = heard({f"u{n:03}": n / 100 for n in range(300)})  # up to 2.99 s ago
    assert uids(due(targets(300), known, 1000.0)) == [f"u{n:03}" for n in range(299, 149, -1)]


def test_a_regular_look_asks_all_of_any_fleet() -> None:
    everyone = targets(5000)
    known = heard({one.uid: 4.5 for one in everyone})
    assert len(due(everyone, known, 1000.0)) == 5000


def test_who_never_answered_comes_first() -> None:
    known = heard({one.uid: 4.0 for one in targets(300)[1:]})
    assert uids(due(targets(300), known, 1000.0))[0] == "u000"


def test_who_is_on_the_move_is_asked_in_any_case() -> None:
    known = heard({one.uid: 0.1 for one in targets(400)})
    known |= heard({"u001": 0.1}, drain_state="closing") | heard({"u002": 0.1}, shed_remaining=5)
    assert sorted(uids(due(targets(400), known, 1000.0, {"u003"}))) == ["u001", "u002", "u003"]


@given(st.integers(1, 1000), st.data())
def test_closely_following_looks_ask_no_more_than_so_many_a_second(number: int, data: st.DataObject) -> None:
    known: dict[str, NodeFigures] = {}
    now, asked = 1000.0, 0
    for _ in range(20):
        now += data.draw(st.floats(0.2, 1.0))
        turn = due(targets(number), known, now)
        asked += len(turn)
        known |= {one.uid: NodeFigures(taken=now) for one in turn}
        assert all(now - one.taken < 2.5 for one in known.values())
    assert asked <= number + (now - 1000.0) * max(200, number / 2.5)
