"""The simulated operator knows what an operator can know: figures of a round, fitted costs, no more."""

from __future__ import annotations

from dataclasses import replace

from wsfleet.scaling import DrainState, ScalingPolicy
from wsfleet.simulate.control import OperatorControl
from wsfleet.simulate.fleet import Fleet
from wsfleet.simulate.scraping import Scraper
from wsfleet.simulate.setup import NodeModel, Setup, Watching

CLEAR = Watching(missing_share=0.0, cpu_noise=0.0)


def fleet_of(nodes: int, clients: int, *, step_seconds: float = 1.0, **node: float) -> Fleet:
    policy = ScalingPolicy(max_connections=10_000, min_replicas=nodes, max_replicas=nodes)
    setup = Setup(watching=CLEAR, policy=policy, node=replace(NodeModel(), **node))  # type: ignore[arg-type]
    fleet = Fleet(setup, step_seconds, 1)
    fleet.start_with(nodes, clients, "first")
    return fleet


def test_the_fixed_part_of_cpu_is_what_the_nodes_counters_tell() -> None:
    fleet = fleet_of(6, 12_000, step_seconds=5.0, fixed_cpu_percent=20.0)
    control = OperatorControl("first", 6, 1)
    for step in range(1, 721):
        fleet.step(12_000 + 50 * step, 1.0)
        control.act(fleet)
        if step == 24:  # two minutes: nothing can be known
            assert control.costs.fixed_percent(1.8) == 0
    assert 10 <= control.costs.fixed_percent(1.8) <= 20.5


def test_a_third_that_is_silent_is_a_third() -> None:
    fleet = fleet_of(15, 60_000)
    scraper = Scraper(1)
    scraper.share_silent = 0.34
    fleet.step(60_000, 1.0)
    scraper.scrape(fleet)
    assert 4 <= 15 - len(scraper.fresh) <= 6
    scraper.share_silent = 1.0
    assert scraper.scrape(fleet) == 4.0  # as long as a round may take
    assert not scraper.fresh


def test_a_node_over_its_cpu_is_often_late_for_the_operator_and_never_for_the_kubelet() -> None:
    fleet = fleet_of(4, 40_000)
    missing = {True: 0, False: 0}
    scrapers = {starving: Scraper(1, starving=starving) for starving in missing}
    for _ in range(100):
        fleet.step(40_000, 2.2)  # 10,000 x 2.2 messages of 100 us are more than 1.8 vCPU
        for starving, scraper in scrapers.items():
            scraper.scrape(fleet)
            missing[starving] += 4 - len(scraper.fresh)
    assert missing[False] == 0
    assert 20 < missing[True] < 200


def test_a_shed_and_a_drain_are_known_once_the_node_has_told_of_them() -> None:
    fleet = fleet_of(3, 12_000)
    control = OperatorControl("first", 3, 1)
    fleet.step(12_000, 0.0)
    control.act(fleet)  # a round begins, and ends a second later
    shed, drained = fleet.pods[0], fleet.pods[1]
    fleet.shed(shed, 1_000, 100.0, "one")
    fleet.start_drain(drained, 100.0)
    assert not control.sample(fleet, shed).shedding
    assert control.sample(fleet, drained).drain is DrainState.NONE
    assert not control.sample(fleet, drained).ready  # that the API server tells
    for _ in range(3):
        fleet.step(12_000, 0.0)
        control.act(fleet)
    assert control.sample(fleet, shed).shedding
    assert control.sample(fleet, drained).drain is DrainState.DELAY


def test_a_node_that_does_not_answer_can_be_told_nothing() -> None:
    fleet = fleet_of(6, 12_000)
    control = OperatorControl("first", 6, 1)
    control.silence(1.0)
    control.new_shape(fleet, "second")
    for _ in range(40):
        fleet.step(12_000, 0.0)
        control.act(fleet)
    assert any(pod.marked_at is not None for pod in fleet.pods)
    assert {pod.drain for pod in fleet.pods} == {DrainState.NONE}


def test_a_drain_asked_for_twice_goes_on() -> None:
    fleet = fleet_of(2, 8_000)
    pod = fleet.pods[0]
    fleet.start_drain(pod, 100.0)
    since = pod.drain_since
    for _ in range(12):
        fleet.step(8_000, 0.0)
    fleet.start_drain(pod, 50.0)
    assert (pod.drain, pod.drain_since, pod.drain_rate) == (DrainState.CLOSING, since, 50.0)
    fleet.shed(pod, 0, 100.0, "late")  # refused: a drain is under way
    assert pod.shed_left == 0


def test_a_look_sees_the_figures_of_the_round_that_is_just_over() -> None:
    fleet = fleet_of(2, 8_000)
    control = OperatorControl("first", 2, 1)
    seen = []
    for _ in range(12):
        fleet.step(8_000, 0.0)
        control.act(fleet)
        seen.append(control.history.last_seen)
    # Rounds begin at 1, 6 and 11 s and take one second.
    looks = [float(one) - 1_800_000_000 for one in dict.fromkeys(seen) if one is not None]
    assert looks == [2.0, 7.0, 12.0]
    assert {one.connections_time for one in control.history.last_known.values()} == {1_800_000_011.0}
