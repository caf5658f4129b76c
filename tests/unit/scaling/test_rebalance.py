"""Rebalance: within the budget, with hardly a close more than needed, and then quiet."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scaling.rebalance_model import Fleet, Node
from wsfleet.scaling import Phase, RebalanceMemory, RebalancePhase, RebalancePolicy, rebalance
from wsfleet.scaling.balance_view import most_in_order


def least_closes(connections: list[int], tolerance: float = 0.10) -> int:
    mean = sum(connections) / len(connections)
    limit = max(math.ceil(mean), math.floor(mean * (1 + tolerance)))
    return sum(max(0, one - limit) for one in connections)


def test_a_second_empty_node_gets_its_share_with_the_least_closes_and_then_all_is_quiet() -> None:
    fleet = Fleet.of([8000, 0], seed=1)
    fleet.run(400)
    assert fleet.spread <= 1.1
    assert fleet.closes == 8000 - 4400
    assert fleet.memory.phase in (RebalancePhase.EASING, RebalancePhase.IDLE)
    fleet.run(1200)
    assert fleet.closes == 3600
    assert fleet.memory.phase is RebalancePhase.IDLE


@st.composite
def starts(draw: st.DrawFn) -> list[int]:
    number = draw(st.integers(2, 50))
    kind = draw(st.sampled_from(["any", "new", "lost", "one"]))
    chance = random.Random(draw(st.integers(0, 2**32)))
    if kind == "any":
        return [chance.randint(0, 9000) for _ in range(number)]
    if kind == "new":
        new = chance.randint(1, number - 1)
        return [chance.randint(7500, 8000) for _ in range(number - new)] + [0] * new
    if kind == "lost":
        return [chance.randint(4000, 6000) for _ in range(number - 1)] + [0]
    return [chance.randint(900, 1100) for _ in range(number - 1)] + [9000]


@given(starts(), st.integers(0, 2**32), st.sampled_from([100.0, 333.0, 2000.0]))
@settings(max_examples=25, deadline=None)
def test_converges_with_at_most_a_tenth_more_closes_than_needed(
    connections: list[int], seed: int, budget: float
) -> None:
    fleet = Fleet.of(connections, seed, budget)
    least = least_closes(connections)
    fleet.run(300)
    for _ in range(100):
        if fleet.memory.phase in (RebalancePhase.IDLE, RebalancePhase.EASING) and not fleet.away:
            break
        fleet.run(60)
    mean = sum(connections) / len(connections)
    limit = max(math.ceil(mean), math.floor(mean * 1.1))
    assert max(n.connections for n in fleet.nodes) <= limit or max(connections) - mean < 500
    assert fleet.closes <= 1.1 * least
    assert fleet.most_closes_a_second <= budget * 1.05 + len(connections)
    before = fleet.closes
    fleet.run(600)
    assert fleet.closes == before


@given(st.integers(2, 20), st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_clients_that_come_and_go_set_off_no_endless_closing(number: int, seed: int) -> None:
    connections = [8000] * (number - 1) + [0]
    fleet = Fleet.of(connections, seed)
    share = 1 / 1800
    fleet.run(1800, arrivals=int(sum(connections) * share), share_leaving=share)
    assert fleet.closes <= 1.2 * least_closes(connections) + 100
    assert fleet.spread <= 1.15
    before = fleet.closes
    fleet.run(600, arrivals=int(sum(connections) * share), share_leaving=share)
    assert fleet.closes - before <= 0.02 * sum(connections)


def test_small_differences_are_left_to_steering() -> None:
    fleet = Fleet.of([900, 500], seed=1)
    fleet.run(600)
    assert fleet.closes == 0


def test_on_demand_small_fleets_are_evened_out_too_once() -> None:
    fleet = Fleet.of([90, 50], seed=1, enabled=False, requested="2026-01-01T00:00:00Z")
    fleet.run(120)
    assert fleet.closes == 13
    assert [n.connections for n in fleet.nodes] == [77, 63]
    assert fleet.memory.done == "2026-01-01T00:00:00Z"
    fleet.nodes[0].connections = 900
    fleet.run(300)
    assert fleet.closes == 13


def test_disabled_nothing_is_closed() -> None:
    fleet = Fleet.of([9000, 0], seed=1, enabled=False)
    fleet.run(600)
    assert fleet.closes == 0
    assert fleet.memory.phase is RebalancePhase.IDLE


def test_rejections_stop_it_at_once_and_for_a_while() -> None:
    fleet = Fleet.of([8000, 0], seed=1)
    while not fleet.closes:
        fleet.run(5)
    fleet.nodes[1].rejections += 10
    fleet.look()
    stopped = fleet.closes
    assert fleet.memory.phase is RebalancePhase.HELD
    fleet.run(100)
    assert fleet.closes == stopped
    fleet.run(600)
    assert fleet.closes > stopped
    assert fleet.spread <= 1.1


def test_single_rejections_stop_nothing_and_many_within_a_minute_do() -> None:
    fleet = Fleet.of([30_000, 0], seed=1)
    fleet.nodes[0].rejections = 5000  # of the node's whole life
    while not fleet.closes:
        fleet.run(5)
    for _ in range(6):
        fleet.nodes[1].rejections += 1
        fleet.run(12)  # 5 a minute
        assert fleet.memory.phase is not RebalancePhase.HELD
    for _ in range(4):
        fleet.nodes[1].rejections += 3
        fleet.run(5)
    assert fleet.memory.phase is RebalancePhase.HELD


def test_a_node_that_comes_back_or_starts_afresh_has_turned_nobody_away() -> None:
    fleet = Fleet.of([8000, 8000, 0], seed=1)
    fleet.nodes[0].rejections = 5000
    while not fleet.closes:
        fleet.run(5)
    fleet.nodes[0].rejections = 0
    fleet.look()
    fleet.nodes.append(Node("back", 3000, rejections=700))
    fleet.run(10)
    assert fleet.memory.phase is not RebalancePhase.HELD


def test_no_run_begins_while_a_node_is_about_to_go_unless_it_was_asked_for_or_takes_too_long() -> None:
    def phase(seconds: int, requested: str = "") -> RebalancePhase:
        fleet = Fleet.of([4000, 100], seed=1, requested=requested)
        fleet.soon = "a node is about to go"
        fleet.run(seconds)
        return fleet.memory.phase

    assert phase(590) is RebalancePhase.STEERING
    assert phase(620) is not RebalancePhase.STEERING
    assert phase(10, requested="now") is not RebalancePhase.STEERING


def test_a_run_under_way_is_not_ended_by_a_node_that_is_about_to_go() -> None:
    fleet = Fleet.of([8000, 0], seed=1)
    while not fleet.closes:
        fleet.run(5)
    fleet.soon = "a node is about to go"
    fleet.run(300)
    assert fleet.spread <= 1.1


@pytest.mark.parametrize("mean", [1, 3, 30, 100, 1000, 99_999])
def test_what_is_in_order_is_exact(mean: int) -> None:
    for percent in range(1, 100):
        expected = max(mean, mean * (100 + percent) // 100)
        assert most_in_order(float(mean), percent / 100) == expected


@pytest.mark.parametrize("state", ["busy", "missing", "starting"])
def test_it_stops_at_once_in_a_rollout_without_figures_and_while_a_node_starts(state: str) -> None:
    fleet = Fleet.of([8000, 0], seed=1)
    while not fleet.closes:
        fleet.run(5)
    before = fleet.closes
    for _ in range(30):
        if state == "busy":
            fleet.busy = "a rollout"
            fleet.look()
        else:
            fleet.look(**({"sample_age_seconds": 60.0} if state == "missing" else {"ready": False}))
        fleet.second()
    assert fleet.memory.phase is RebalancePhase.IDLE
    # A node that can't be asked ends its round by itself; the others are told to stop.
    assert fleet.closes == before if state == "busy" else fleet.closes - before <= 100 * 30


@given(starts(), st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_a_restarted_operator_goes_on_from_the_status(connections: list[int], seed: int) -> None:
    fleet, chance = Fleet.of(connections, seed, 500.0), random.Random(seed)
    for _ in range(60):
        fleet.run(chance.randint(1, 40))
        if chance.random() < 0.3:
            fleet.memory = RebalanceMemory.from_status(json.loads(json.dumps(fleet.memory.to_status())))
            for node in fleet.nodes:
                node.serving, node.label_at = True, fleet.now  # a takeover gives all labels back
    fleet.run(1800)
    assert fleet.spread <= 1.1 + len(connections) / sum(connections) or max(connections) < 500 + sum(
        connections
    ) / len(connections)
    assert fleet.most_closes_a_second <= 500 * 1.05 + len(connections)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda one: st.lists(one)))
def test_any_memory_is_read(value: object) -> None:
    broken = dict.fromkeys(RebalanceMemory().__dataclass_fields__, value)
    assert isinstance(RebalanceMemory.from_status(broken), RebalanceMemory)
    assert RebalanceMemory.from_status(value) == RebalanceMemory()


def test_a_pod_that_has_not_come_up_for_long_does_not_hold_it() -> None:
    fleet = Fleet.of([8000, 0], seed=1)
    broken = replace(fleet.nodes[0].sample(), uid="broken", ready=False, unready_seconds=601.0)
    samples = [node.sample() for node in fleet.nodes]
    policy, memory = RebalancePolicy(requested="now"), RebalanceMemory()
    assert rebalance(policy, [*samples, broken], memory, 1e6, 100.0)[1].phase is RebalancePhase.LABELS
    starting = replace(broken, unready_seconds=20.0)
    found, memory = rebalance(policy, [*samples, starting], memory, 1e6, 100.0)
    assert "is not ready yet" in found.note
    assert memory.phase is RebalancePhase.IDLE


@pytest.mark.parametrize("state", ["marked", "leaving"])
def test_nobody_is_closed_while_another_node_lets_its_clients_go(state: str) -> None:
    fleet = Fleet.of([8000, 0, 100], seed=1)
    samples = [node.sample() for node in fleet.nodes]
    third = (
        replace(samples[2], marked_seconds=1.0)
        if state == "marked"
        else replace(samples[2], phase=Phase.TERMINATING, terminating_seconds=5.0)
    )
    policy = RebalancePolicy(requested="now")
    found, memory = rebalance(policy, [*samples[:2], third], RebalanceMemory(), 1e6, 100.0)
    assert found.note == "not rebalanced: n002 is being emptied"
    assert memory.phase is RebalancePhase.IDLE


def test_the_same_look_asks_for_the_same_ids() -> None:
    fleet = Fleet.of([8000, 0], seed=1)
    while fleet.memory.phase is not RebalancePhase.LABELS:
        fleet.run(5)
    fleet.run(5)
    samples = [node.sample() for node in fleet.nodes]
    memory = replace(fleet.memory, phase=RebalancePhase.LABELS, since=fleet.now - 10.0)
    policy = RebalancePolicy()
    first, _ = rebalance(policy, samples, memory, fleet.now, 100.0)
    again, _ = rebalance(policy, samples, memory, fleet.now, 100.0)
    assert first.sheds == again.sheds != ()
    assert sum(one.rate for one in first.sheds) <= 100.0
