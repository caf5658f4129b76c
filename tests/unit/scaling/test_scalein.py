"""Scale-in, step by step, in a model of the ReplicaSet controller."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scaling.cluster_model import Cluster, Pod
from wsfleet.scaling import (
    DrainState,
    Idle,
    Mark,
    NodeSample,
    Phase,
    Release,
    Resize,
    RetirePolicy,
    SetView,
    Stalled,
    StartDrain,
    Step,
    Wait,
    World,
    choose_victim,
    next_scale_in_step,
)

POLICY = RetirePolicy()


def node(uid: str, **figures: object) -> NodeSample:
    given: dict[str, object] = {
        "name": uid,
        "shape": "a",
        "machine": "m1",
        "ready": True,
        "drain": DrainState.NONE,
        "connections": 100,
        "cpu_percent": 10.0,
        "sample_age_seconds": 1.0,
        "pod_age_seconds": 900.0,
    }
    return NodeSample(uid=uid, **(given | figures))  # type: ignore[arg-type]


def world(*pods: NodeSample, desired: int, replicas: int | None = None, **view: object) -> World:
    number = len([pod for pod in pods if not pod.terminating]) if replicas is None else replicas
    one = SetView(name="fleet-a", shape="a", replicas=number, resource_version="7")
    return World.of([replace(one, **view)], pods, "a", desired)  # type: ignore[arg-type]


def run(cluster: Cluster, ticks: int) -> list[Step]:
    done: list[Step] = []
    for _ in range(ticks):
        step = next_scale_in_step(cluster.world(), POLICY)
        cluster.apply(step)
        if not isinstance(step, Wait | Idle):
            done.append(step)
        cluster.tick()
    return done


def test_the_order_is_mark_drain_wait_shrink_and_the_chosen_pod_goes() -> None:
    cluster = Cluster.running(nodes=3)
    cluster.pods[1].connections = 5
    cluster.desired = 2
    steps = run(cluster, 20)
    assert [type(step) for step in steps] == [Mark, StartDrain, Resize]
    assert isinstance(steps[2], Resize)
    assert (steps[2].before, steps[2].replicas, steps[2].victim_uids) == (3, 2, ("0002",))
    assert [pod.uid for pod in cluster.removed] == ["0002"]
    assert cluster.removed[0].connections == 0


def test_three_nodes_go_one_after_the_other() -> None:
    cluster = Cluster.running(nodes=5)
    cluster.desired = 2
    emptied_at_once = 0
    for _ in range(100):
        cluster.apply(next_scale_in_step(cluster.world(), POLICY))
        cluster.tick()
        emptied_at_once = max(emptied_at_once, sum(pod.marked_at is not None for pod in cluster.pods))
    assert len(cluster.active()) == 2
    assert emptied_at_once == 1


def test_load_that_returns_gives_the_victim_back() -> None:
    cluster = Cluster.running(nodes=2)
    cluster.desired = 1
    run(cluster, 2)
    cluster.desired = 2
    steps = run(cluster, 5)
    assert [type(step) for step in steps] == [Release]
    assert isinstance(steps[0], Release)
    assert steps[0].cancel_drain
    assert cluster.serving == 2
    assert not cluster.removed


def test_another_pod_that_dies_gives_the_victim_back_and_then_goes_in_its_place() -> None:
    cluster = Cluster.running(nodes=3)
    cluster.desired = 2
    run(cluster, 2)
    victim = next(pod for pod in cluster.active() if pod.marked_at)
    other = next(pod for pod in cluster.active() if not pod.marked_at)
    cluster.pods.remove(other)
    cluster.sync(cluster.sets["a"])
    assert isinstance(next_scale_in_step(cluster.world(), POLICY), Release)
    run(cluster, 40)
    assert victim in cluster.active()
    assert cluster.serving == 2


def test_replicas_are_lowered_only_with_the_resource_version_that_was_seen() -> None:
    pods = [node("v", ready=False, drain=DrainState.DRAINED, marked_seconds=40.0), node("b")]
    step = next_scale_in_step(world(*pods, desired=1), POLICY)
    assert isinstance(step, Resize)
    assert step.resource_version == "7"


def test_replicas_are_not_lowered_while_the_victim_is_not_the_one_not_ready_pod() -> None:
    victim = node("v", ready=False, drain=DrainState.DRAINED, marked_seconds=40.0)
    starting = node("s", ready=False, phase=Phase.PENDING)
    step = next_scale_in_step(world(victim, node("b"), starting, desired=2, replicas=3), POLICY)
    assert isinstance(step, Release), "the pod that starts would be removed in its place"


def test_replicas_are_not_lowered_while_a_pod_terminates() -> None:
    victim = node("v", ready=False, drain=DrainState.DRAINED, marked_seconds=40.0)
    leaving = node("t", phase=Phase.TERMINATING, terminating_seconds=10.0)
    step = next_scale_in_step(world(victim, node("b"), leaving, desired=1), POLICY)
    assert step == Wait(reason="t is still terminating")


def test_replicas_are_not_lowered_while_the_controller_has_not_looked() -> None:
    victim = node("v", ready=False, drain=DrainState.DRAINED, marked_seconds=40.0)
    step = next_scale_in_step(
        world(victim, node("b"), desired=1, generation=5, observed_generation=4), POLICY
    )
    assert isinstance(step, Wait)


def test_an_empty_victim_that_still_counts_as_ready_is_waited_for() -> None:
    victim = node("v", ready=True, drain=DrainState.DRAINED, marked_seconds=40.0)
    assert isinstance(next_scale_in_step(world(victim, node("b"), desired=1), POLICY), Wait)


def test_if_another_pod_than_the_chosen_one_went_the_victim_is_given_back() -> None:
    victim = node("v", ready=False, drain=DrainState.DRAINED, marked_seconds=40.0)
    step = next_scale_in_step(world(victim, desired=1, replicas=1), POLICY)
    assert step == Release(
        uid="v", pod="v", cancel_drain=True, reason="1 node is wanted and there are no more than that"
    )


def test_a_silent_admin_port_is_waited_for_a_bounded_time_then_sigterm_drains() -> None:
    silent = {"drain": None, "connections": None, "cpu_percent": None, "sample_age_seconds": None}
    early = node("v", marked_seconds=20.0, **silent)
    late = node("v", marked_seconds=31.0, **silent)
    assert isinstance(next_scale_in_step(world(early, node("b"), desired=1), POLICY), StartDrain)
    assert isinstance(next_scale_in_step(world(late, node("b"), desired=1), POLICY), Resize)


def test_an_operator_that_stopped_between_mark_and_drain_still_drains() -> None:
    victim = node("v", marked_seconds=120.0, drain=DrainState.NONE)
    assert isinstance(next_scale_in_step(world(victim, node("b"), desired=1), POLICY), StartDrain)


def test_a_drain_that_never_ends_is_timed_out() -> None:
    stuck = node("v", ready=False, drain=DrainState.CLOSING, marked_seconds=326.0)
    assert isinstance(next_scale_in_step(world(stuck, node("b"), desired=1), POLICY), Resize)
    still = replace(stuck, marked_seconds=320.0)
    assert isinstance(next_scale_in_step(world(still, node("b"), desired=1), POLICY), Wait)


def test_an_unschedulable_pod_goes_first_and_needs_no_drain() -> None:
    waiting = node("w", machine=None, phase=Phase.PENDING, unschedulable=True, ready=False)
    assert choose_victim([node("a", connections=0), waiting]) == waiting
    mark = next_scale_in_step(world(node("a"), waiting, desired=1), POLICY)
    assert isinstance(mark, Mark)
    assert mark.uid == "w"
    marked = replace(waiting, marked_seconds=1.0)
    assert isinstance(next_scale_in_step(world(node("a"), marked, desired=1), POLICY), Resize)


def test_two_victims_are_one_too_many() -> None:
    one = node("a", marked_seconds=5.0, connections=1)
    other = node("b", marked_seconds=5.0, connections=9)
    step = next_scale_in_step(world(one, other, node("c"), desired=2), POLICY)
    assert isinstance(step, Release)
    assert step.uid == "b"


def test_no_victim_is_taken_while_a_node_is_missing_from_the_rest() -> None:
    """A ready victim would leave fewer serving nodes than are wanted, so the one that is not ready goes."""
    broken = node("x", ready=False)
    mark = next_scale_in_step(world(node("a"), node("b"), broken, desired=2), POLICY)
    assert isinstance(mark, Mark)
    assert mark.uid == "x"


def test_victims_are_chosen_in_the_order_that_costs_least() -> None:
    old = node("old", shape="old", connections=5000)
    broken = node("broken", ready=False, connections=400)
    cordoned = node("cordoned", cordoned=True, connections=300)
    emptiest = node("emptiest", connections=1, pod_age_seconds=900)
    young = node("young", connections=1, pod_age_seconds=100)
    unknown = node("unknown", connections=None)
    fleet = [unknown, emptiest, young, cordoned, broken, old]
    order = []
    while fleet:
        victim = choose_victim(fleet, replaced_shapes={"old"})
        assert victim is not None
        order.append(victim.name)
        fleet.remove(victim)
    assert order == ["old", "broken", "cordoned", "young", "emptiest", "unknown"]


def test_a_terminating_pod_is_no_victim() -> None:
    assert choose_victim([node("t", phase=Phase.TERMINATING)]) is None


@settings(max_examples=60, deadline=None)
@given(
    happenings=st.lists(
        st.tuples(st.sampled_from(["", "", "kill", "size", "silent", "lag"]), st.integers(0, 11)), max_size=60
    ),
    nodes=st.integers(min_value=1, max_value=6),
)
def test_scale_in_removes_only_victims_and_never_takes_a_node_that_is_needed(
    happenings: list[tuple[str, int]], nodes: int
) -> None:
    cluster = Cluster.running(nodes=nodes)

    def look(late: bool = False) -> None:
        step = next_scale_in_step(cluster.world(), POLICY)
        assert not isinstance(step, Stalled)
        if isinstance(step, Mark | StartDrain):
            pod = next(one for one in cluster.active() if one.uid == step.uid)
            others = cluster.serving - (pod.ready and pod.marked_at is None)
            assert others >= cluster.desired or not pod.ready
        if isinstance(step, Resize):
            assert step.replicas >= cluster.desired
        cluster.apply(step)
        cluster.tick(sync=not late)
        assert all(pod.marked_at is not None for pod in cluster.removed)

    for what, number in happenings:
        if what == "kill":
            cluster.kill(number)
        elif what == "size":
            cluster.desired = min(number % 7, cluster.total)
        elif what == "silent" and cluster.active():
            pod: Pod = cluster.active()[number % len(cluster.active())]
            pod.answers = not pod.answers
        look(late=what == "lag")
    for _ in range(600):
        look()
    assert len(cluster.active()) == cluster.total == cluster.desired
    assert all(pod.marked_at is None for pod in cluster.active())
