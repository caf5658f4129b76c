"""The model's own rules: no client is lost or made, the same seed is the same run, Kubernetes' order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsfleet.scaling import DrainState
from wsfleet.simulate.fleet import Fleet
from wsfleet.simulate.oracle import oracle_nodes
from wsfleet.simulate.pods import Pod, to_remove
from wsfleet.simulate.setup import Setup, default_spec, setup_from_spec
from wsfleet.simulate.traffic import Point


def fleet_of(
    nodes: int, clients: int, seed: int = 1, at_once: bool = False, setup: Setup | None = None
) -> Fleet:
    fleet = Fleet(setup or Setup(), 1.0, seed, at_once)
    fleet.start_with(nodes, clients, "a")
    return fleet


def balance(fleet: Fleet) -> int:
    return fleet.totals.arrived - fleet.totals.left


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(
            st.sampled_from(["drain", "cancel", "shed", "lose", "cut", "grow", "shrink", "way"]),
            st.integers(0, 40_000),
            st.integers(1, 40),
        ),
        max_size=15,
    ),
)
def test_every_client_is_connected_or_waiting_at_every_step(
    seed: int, events: list[tuple[str, int, int]]
) -> None:
    fleet = fleet_of(3, 20_000, seed)
    for number, (event, wanted, steps) in enumerate(events):
        pod = fleet.pods[wanted % len(fleet.pods)]
        if event == "drain":
            fleet.start_drain(pod, 500.0)
        elif event == "cancel":
            fleet.cancel_drain(pod)
        elif event == "shed":
            fleet.shed(pod, wanted // 8, 200.0, f"shed-{number}")
        elif event == "lose":
            fleet.lose(0.3)
        elif event == "cut":
            fleet.cut(wanted)
        elif event == "way":
            fleet.way_cut = not fleet.way_cut
        else:
            one = fleet.sets[0]
            one.resize(max(1, one.replicas + (1 if event == "grow" else -1)))
        for _ in range(steps):
            fleet.step(wanted, 1.0)
            assert fleet.clients == balance(fleet)
            assert fleet.connections.min() >= 0
            assert fleet.connections.max() <= fleet.setup.node.max_connections
            assert fleet.waiting.total >= 0
            assert [pod.slot for pod in fleet.pods] == list(range(len(fleet.connections)))
        assert fleet.clients == wanted


def test_the_same_seed_gives_the_same_figures() -> None:
    def figures(seed: int) -> list[int]:
        fleet = fleet_of(4, 30_000, seed)
        fleet.start_drain(fleet.pods[0], 100.0)
        for _ in range(120):
            fleet.step(35_000, 1.0)
        return [*fleet.connections.tolist(), fleet.totals.closed]

    assert figures(7) == figures(7)
    assert figures(7) != figures(8)


def test_a_full_node_turns_clients_away_and_they_come_again() -> None:
    fleet = fleet_of(1, 9_990)
    fleet.step(10_500, 1.0)
    fleet.step(10_500, 1.0)
    assert fleet.connections.tolist() == [10_000]
    assert fleet.totals.full >= 400
    assert fleet.waiting.total == 500


def test_a_node_above_its_cpu_threshold_turns_clients_away_and_pauses() -> None:
    fleet, rejected = fleet_of(1, 9_000), 0
    for _ in range(30):
        fleet.step(9_000, 1.6)  # 3 + 9000 x 1.6 x 100 us of 1.8 vCPU are 83 %
        rejected += bool(fleet.rejecting[0])
    assert 10 < rejected < 30, "a pause ends it for a moment"
    assert fleet.totals.paused_seconds > 0
    before = fleet.totals.cpu
    for _ in range(10):
        fleet.step(9_500, 1.6)
    assert fleet.totals.cpu > before


def test_a_drain_accepts_for_its_delay_then_closes_at_its_rate() -> None:
    fleet = fleet_of(2, 8_000)
    pod = fleet.pods[0]
    fleet.start_drain(pod, 100.0)
    assert not pod.ready
    for _ in range(9):
        fleet.step(8_000, 0.0)
    assert (pod.drain, fleet.totals.closed) == (DrainState.DELAY, 0)
    for _ in range(10):
        fleet.step(8_000, 0.0)
    assert 900 <= fleet.totals.closed <= 1100
    for _ in range(40):
        fleet.step(8_000, 0.0)
    assert (pod.drain, int(fleet.connections[pod.slot])) == (DrainState.DRAINED, 0)


def test_a_shed_goes_down_to_its_target_and_no_further() -> None:
    fleet = fleet_of(2, 8_000)
    pod = fleet.pods[0]
    pod.serving, fleet.changed = False, True
    fleet.shed(pod, 3_000, 200.0, "one")
    fleet.shed(pod, 0, 200.0, "one")  # the same name again changes nothing
    for _ in range(30):
        fleet.step(8_000, 0.0)
    assert 2_900 <= int(fleet.connections[pod.slot]) <= 3_000


def test_new_clients_go_only_to_pods_that_are_ready_and_have_the_label() -> None:
    fleet = fleet_of(3, 3_000)
    fleet.pods[1].serving, fleet.changed = False, True
    before = int(fleet.connections[1])
    for _ in range(20):
        fleet.step(12_000, 0.0)
    assert int(fleet.connections[1]) <= before
    assert int(fleet.connections[0]) > 3_000


def test_the_order_in_which_a_replicaset_removes_pods() -> None:
    def pod(uid: str, **more: object) -> Pod:
        made = Pod(uid=uid, number=1, shape="a", created=0.0, runs_at=0.0, ready_at=0.0)
        made.running = made.ready = True
        for name, value in more.items():
            setattr(made, name, value)
        return made

    old, young = pod("b"), pod("a", created=9_000.0, ready_changed=9_040.0)
    marked, unready = pod("c", marked_at=9_500.0), pod("d", ready=False)
    pending = pod("e", ready=False, running=False)
    order = to_remove([old, young, marked, unready, pending], 5, 10_000.0)
    assert [one.uid for one in order] == ["e", "d", "c", "a", "b"]
    # Pods ready for as long in powers of two go by their uid: chance.
    assert to_remove([pod("z"), pod("y", created=1.0, ready_changed=1.0)], 1, 10_000.0)[0].uid == "y"


def test_sigterm_closes_all_at_once_or_drains() -> None:
    for at_once in (True, False):
        fleet = fleet_of(2, 8_000, at_once=at_once)
        fleet.sets[0].resize(1)
        fleet.step(8_000, 0.0)
        assert (fleet.totals.closed > 3_500) is at_once


@pytest.mark.parametrize(("start", "expected"), [(0.0, [1, 1, 1, 3, 1]), (40.0, [1, 3, 3, 3, 1])])
def test_the_oracle_starts_a_node_as_early_as_it_takes_to_be_ready(start: float, expected: list[int]) -> None:
    setup = Setup()
    setup = replace(setup, node=replace(setup.node, start_seconds=start))
    points = [Point(0, 8_000, 0), Point(20, 1, 0), Point(40, 0, 0), Point(60, 16_001, 0), Point(80, 10, 0)]
    assert oracle_nodes(setup, points, 20.0) == expected


def test_a_setup_has_the_plans_settings() -> None:
    setup = setup_from_spec(default_spec(), start_seconds=12.0)
    assert (setup.node.max_connections, setup.node.cpus, setup.node.start_seconds) == (10_000, 1.8, 12.0)
    assert (setup.node.reject_percent, setup.node.pause_percent) == (75.0, 80.0)
    assert setup.policy.min_replicas == 2
    assert round(setup.node.price_usd_per_hour * 730, 2) == 12.23
