"""Rollouts, step by step, in a model of the ReplicaSet controller."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scaling.cluster_model import Cluster, Pod
from wsfleet.scaling import (
    CreateSet,
    Idle,
    Mark,
    Resize,
    RolloutPolicy,
    SetView,
    Stalled,
    StartDrain,
    Step,
    Together,
    Wait,
    World,
    is_rolling,
    next_fleet_step,
    next_rollout_step,
)

POLICY = RolloutPolicy()


def run(cluster: Cluster, ticks: int, policy: RolloutPolicy = POLICY) -> list[Step]:
    """Look, do, let time pass; the steps that did something."""
    done: list[Step] = []
    for _ in range(ticks):
        step = next_fleet_step(cluster.world(), policy)
        cluster.apply(step)
        if not isinstance(step, Wait | Idle | Stalled):
            done.append(step)
        cluster.tick()
    return done


def converged(cluster: Cluster) -> bool:
    active = cluster.active()
    return (
        len(active) == cluster.desired == cluster.serving
        and all(pod.shape == cluster.target for pod in active)
        and isinstance(next_fleet_step(cluster.world(), POLICY), Idle)
    )


def test_a_new_fleet_gets_all_its_nodes_at_once() -> None:
    cluster = Cluster(desired=5)
    steps = run(cluster, 10)
    assert steps == [CreateSet(shape="a", replicas=5, reason="the fleet's first nodes")]
    assert converged(cluster)


def test_the_order_is_surge_one_wait_ready_drain_one_shrink() -> None:
    cluster = Cluster.running("a", nodes=2)
    cluster.target = "b"
    kinds = [type(step).__name__ for step in run(cluster, 60)]
    round_ = ["Mark", "StartDrain", "Resize"]
    assert kinds == ["CreateSet", *round_, "Resize", *round_]
    assert converged(cluster)
    assert cluster.sets["a"].replicas == 0


def test_a_fleet_of_one_keeps_serving_throughout() -> None:
    cluster = Cluster.running("a", nodes=1)
    cluster.target = "b"
    for _ in range(40):
        cluster.apply(next_fleet_step(cluster.world(), POLICY))
        cluster.tick()
        assert cluster.serving >= 1
    assert converged(cluster)


def test_a_bad_shape_stalls_with_one_surge_pod_and_touches_nothing_else() -> None:
    cluster = Cluster.running("a", nodes=3)
    cluster.target, cluster.bad = "b", frozenset("b")
    steps = run(cluster, 200)
    assert steps == [CreateSet(shape="b", replicas=1, reason="the shape of the nodes changed")]
    assert cluster.serving == 3
    stalled = next_fleet_step(cluster.world(), POLICY)
    assert isinstance(stalled, Stalled)
    assert "does not become ready" in stalled.reason


def test_a_reverted_spec_converges_without_a_pod_deleted_by_hand() -> None:
    cluster = Cluster.running("a", nodes=3)
    before = [pod.uid for pod in cluster.active("a")]
    cluster.target, cluster.bad = "b", frozenset("b")
    run(cluster, 200)
    cluster.target = "a"
    run(cluster, 20)
    assert converged(cluster)
    assert [pod.uid for pod in cluster.active()] == before


def test_a_fixed_shape_after_a_bad_one_makes_room_for_its_surge_first() -> None:
    cluster = Cluster.running("a", nodes=3)
    cluster.target, cluster.bad = "b", frozenset("b")
    run(cluster, 200)
    cluster.target = "c"
    for _ in range(100):
        cluster.apply(next_fleet_step(cluster.world(), POLICY))
        cluster.tick()
        assert cluster.total <= 4
        assert cluster.serving >= 3
    assert converged(cluster)


def test_a_reverted_spec_gives_a_draining_node_back() -> None:
    cluster = Cluster.running("a", nodes=2)
    cluster.target = "b"
    while not any(pod.marked_at for pod in cluster.active("a")):
        run(cluster, 1)
    run(cluster, 1)
    victim = next(pod for pod in cluster.active("a") if pod.marked_at)
    cluster.target = "a"
    run(cluster, 40)
    assert converged(cluster)
    assert victim in cluster.active("a")


def test_growth_before_the_new_shape_is_proven_goes_to_the_proven_set() -> None:
    cluster = Cluster.running("a", nodes=2)
    cluster.target, cluster.bad = "b", frozenset("b")
    run(cluster, 5)
    cluster.desired = 5
    run(cluster, 5)
    assert cluster.sets["a"].replicas == 5
    assert cluster.sets["b"].replicas == 1
    assert cluster.serving == 5


def test_growth_once_the_new_shape_is_proven_goes_to_the_new_set() -> None:
    cluster = Cluster.running("a", nodes=2)
    cluster.target = "b"
    while not any(pod.ready for pod in cluster.active("b")):
        run(cluster, 1)
    cluster.desired = 5
    run(cluster, 15)
    assert cluster.sets["b"].replicas >= 3
    run(cluster, 60)
    assert converged(cluster)


def test_a_fleet_whose_old_nodes_are_all_broken_is_mended_by_a_good_shape() -> None:
    cluster = Cluster.running("a", nodes=3)
    cluster.bad = frozenset("a")
    cluster.tick()
    assert cluster.serving == 0
    cluster.target = "b"
    run(cluster, 80)
    assert converged(cluster)


def test_a_machine_that_is_emptied_gets_its_replacement_ready_first() -> None:
    cluster = Cluster.running("a", nodes=1)
    cluster.cordoned = frozenset({"m1"})
    assert is_rolling(cluster.world(), POLICY)
    for _ in range(40):
        cluster.apply(next_fleet_step(cluster.world(), POLICY))
        cluster.tick()
        assert cluster.serving >= 1
    assert converged(cluster)
    assert [pod.machine for pod in cluster.active()] == ["m2"]


def test_earlier_shapes_are_kept_up_to_the_limit_and_the_oldest_go_first() -> None:
    cluster = Cluster.running("a", nodes=1)
    for shape in "bcdef":
        cluster.target = shape
        run(cluster, 40)
    assert converged(cluster)
    assert set(cluster.sets) == {"c", "d", "e", "f"}


def test_a_set_that_was_given_a_number_by_others_is_put_right() -> None:
    cluster = Cluster.running("a", nodes=2)
    cluster.sets["a"].replicas = 1
    cluster.sets["a"].generation += 1
    assert (
        run(cluster, 5)[0]
        == Resize(
            set_name="fleet-a",
            shape="a",
            before=1,
            replicas=2,
            resource_version=str(cluster.sets["a"].version - 2),
            reason="2 nodes are wanted",
        )
        or cluster.total == 2
    )
    run(cluster, 10)
    assert converged(cluster)


def test_a_fleet_of_zero_needs_no_surge() -> None:
    cluster = Cluster.running("a", nodes=2)
    cluster.target, cluster.desired = "b", 0
    run(cluster, 60)
    assert cluster.active() == []
    assert isinstance(next_fleet_step(cluster.world(), POLICY), Idle)


def test_min_ready_seconds_must_pass_before_an_old_node_goes() -> None:
    cluster = Cluster.running("a", nodes=1)
    cluster.target = "b"
    policy = RolloutPolicy(min_ready_seconds=60)
    run(cluster, 10, policy)
    assert cluster.serving == 2
    run(cluster, 30, policy)
    assert converged(cluster)


def test_a_terminating_pod_of_a_lost_machine_does_not_hold_a_rollout_for_ever() -> None:
    cluster = Cluster.running("a", nodes=2)
    lost = Pod("lost", "a", born=0.0, terminating_at=cluster.now)
    cluster.pods.append(lost)
    cluster.target = "b"
    for tick in range(260):
        cluster.apply(next_fleet_step(cluster.world(), POLICY))
        lost.terminating_at = 1000.0
        cluster.tick()
        if lost not in cluster.pods:
            cluster.pods.append(lost)
        if tick == 100:
            assert cluster.sets["a"].replicas == 2, "a pod that may still end is waited for"
    assert cluster.sets["a"].replicas == 0


def test_the_same_world_gives_the_same_step() -> None:
    cluster = Cluster.running("a", nodes=3)
    cluster.target = "b"
    for _ in range(40):
        assert next_fleet_step(cluster.world(), POLICY) == next_fleet_step(cluster.world(), POLICY)
        cluster.apply(next_fleet_step(cluster.world(), POLICY))
        cluster.tick()


def test_a_stalled_rollout_says_why_where_no_machine_takes_the_pod() -> None:
    cluster = Cluster.running("a", nodes=1)
    world = cluster.world()
    surge = replace(
        world.pods[0], uid="s", name="surge", shape="b", ready=False, unschedulable=True, pod_age_seconds=700
    )
    sets = (*world.sets, SetView(name="fleet-b", shape="b", replicas=1))
    stalled = next_rollout_step(
        replace(world, sets=sets, pods=(*world.pods, surge), target_shape="b"), POLICY
    )
    assert isinstance(stalled, Stalled)
    assert "surge has been waited for 700 s, no machine takes it" in stalled.reason


Happening = tuple[str, int]

HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(["", "", "", "", "shape", "kill", "size", "silent", "lag", "stale", "replace"]),
        st.integers(min_value=0, max_value=11),
    ),
    max_size=60,
)


def late_world(cluster: Cluster, before: World) -> World:
    """The world with what the nodes and the kubelet said a tick ago; what we wrote ourselves is known."""
    old = {pod.uid: pod for pod in before.pods}
    world = cluster.world()
    pods = (
        replace(pod, ready=then.ready, connections=then.connections, drain=then.drain)
        if (then := old.get(pod.uid)) is not None
        else pod
        for pod in world.pods
    )
    return replace(world, pods=tuple(pods))


def checked_step(cluster: Cluster, at_once: int = 1) -> None:
    """One look and what it does; no serving node that is needed is taken, no more surge asked for."""
    step = next_fleet_step(cluster.world(), replace(POLICY, at_once=at_once))
    total = cluster.total
    parts = step.steps if isinstance(step, Together) else (step,)
    uids = {part.uid for part in parts if isinstance(part, Mark | StartDrain)}
    taken = [pod for pod in cluster.active() if pod.uid in uids and pod.ready]
    others = cluster.serving - sum(pod.marked_at is None for pod in taken)
    assert others >= cluster.desired or not taken, step
    proven = any(pod.ready for pod in cluster.active(cluster.target))
    cluster.apply(step)
    assert cluster.total <= max(total, cluster.desired + (at_once if proven else 1)), step


def happen(cluster: Cluster, what: str, number: int) -> bool:
    """Something from outside; whether the ReplicaSet controller is late this time."""
    if what == "shape":
        cluster.target = "abcx"[number % 4]
    elif what == "kill":
        cluster.kill(number)
    elif what == "size":
        cluster.desired = number % 6
    elif what == "silent" and cluster.active():
        pod = cluster.active()[number % len(cluster.active())]
        pod.answers = not pod.answers
    elif what == "replace" and cluster.active():
        cluster.active()[number % len(cluster.active())].to_replace = True
    return what == "lag"


@settings(max_examples=800, deadline=None)
@given(happenings=HAPPENINGS, nodes=st.integers(min_value=1, max_value=5), at_once=st.integers(1, 4))
def test_whatever_happens_the_fleet_converges_and_only_chosen_pods_are_removed(
    happenings: list[Happening], nodes: int, at_once: int
) -> None:
    cluster = Cluster.running("a", nodes=nodes)
    cluster.bad = frozenset("x")
    before = cluster.world()
    for what, number in happenings:
        late = happen(cluster, what, number)
        if what == "stale":
            cluster.apply(next_fleet_step(late_world(cluster, before), replace(POLICY, at_once=at_once)))
        else:
            checked_step(cluster, at_once)
        before = cluster.world()
        cluster.tick(sync=not late)
        assert all(pod.marked_at is not None for pod in cluster.removed)
    cluster.target = "c"
    cluster.desired = max(1, cluster.desired)
    for _ in range(1500):
        checked_step(cluster, at_once)
        cluster.tick()
        if converged(cluster):
            break
    assert converged(cluster), next_fleet_step(cluster.world(), POLICY)
    assert all(pod.marked_at is not None for pod in cluster.removed)


@settings(max_examples=80, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 25), st.sampled_from("abcx")), max_size=12),
    nodes=st.integers(min_value=1, max_value=5),
)
def test_while_no_pod_dies_no_flip_of_the_spec_costs_capacity(
    flips: list[tuple[int, str]], nodes: int
) -> None:
    cluster = Cluster.running("a", nodes=nodes)
    cluster.bad = frozenset("x")
    for ticks, shape in [*flips, (400, "b")]:
        cluster.target = shape
        for _ in range(ticks):
            checked_step(cluster)
            cluster.tick()
            assert cluster.serving >= nodes
    assert converged(cluster)


def test_a_pod_is_replaced_on_request_and_no_other_and_a_fleet_of_one_serves_throughout() -> None:
    for nodes in (1, 3):
        cluster = Cluster.running("a", nodes=nodes)
        asked = cluster.pods[nodes - 1]
        asked.to_replace = True
        for _ in range(60):
            cluster.apply(next_fleet_step(cluster.world(), POLICY))
            cluster.tick()
            assert cluster.serving >= nodes
        assert cluster.removed == [asked]
        assert converged(cluster)


def test_a_large_fleet_is_replaced_in_waves_and_never_serves_with_fewer() -> None:
    cluster = Cluster.running("a", nodes=20)
    cluster.target = "b"
    ticks, most = 0, 0
    while not converged(cluster):
        checked_step(cluster, at_once=5)
        cluster.tick()
        ticks, most = ticks + 1, max(most, cluster.total)
        assert cluster.serving >= 20
        assert ticks < 120
    assert most == 25
    assert all(pod.shape == "a" for pod in cluster.removed)
    assert len(cluster.removed) == 20


def test_a_bad_shape_costs_one_surge_pod_also_where_waves_are_allowed() -> None:
    cluster = Cluster.running("a", nodes=20)
    cluster.target, cluster.bad = "b", frozenset("b")
    for _ in range(200):
        checked_step(cluster, at_once=5)
        cluster.tick()
    assert len(cluster.active("b")) == 1
    assert cluster.removed == []
