"""What a restart needs, written to the status and read back."""

from __future__ import annotations

import json

import pytest

from tests.unit.scaling.fleet_script import START, node, settled
from wsfleet.scaling import History, ScalingPolicy, Trigger
from wsfleet.scaling.history import LastKnown, Minute, add_to_minute, into_minutes

POLICY = ScalingPolicy(max_connections=10_000, max_replicas=20)


def test_a_history_comes_back_from_the_status_as_it_went() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(400, [node("a", 9000, 70.5, rejections={"cpu": 3}), node("b", 9000, 70.5)])
    history = fleet.history
    memory = json.loads(json.dumps(history.to_status()))
    back = History.from_status(memory, history.decisions_to_status())
    assert back.desired == 3
    assert back.recommendations == history.recommendations
    assert back.growth == history.growth
    assert back.last_known == history.last_known
    assert back.cpu == history.cpu
    assert [one.desired for one in back.decisions] == [3]
    assert back.decisions[0].trigger is Trigger.CONNECTIONS
    assert back.decisions[0].reasons == history.decisions[0].reasons
    assert (back.trend, back.spans, back.starts) == (history.trend, history.spans, history.starts)
    assert (back.shrunk, back.regretted) == (history.shrunk, history.regretted)
    assert len(json.dumps(memory)) < 4096


def test_what_a_decision_held_back_is_still_told_after_a_restart() -> None:
    fleet = settled(POLICY, 1)
    fleet.look(node("a", 90_000))
    shown = fleet.history.decisions_to_status()
    assert shown[0]["holds"] == ["12 nodes are wanted; at most 5 within 15 s"]
    assert History.from_status(None, shown).decisions_to_status()[0]["holds"] == shown[0]["holds"]


def test_decisions_are_shown_newest_first() -> None:
    fleet = settled(POLICY, 1)
    fleet.look(node("a", 9000))
    fleet.look(node("a", 9000), node("b", 9000))
    shown = fleet.history.decisions_to_status()
    assert [(one["from"], one["to"], one["trigger"]) for one in shown] == [
        (2, 3, "Connections"),
        (1, 2, "Connections"),
    ]
    assert shown[1]["time"] == "2027-01-15T08:00:00Z"
    assert shown[1]["figures"]["connections"] == 9000


@pytest.mark.parametrize(
    "memory",
    [
        None,
        {},
        {"desired": -3},
        {"desired": "three", "cpu": 5, "totals": "no", "lastKnown": [1]},
        {"cpu": [[1, 2]], "totals": [["a", None, 3]], "growth": [1], "lastKnown": {"a": None, "b": [1]}},
        {"trend": [[1]], "spans": [[1, 2, 3]], "starts": ["x"], "shrunk": "y", "regretted": float("inf")},
        {"observedSince": float("nan"), "lastSeen": -1, "recommendations": [[float("nan"), 3]]},
    ],
)
def test_a_status_that_is_not_understood_is_not_remembered_and_fails_nothing(memory: object) -> None:
    history = History.from_status(memory, [{"from": "x"}, {}])  # type: ignore[arg-type]
    assert history == History(last_known={})


def test_last_figures_of_large_fleets_stay_out_of_the_status() -> None:
    last = LastKnown(1, START, 1.0, START, 0, False)
    few = History(last_known={f"u{number}": last for number in range(50)})
    many = History(last_known={f"u{number}": last for number in range(51)})
    assert len(few.to_status()["lastKnown"]) == 50
    assert "lastKnown" not in many.to_status()


def test_minutes_keep_the_highest_value_and_forget_the_old() -> None:
    minutes: tuple[Minute, ...] = ()
    for second, value in [(0, 5), (10, 9), (59, 1), (60, 2), (361, 3)]:
        minutes = into_minutes(minutes, 6000.0 + second, value, keep_seconds=300)
    assert minutes == (Minute(6060.0, 2), Minute(6360.0, 3))


def test_minutes_of_sums_add_up_and_skip_zeros() -> None:
    minutes = add_to_minute((), 6000.0, 0, keep_seconds=300)
    assert minutes == ()
    minutes = add_to_minute(minutes, 6001.0, 4, keep_seconds=300)
    assert add_to_minute(minutes, 6030.0, 5, keep_seconds=300) == (Minute(6000.0, 9),)
