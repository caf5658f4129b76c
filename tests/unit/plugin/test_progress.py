"""How far a replacement and a rebalance have come: a line and a verdict from what is seen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.seen_fleets import node_status, seen_pod
from wsfleet.kube.errors import UnavailableError
from wsfleet.plugin.errors import WaitedError
from wsfleet.plugin.nodes import Node, nodes_from
from wsfleet.plugin.progress import Progress, replacing, spreading
from wsfleet.plugin.waiting import wait_until_done
from wsfleet.scrape import parse_status

OLD = "odin-6f7d9c8b5d-aaaaa"


def nodes(*pods: tuple[dict[str, Any], Any]) -> tuple[Node, ...]:
    answers: Any = {pod["metadata"]["uid"]: parse_status(status, 0.0) for pod, status in pods if status}
    return nodes_from([pod for pod, _ in pods], answers, 0.0)


OLD_SERVES = (seen_pod("aaaaa"), node_status(100))
OLD_DRAINS = (seen_pod("aaaaa", serving=False, ready=False), node_status(60, "closing", 60))
OLD_ENDS = (seen_pod("aaaaa", terminating=True), None)
OTHER = (seen_pod("bbbbb"), node_status(100))
NEW_STARTS = (seen_pod("ccccc", phase="Pending", ready=False), None)
NEW_SERVES = (seen_pod("ccccc"), node_status(0))


@pytest.mark.parametrize(
    ("seen", "text", "done"),
    [
        ((OLD_SERVES, OTHER), f"{OLD}: serving; the operator has not begun yet", False),
        ((OLD_SERVES, OTHER, NEW_STARTS), f"{OLD} serves on; odin-6f7d9c8b5d-ccccc: starting", False),
        ((OLD_DRAINS, OTHER, NEW_SERVES), f"{OLD}: draining (60 left); 2 nodes ready beside it", False),
        ((OLD_ENDS, OTHER, NEW_SERVES), f"{OLD}: terminating; 2 nodes ready beside it", False),
        ((OTHER, NEW_STARTS), f"{OLD} is gone; 1 node ready of 2; odin-6f7d9c8b5d-ccccc: starting", False),
        ((OTHER,), f"{OLD} is gone; 1 node ready of 2; no new pod yet", False),
        ((OTHER, NEW_SERVES), f"{OLD} is gone; 2 nodes ready", True),
        ((), f"{OLD} is gone; 0 nodes ready of 2; no new pod yet", False),
    ],
)
def test_a_replacement_is_done_when_the_pod_is_gone_and_all_nodes_are_ready(
    seen: tuple[Any, ...], text: str, done: bool
) -> None:
    assert replacing(nodes(*seen), f"uid-{OLD}", OLD, 2) == Progress(text, done)


def test_a_pod_that_came_back_under_the_same_name_is_another() -> None:
    again = seen_pod("aaaaa")
    again["metadata"]["uid"] = "another"
    assert replacing(nodes((again, node_status())), f"uid-{OLD}", OLD, 1).done


@pytest.mark.parametrize(
    ("connections", "text", "done"),
    [
        ([900, 1100], "fullest node 1,100, mean 1,000 connections (+10 %)", True),
        ([800, 1200], "fullest node 1,200, mean 1,000 connections (+20 %)", False),
        ([5], "1 node to spread over: nothing to do", True),
        ([], "0 nodes to spread over: nothing to do", True),
        ([0, 0], "no connections", True),
        ([3, 4], "fullest node 4, mean 4 connections (+14 %)", True),
        ([3, 5], "fullest node 5, mean 4 connections (+25 %)", False),
        ([5, None], "1 node of 2 give no figures", False),
    ],
)
def test_a_rebalance_is_done_when_no_node_is_above_the_mean_by_the_tolerance(
    connections: list[int | None], text: str, done: bool
) -> None:
    pods = [
        (seen_pod(f"{number:05}"), None if count is None else node_status(count))
        for number, count in enumerate(connections)
    ]
    assert spreading(nodes(*pods), 10) == Progress(text, done)


def test_the_operators_word_for_a_rebalance_is_part_of_the_line() -> None:
    uneven = nodes((seen_pod("aaaaa"), node_status(900)), (seen_pod("bbbbb"), node_status(100)))
    assert spreading(uneven, 10, "Closing").text == "fullest node 900, mean 500 connections (+80 %); Closing"


def test_nodes_that_leave_do_not_count_for_the_spread() -> None:
    assert spreading(nodes(OLD_DRAINS, OTHER, (seen_pod("ccccc"), node_status(100))), 10).done


async def test_waiting_tells_each_new_line_once_and_survives_an_api_server_that_pauses() -> None:
    script: list[Progress | Exception] = [
        Progress("a"),
        Progress("a"),
        UnavailableError("GET /", 503, "no leader"),
        Progress("b", done=True),
        Progress("c"),
        Progress("b", done=True),
        Progress("b", done=True),
    ]
    told: list[str] = []

    async def look() -> Progress:
        step = script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    done = await wait_until_done(look, told.append, 60, steady_looks=2, look_seconds=0)
    assert done == Progress("b", done=True)
    assert told == ["a", "the API server does not answer: no leader", "b", "c", "b"]
    assert script == []


async def test_waiting_ends_with_where_it_stands() -> None:
    async def look() -> Progress:
        return Progress("1 node ready of 2")

    with pytest.raises(WaitedError) as late:
        await wait_until_done(look, lambda _: None, 0.01, look_seconds=0.02)
    assert str(late.value) == (
        "not done within 0.01 s, and what was asked stands: 1 node ready of 2; "
        "kubectl wsfleet status shows how it goes on"
    )
    assert late.value.exit_code == 6
