"""What a look may do now: windows and turns of rollouts, sheds, and the budget of evictions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from tests.support.fleets import fleet_document
from wsfleet.kube.events import EventRecorder
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.objects import budget_now
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.pacing import (
    count_rollout,
    even_out,
    pace,
    restarted_before,
    rolling_fleets,
    shape_now,
    shape_that_runs,
)
from wsfleet.reconcile.prepare import Prepared, prepare
from wsfleet.reconcile.steps import Actor
from wsfleet.scaling import (
    Decision,
    Hold,
    HoldKind,
    Idle,
    NodeSample,
    RebalanceMemory,
    RebalancePhase,
    SetView,
    Shed,
    Stalled,
    Step,
    Trigger,
    World,
)
from wsfleet.scrape import DirectTransport, NodeAdmin, Target

KEY = ("games", "odin")
NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC).timestamp()
NIGHTS = {"maintenanceWindows": [{"cron": "0 22 * * *", "timeZone": "Europe/Berlin", "durationMinutes": 120}]}


def prepared(annotations: dict[str, str] | None = None, **spec: Any) -> Prepared:
    document = fleet_document(**spec)
    document["metadata"]["annotations"] = annotations or {}
    found = prepare(document, "r.example/n:1", "", frozenset())
    assert isinstance(found, Prepared)
    return found


def pod(uid: str, shape: str, connections: int = 100) -> NodeSample:
    return NodeSample(
        uid=uid,
        name=uid,
        shape=shape,
        ready=True,
        connections=connections,
        cpu_percent=1.0,
        sample_age_seconds=0.0,
        max_connections=10_000,
    )


def seen(*pods: NodeSample, now: float = NOON, **replicas: int) -> Observed:
    sets = tuple(SetView(name=shape, shape=shape, replicas=many) for shape, many in replicas.items())
    return Observed(now=now, sets=sets, pods=pods, raw_pods={}, figures={}, targets={})


def context(at_once: int = 2, *rolling: tuple[str, str]) -> Context:
    options = SimpleNamespace(rollouts_at_once=at_once)
    return cast(Context, SimpleNamespace(options=options, rolling=set(rolling)))


def test_a_new_shape_waits_for_its_window_and_says_until_when() -> None:
    fleet, look = prepared(rollout=NIGHTS), seen(pod("a", "old"), old=1)
    assert shape_now(context(), KEY, fleet, look) == (
        "old",
        "a new shape of the nodes waits: the next maintenance window opens at 2026-11-28 22:00 CET",
    )
    night = seen(pod("a", "old"), now=NOON + 10 * 3600, old=1)
    assert shape_now(context(), KEY, fleet, night) == (fleet.shape, "")
    begun = seen(pod("a", "old"), **{"old": 1, fleet.shape: 1})
    assert shape_now(context(), KEY, fleet, begun) == (fleet.shape, "")


def test_a_fleet_waits_its_turn_and_does_not_wait_for_itself() -> None:
    fleet, look = prepared(), seen(pod("a", "old"), old=1)
    assert shape_now(context(2, ("x", "1"), KEY), KEY, fleet, look) == (fleet.shape, "")
    waits = "a new shape of the nodes waits: 2 other fleets are being rolled"
    assert shape_now(context(2, ("x", "1"), ("x", "2")), KEY, fleet, look) == ("old", waits)


def test_a_rollout_that_stands_still_or_is_done_gives_its_turn_away() -> None:
    fleet = prepared()
    rolls, done = seen(**{"old": 1, fleet.shape: 1}), seen(**{"old": 0, fleet.shape: 2})
    around = context()
    for look, step, counted in (
        (rolls, Idle(), True),
        (rolls, Stalled(reason="bad"), False),
        (rolls, Idle(), True),
        (done, Idle(), False),
    ):
        world = World.of(look.sets, look.pods, fleet.shape, 2)
        count_rollout(around, KEY, fleet, world, step)
        assert (KEY in around.rolling) is counted
    kept = World.of(rolls.sets, rolls.pods, "old", 2)
    count_rollout(around, KEY, fleet, kept, Idle())
    assert around.rolling == set()


def test_a_small_full_fleet_goes_one_by_one_and_a_large_empty_one_in_waves() -> None:
    fleet = prepared()
    assert pace(fleet, seen(pod("a", "x", 8000), pod("b", "x", 8000)), 2).at_once == 1
    assert pace(fleet, seen(*(pod(str(n), "x", 100) for n in range(40))), 40).at_once == 10


def test_evening_out_waits_for_rollouts_resizes_and_pauses_but_not_where_it_was_asked_for() -> None:
    fleet = prepared()
    nodes = (pod("a", fleet.shape, 9000), pod("b", fleet.shape, 0))

    def phase(fleet: Prepared, desired: int, step: Step, **replicas: int) -> RebalancePhase:
        look = seen(*nodes, **replicas)
        world = World.of(look.sets, look.pods, fleet.shape, desired)
        return even_out(fleet, look, RebalanceMemory(), world, step)[1].phase

    right = {fleet.shape: 2}
    assert phase(fleet, 2, Idle(), **right) is RebalancePhase.STEERING
    assert phase(fleet, 2, Stalled(reason="a pod that no machine takes"), **right) is RebalancePhase.STEERING
    assert phase(fleet, 3, Idle(), **right) is RebalancePhase.IDLE
    assert phase(fleet, 2, Idle(), **right, old=1) is RebalancePhase.IDLE
    paused = prepared({"wsfleet.io/paused": "true"})
    assert phase(paused, 2, Idle(), **right) is RebalancePhase.IDLE
    asked = prepared({"wsfleet.io/paused": "true", "wsfleet.io/rebalance": "2026-01-01T00:00:00Z"})
    assert phase(asked, 2, Idle(), **right) is RebalancePhase.LABELS


def decision(current: int, wish: int, *holds: HoldKind) -> Decision:
    return Decision(
        time=NOON,
        current=current,
        desired=current,
        recommended=current,
        wish=wish,
        trigger=Trigger.STEADY,
        holds=tuple(Hold(kind, "…") for kind in holds),
        figures={"minReplicas": 2, "maxReplicas": 9},
    )


@pytest.mark.parametrize(
    ("told", "soon"),
    [
        (decision(3, 2, HoldKind.STABILIZATION), True),
        (decision(3, 2, HoldKind.NOT_OBSERVED), True),
        (decision(3, 3), False),
        (decision(2, 1, HoldKind.STABILIZATION), False),
        (decision(3, 2, HoldKind.STABILIZATION, HoldKind.OUTAGE), False),
        (decision(3, 2, HoldKind.HEADROOM), False),
        (decision(3, 2, HoldKind.PAUSED), False),
    ],
)
def test_nobody_is_moved_to_nodes_one_of_which_is_about_to_go(told: Decision, soon: bool) -> None:
    assert told.shrinks_soon is soon
    fleet = prepared(autoscaling={"minReplicas": 2, "maxReplicas": 9})
    nodes = (pod("a", fleet.shape, 9000), pod("b", fleet.shape, 0), pod("c", fleet.shape, 0))
    look = seen(*nodes, **{fleet.shape: 3})
    world = World.of(look.sets, look.pods, fleet.shape, 3)
    steered = RebalanceMemory(phase=RebalancePhase.STEERING, since=NOON - 40, first=NOON - 40, excess=1)
    phase = even_out(fleet, look, steered, world, Idle(), told)[1].phase
    assert phase is (RebalancePhase.STEERING if soon else RebalancePhase.LABELS)


def test_a_fleet_with_pods_of_two_shapes_is_being_rolled() -> None:
    def replicaset(fleet: str, replicas: int, kind: str = "WsFleet") -> dict[str, Any]:
        owner = {"kind": kind, "name": fleet, "uid": "u", "controller": True}
        labels = {"wsfleet.io/fleet": fleet}
        metadata = {"namespace": "games", "name": "x", "labels": labels, "ownerReferences": [owner]}
        return {"metadata": metadata, "spec": {"replicas": replicas}}

    sets = [replicaset("odin", 1), replicaset("odin", 2), replicaset("thor", 3), replicaset("thor", 0)]
    sets += [replicaset("loki", 1, "Deployment"), replicaset("loki", 1, "Deployment")]
    assert rolling_fleets(sets) == {("games", "odin")}


def test_the_shape_that_runs_is_that_of_most_pods() -> None:
    sets = [SetView(name=name, shape=name, replicas=many) for name, many in (("a", 1), ("b", 3), ("c", 0))]
    assert shape_that_runs(sets) == "b"
    assert shape_that_runs(sets[2:]) == shape_that_runs([]) == ""


@pytest.mark.parametrize(
    ("evictions", "leaving", "most"), [("Paced", 0, 1), ("Paced", 1, 0), ("Never", 0, 0)]
)
def test_paced_evictions_wait_until_the_pod_before_is_gone(evictions: str, leaving: int, most: int) -> None:
    fleet = prepared(disruption={"evictions": evictions})
    pods: list[dict[str, Any]] = [{"metadata": {}}]
    pods += [{"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}] * leaving
    around = cast(Context, SimpleNamespace(cache=SimpleNamespace(pods=lambda key: pods)))
    assert budget_now(around, fleet)["spec"]["maxUnavailable"] == most


class Node:
    """An admin port that takes or refuses a shed."""

    def __init__(self) -> None:
        self.status, self.heard, self.port = 200, [], 0  # type: ignore[var-annotated]

    async def shed(self, request: web.Request) -> web.Response:
        self.heard.append((await request.json(), request.headers["X-Wsfleet-Term"]))
        return web.json_response({"error": "a drain is under way"}, status=self.status)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    app = web.Application()
    app.router.add_put("/shed", node.shed)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node.port = runner.addresses[0][1]
    yield node
    await runner.cleanup()


async def test_sheds_are_sent_with_the_term_and_a_refusal_is_told_and_stops_nothing(node: Node) -> None:
    told: list[str] = []
    events = SimpleNamespace(warning=lambda fleet, reason, action, text: told.append(text))
    admin = NodeAdmin(DirectTransport(node.port), timeout=1.0, term=lambda: 7)
    around = cast(Context, SimpleNamespace(admin=admin, events=cast(EventRecorder, events)))
    look = seen()
    look.targets["a"] = Target("a", "games", "odin-a", "127.0.0.1")
    document = fleet_document()
    document["metadata"] |= {"uid": "u", "namespace": "games"}
    actor = Actor(around, document, FleetState.of(document), prepared(), look)
    sheds = [
        Shed(uid=uid, pod=f"odin-{uid}", id="rebalance-1-7", target=4400, rate=50.0, reason="too many")
        for uid in ("a", "gone")
    ]
    await actor.shed(sheds)
    assert node.heard == [({"id": "rebalance-1-7", "target": 4400, "rate": 50.0}, "7")]
    assert told == []
    node.status = 409
    await actor.shed(sheds)
    assert len(told) == 1
    assert "odin-a could not be told to let clients go" in told[0]
    await admin.close()


def test_a_shape_that_waits_frees_no_pinned_image_for_an_old_restart_request() -> None:
    def replicaset(name: str, replicas: int, created: str, restarted: str) -> dict[str, Any]:
        template = {"metadata": {"annotations": {"wsfleet.io/restartedAt": restarted}}}
        return {
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"replicas": replicas, "template": template},
        }

    sets = [
        replicaset("odin-b", 2, "2026-02-01T00:00:00Z", "T1"),
        replicaset("odin-a", 0, "2026-01-01T00:00:00Z", "T0"),
    ]

    def before(shape: str, present: list[dict[str, Any]]) -> str:
        cache = SimpleNamespace(
            get=lambda kind, namespace, name: next(
                (one for one in present if one["metadata"]["name"] == name), None
            ),
            replicasets=lambda key: present,
        )
        document = fleet_document() | {"status": {"shape": shape}}
        document["metadata"] |= {"uid": "u"}
        return restarted_before(cast(Context, SimpleNamespace(cache=cache)), KEY, FleetState.of(document))

    assert before("waits", sets) == "T1"
    assert before("a", sets) == "T0"
    assert before("waits", []) == ""
