"""The live view of `make up`: what it says of a fleet."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from tests.cluster.liveview import bar, line, picture, pod_state, view_of

FLEET: dict[str, Any] = {
    "spec": {"autoscaling": {"connections": {"targetPercent": 80}}},
    "status": {
        "phase": "Scaling",
        "readyReplicas": 1,
        "desiredReplicas": 2,
        "connections": 8100,
        "capacity": 10000,
        "cpuPercent": 31.4,
        "lastDecision": "1 -> 2 (connections)",
        "nodeSettings": {"values": {"WS_MAX_CONNECTIONS": "10000"}},
    },
}


def pod(name: str, ready: bool, **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": name, "labels": {"wsfleet.io/serving": "true"}, **metadata},
        "status": {"phase": "Running", "conditions": conditions},
    }


def test_a_line_says_how_the_fleet_stands() -> None:
    view = view_of(FLEET, [pod("odin-b", False), pod("odin-a", True)], "8100/8100 open\n")
    assert line(view) == (
        "Scaling: 1/2 nodes ready, 8,100 connections of 10,000, CPU 31 % | odin-a ready, odin-b not ready | "
        "clients: 8100/8100 open | 1 -> 2 (connections)"
    )


def test_a_fleet_without_status_yet_is_shown_too() -> None:
    view = view_of({"spec": {}}, [], "")
    assert line(view) == (
        "new: 0/0 nodes ready, 0 connections of 0, CPU - | no node yet | clients: not yet | none yet"
    )


def test_the_picture_marks_where_the_fleet_grows_and_who_gets_no_clients() -> None:
    leaving = pod("odin-b", True, labels={}, deletionTimestamp="2026-01-01T00:00:00Z")
    console = Console(width=120)
    with console.capture() as captured:
        console.print(picture("odin", view_of(FLEET, [pod("odin-a", True), leaving], "x")))
    text = captured.get()
    assert "8,100 of 10,000, grows above 8,000" in text
    assert "odin-b  leaving  (gets no new clients)" in text


def test_a_pod_without_conditions_is_starting() -> None:
    assert pod_state({"metadata": {"name": "a"}, "status": {"phase": "Pending"}}) == "starting"


def test_the_bar_fills_and_keeps_the_tick_ahead_of_it() -> None:
    assert bar(0, 0, 0) == "·" * 32
    assert bar(16, 32, 24) == "█" * 16 + "·" * 8 + "│" + "·" * 7
    assert bar(40, 32, 24) == "█" * 32
