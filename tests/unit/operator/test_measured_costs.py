"""A fleet's measured costs on their way: nodes' answers, the estimate, the status, the size in force."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.support.fleets import fleet_document
from tests.unit.costs.scenes import CountingNode
from wsfleet.api import WsFleetStatus
from wsfleet.reconcile.context import COSTS, FleetState
from wsfleet.reconcile.costs import costs_in_force, costs_told, watch_costs
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.prepare import Prepared, fingerprint, prepare
from wsfleet.scaling import NodeSample
from wsfleet.scrape.figures import parse_status

IMAGE = "registry.example/wsnode:1"
NOW = 1_800_000_000.0
DAY = 86_400.0


class Fleet:
    """A fleet that is looked at, with as much of a look as its costs go through."""

    def __init__(self, nodes: int = 2, **spec: Any) -> None:
        self.document: dict[str, Any] = fleet_document(**spec)
        self.state = FleetState.of(self.document)
        self.nodes = [CountingNode(f"n{at}", readers=2) for at in range(nodes)]
        self.now = NOW
        self.settings_seen: list[int] = []
        self.shapes: set[str] = set()

    def prepared(self) -> Prepared:
        costs = costs_in_force(self.document, self.state.costs_applied)
        self.state.prepared_for = fingerprint(self.document, IMAGE, costs)
        found = prepare(self.document, IMAGE, "", frozenset(), costs=costs)
        assert isinstance(found, Prepared)
        self.shapes.add(found.shape)
        return found

    def look(self) -> dict[str, Any]:
        """One look; what the status says of costs then."""
        prepared = self.prepared()
        answers = {node.uid: parse_status(answer(node), node.taken) for node in self.nodes}
        pods = tuple(NodeSample(uid=uid, name=uid, shape="s", ready=True) for uid in answers)
        seen = Observed(now=self.now, sets=(), pods=pods, raw_pods={}, figures=answers, targets={})
        watch_costs(self.state, prepared, seen)
        told = costs_told(self.state, prepared)
        self.document["status"] = json.loads(
            json.dumps({"costs": dict(told.shown), "memory": {COSTS: dict(told.kept)}}, allow_nan=False)
        )
        self.settings_seen.append(prepared.build.settings.max_connections)
        return dict(told.shown)

    def serve(self, minutes: int, seed: int = 1) -> dict[str, Any]:
        """A time of varied load, looked at each minute."""
        dice, told = random.Random(seed), {}
        for _ in range(minutes):
            told = self.look()
            self.now += 60
            published = dice.uniform(5, 200)
            for node in self.nodes:
                node.run(60, dice.uniform(500, 8000), published)
        return told

    def restart(self) -> None:
        """A new operator, which knows what the status says."""
        self.state = FleetState.of(self.document, self.now)


def answer(node: CountingNode) -> dict[str, Any]:
    """The node's GET /status."""
    return {
        "uptime_seconds": node.uptime,
        "ready": True,
        "connections": {"current": node.connections},
        "feed": {"connected": True, "paused": False},
        "drain": {"state": "none"},
        "costs": {
            "cpu_seconds_total": node.cpu,
            "deliveries_total": node.out,
            "replayed_total": node.replayed,
            "messages_in_total": node.read,
            "feed_readers": node.readers,
            "memory_bytes_per_connection": 1200,
            "memory_over_connections": 4000,
        },
    }


def test_the_status_shows_measured_costs_beside_the_seeds_and_changes_nothing() -> None:
    fleet = Fleet(load={"users": 40_000})
    first = fleet.look()
    assert first["source"] == "Seed"
    assert "too little has been measured" in first["message"]
    assert "bySeed" in first
    assert "byMeasured" not in first
    told = fleet.serve(60)
    assert (told["source"], told["sure"]) == ("Seed", True)
    assert told["measured"]["cpuMicrosecondsPerMessage"] == pytest.approx(12, rel=0.03)
    assert told["measured"]["memoryPerConnection"] == 1200
    # Two processes take each message in.
    both = told["measured"]["cpuMicrosecondsPerPublished"] * 100 + told["measured"]["cpuMicrosecondsIdle"]
    assert both == pytest.approx(2 * 40 * 100 + 3000, rel=0.05)
    assert told["bySeed"] == {"connections": 10_000, "nodes": 8, "monthlyCost": 97.84}
    assert told["byMeasured"]["connections"] > 70_000
    assert told["saving"] == pytest.approx(85.61)
    assert told["fixedCpuPercent"] > 0
    assert "inForce" not in told
    assert set(fleet.settings_seen) == {10_000}
    status = WsFleetStatus.model_validate({"costs": told})
    assert status.costs is not None
    assert set(told) <= {field.alias for field in type(status.costs).model_fields.values()}


def test_measured_costs_are_the_seeds_until_enough_is_known_and_a_note_says_so() -> None:
    fleet = Fleet(sizing={"costs": "Measured"})
    told = fleet.serve(5)
    assert told["source"] == "Seed"
    assert "the seed's costs are used until then" in told["message"]
    notes = fleet.prepared().facts["nodeSettings"]["notes"]
    assert any("the seed's are used until enough is measured" in note for note in notes)
    assert set(fleet.settings_seen) == {10_000}


def test_measured_costs_are_applied_a_fifth_a_day_and_roll_nothing() -> None:
    fleet = Fleet(sizing={"costs": "Measured"})
    fleet.serve(60)
    told = fleet.look()
    assert told["source"] == "Measured"
    assert told["inForce"]["cpuMicrosecondsPerMessage"] == pytest.approx(83.3, abs=0.1)
    assert "movedAt" in told
    assert fleet.settings_seen[-1] == 11_500
    fleet.serve(30, seed=2)
    assert fleet.settings_seen[-1] == 11_500, "a day has not passed"
    assert all(
        "until enough is measured" not in note for note in fleet.prepared().facts["nodeSettings"]["notes"]
    )
    fleet.now += DAY
    fleet.serve(3, seed=3)
    assert fleet.settings_seen[-1] == 14_000
    assert fleet.shapes == {fleet.prepared().shape}, "a live setting rolls nothing"


def test_a_restart_neither_forgets_nor_hurries() -> None:
    fleet = Fleet(sizing={"costs": "Measured"})
    fleet.serve(60)
    before = fleet.look()["inForce"]
    for _ in range(5):
        fleet.restart()
        fleet.serve(10, seed=4)
        assert fleet.look()["inForce"] == before
    assert fleet.settings_seen[-1] == 11_500
    fleet.now += DAY
    fleet.restart()
    fleet.serve(3, seed=5)
    assert fleet.settings_seen[-1] == 14_000


def test_who_turns_measured_costs_off_and_on_gets_the_seeds_and_no_second_step_a_day() -> None:
    fleet = Fleet(sizing={"costs": "Measured"})
    fleet.serve(60)
    fleet.document["spec"]["sizing"] = {"costs": "Seed"}
    assert fleet.look()["source"] == "Seed"
    assert fleet.settings_seen[-1] == 10_000
    fleet.restart()
    fleet.document["spec"]["sizing"] = {"costs": "Measured"}
    fleet.serve(20, seed=6)
    assert fleet.settings_seen[-1] == 10_000
    fleet.now += DAY
    fleet.serve(3, seed=7)
    assert fleet.settings_seen[-1] == 11_500


def test_what_is_shown_does_not_change_from_look_to_look() -> None:
    fleet = Fleet()
    fleet.serve(60)
    first = fleet.look()
    for _ in range(3):
        fleet.now += 5
        for node in fleet.nodes:
            node.run(5, 1000, 10)
        assert fleet.look() == first
