"""The minimum by schedule, in the wall-clock time of its zone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.unit.scaling.fleet_script import node, settled
from wsfleet.scaling import ScalingPolicy, Trigger, scaling_conditions
from wsfleet.scaling.schedule import Schedule, last_time, minimum_in_force

BERLIN = "Europe/Berlin"
DAY = Schedule(cron="0 8 * * 1-5", time_zone=BERLIN, min_replicas=6)
NIGHT = Schedule(cron="0 20 * * *", time_zone=BERLIN, min_replicas=2)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("moment", "nodes"),
    [
        ("2026-07-14T05:59:59", 2),  # Tuesday, 7:59:59 summer time: the evening's entry still holds
        ("2026-07-14T06:00:00", 6),
        ("2026-07-14T17:59:59", 6),
        ("2026-07-14T18:00:00", 2),
        ("2026-01-13T06:59:59", 2),  # winter time
        ("2026-01-13T07:00:00", 6),
        ("2026-07-18T12:00:00", 2),  # Saturday
    ],
)
def test_entries_without_a_duration_replace_each_other(moment: str, nodes: int) -> None:
    assert minimum_in_force([DAY, NIGHT], 1, at(moment)).nodes == nodes
    assert minimum_in_force([NIGHT, DAY], 1, at(moment)).nodes == nodes


def test_an_entry_with_a_duration_ends_by_itself_and_replaces_nothing() -> None:
    lunch = Schedule(cron="0 12 * * *", time_zone="UTC", min_replicas=9, duration_seconds=3600)
    always = Schedule(cron="0 0 * * *", time_zone="UTC", min_replicas=3)
    found = [
        minimum_in_force([always, lunch], 1, at(f"2026-07-14T{time}")).nodes
        for time in ("11:59:59", "12:00:00", "12:59:59", "13:00:00")
    ]
    assert found == [3, 9, 9, 3]


def test_min_replicas_is_never_undercut() -> None:
    found = minimum_in_force([NIGHT], 4, at("2026-07-14T22:00:00"))
    assert (found.nodes, found.reason, found.scheduled) == (4, "minReplicas is 4", False)


def test_of_two_entries_at_the_same_minute_the_later_in_the_list_holds() -> None:
    one = Schedule(cron="0 8 * * *", time_zone="UTC", min_replicas=5)
    two = Schedule(cron="0 8 * * *", time_zone="UTC", min_replicas=3)
    assert minimum_in_force([one, two], 1, at("2026-07-14T09:00:00")).nodes == 3
    assert minimum_in_force([two, one], 1, at("2026-07-14T09:00:00")).nodes == 5


@pytest.mark.parametrize(
    ("moment", "last"),
    [
        # 29 March 2026: 2:00 becomes 3:00, so 2:30 comes right after the change.
        ("2026-03-29T00:59:00", "2026-03-28T01:30:00"),
        ("2026-03-29T01:00:00", "2026-03-29T01:00:00"),
        ("2026-03-29T09:00:00", "2026-03-29T01:00:00"),
        # 25 October 2026: 3:00 becomes 2:00, so 2:30 comes twice and counts once.
        ("2026-10-25T00:29:00", "2026-10-24T00:30:00"),
        ("2026-10-25T00:30:00", "2026-10-25T00:30:00"),
        ("2026-10-25T01:15:00", "2026-10-25T00:30:00"),
        ("2026-10-25T01:30:00", "2026-10-25T00:30:00"),
        ("2026-10-25T05:00:00", "2026-10-25T00:30:00"),
    ],
)
def test_a_time_that_a_change_of_the_clock_skips_or_repeats_comes_once(moment: str, last: str) -> None:
    assert last_time("30 2 * * *", BERLIN, at(moment)) == at(last)


def test_every_day_of_a_year_an_hour_a_day_is_an_hour_a_day() -> None:
    noon = Schedule(cron="0 12 * * *", time_zone=BERLIN, min_replicas=5, duration_seconds=3600)
    day = at("2026-01-01T00:00:00")
    for _ in range(365):
        minutes = sum(minimum_in_force([noon], 1, day + 600.0 * step).nodes == 5 for step in range(144))
        assert minutes == 6
        day += 86_400


def test_what_is_no_entry_sets_no_minimum() -> None:
    assert last_time("0 0 30 2 *", "UTC", at("2026-07-14T09:00:00")) is None
    assert last_time("5-1 * * * *", "UTC", at("2026-07-14T09:00:00")) is None
    assert last_time("0 8 * * *", "Europe/Atlantis", at("2026-07-14T09:00:00")) is None


def test_a_schedule_raises_the_fleet_and_says_so() -> None:
    # The script's time begins on a Friday at 8:00 UTC.
    entry = Schedule(cron="0 9 * * 1-5", time_zone=BERLIN, min_replicas=3, duration_seconds=600)
    fleet = settled(ScalingPolicy(max_connections=10_000, max_replicas=9, schedules=(entry,)), 1)
    decision = fleet.look(node("a", 5))
    assert (decision.desired, decision.trigger) == (3, Trigger.SCHEDULE)
    assert decision.reasons[0] == "the schedule 0 9 * * 1-5 (Europe/Berlin) sets minReplicas to 3"
    assert decision.figures["minReplicas"] == 3
    _, limited = scaling_conditions(decision)
    assert limited.message == (
        "the load asks for 1; the schedule 0 9 * * 1-5 (Europe/Berlin) sets minReplicas to 3"
    )


def test_a_schedule_that_ends_lets_the_fleet_shrink_one_by_one() -> None:
    entry = Schedule(cron="0 9 * * 1-5", time_zone=BERLIN, min_replicas=3, duration_seconds=600)
    fleet = settled(ScalingPolicy(max_connections=10_000, max_replicas=9, schedules=(entry,)), 3)
    during = fleet.look_for(600, [node("a", 5), node("b"), node("c")])
    assert {decision.desired for decision in during} == {3}
    assert fleet.look(node("a", 5), node("b"), node("c")).desired == 2
    assert fleet.look(node("a", 5), node("b")).desired == 1


def test_the_end_of_a_schedule_is_no_shrinking_to_be_regretted() -> None:
    quiet = [node("a", 5), node("b"), node("c")]
    again = Schedule(cron="*/20 * * * *", time_zone="UTC", min_replicas=3, duration_seconds=600)
    fleet = settled(ScalingPolicy(max_connections=10_000, max_replicas=9, schedules=(again,)), 3)
    fleet.look_for(605, quiet)
    assert fleet.history.desired == 2
    fleet.look_for(600, quiet[:2])
    assert fleet.history.desired == 3
    assert fleet.history.regretted is None
