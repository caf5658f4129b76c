"""When a rollout may begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfleet.scaling import NodeSample, SetView, Window, closed_until, shape_to_keep


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


NIGHT = Window(cron="0 22 * * 1-5", time_zone="Europe/Berlin", minutes=120)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-25T21:59:59", False),
        ("2026-11-25T22:00:00", True),
        ("2026-11-25T23:59:59", True),
        ("2026-11-26T00:00:00", False),
        ("2026-11-28T22:30:00", False),  # a Saturday
    ],
)
def test_a_window_is_open_from_its_time_on_for_its_duration(moment: str, is_open: bool) -> None:
    assert NIGHT.open_at(at(moment, "Europe/Berlin")) is is_open


def test_a_window_over_midnight_and_a_weekend() -> None:
    window = Window(cron="0 22 * * 5", time_zone="UTC", minutes=48 * 60)
    assert window.open_at(at("2026-11-29T12:00:00"))
    assert not window.open_at(at("2026-11-29T22:00:00"))


def test_the_message_names_the_next_opening() -> None:
    closed = closed_until([NIGHT], at("2026-11-28T12:00:00"))
    assert closed == "the next maintenance window opens at 2026-11-30 22:00 CET"
    assert closed_until([], 0.0) == ""
    assert closed_until([NIGHT, Window(cron="* * * * *")], at("2026-11-28T12:00:00")) == ""


def test_a_window_that_never_opens_is_closed() -> None:
    assert closed_until([Window(cron="bad")], 1.0) == "outside the maintenance windows, and none opens again"


@given(
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    st.integers(5, 600),
)
def test_it_is_open_right_from_each_opening_that_it_names(moment: datetime, zone: str, minutes: int) -> None:
    window = Window(cron="30 2 * * *", time_zone=zone, minutes=minutes)
    opening = window.next_opening(moment.replace(tzinfo=UTC).timestamp())
    assert opening is not None
    assert window.open_at(opening.timestamp())
    assert window.open_at((opening.astimezone(UTC) + timedelta(minutes=minutes)).timestamp() - 1)
    assert not window.open_at(opening.timestamp() - 1)


def pod(uid: str, shape: str, ready: bool = True) -> NodeSample:
    return NodeSample(uid=uid, name=uid, shape=shape, ready=ready)


def test_a_fleet_keeps_the_shape_that_serves_until_its_rollout_may_begin() -> None:
    old, new = SetView(name="o", shape="old", replicas=2), SetView(name="n", shape="new", replicas=0)
    pods = [pod("1", "old"), pod("2", "old")]
    assert shape_to_keep([old, new], pods, "new") == "old"
    assert shape_to_keep([old], pods, "new") == "old"
    assert shape_to_keep([old], pods, "old") is None


def test_a_rollout_that_has_begun_goes_on_and_a_fleet_that_serves_nobody_does_not_wait() -> None:
    old, new = SetView(name="o", shape="old", replicas=2), SetView(name="n", shape="new", replicas=1)
    assert shape_to_keep([old, new], [pod("1", "old")], "new") is None
    assert shape_to_keep([old], [pod("1", "old", ready=False)], "new") is None
    assert shape_to_keep([], [], "new") is None
