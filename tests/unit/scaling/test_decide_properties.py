"""What holds for every fleet, whatever its figures."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scaling.fleet_script import Fleet, node, pending, settled, silent
from wsfleet.scaling import History, NodeSample, ScalingPolicy, Snapshot, decide

CONNECTIONS = st.integers(min_value=0, max_value=12_000)
CPU = st.floats(min_value=0, max_value=100)


@st.composite
def nodes(draw: st.DrawFn, most: int = 8) -> list[NodeSample]:
    """A fleet of ready, young, silent and pending nodes."""
    fleet = []
    for number in range(draw(st.integers(min_value=0, max_value=most))):
        kind = draw(st.sampled_from(["ready", "ready", "ready", "silent", "pending", "young", "marked"]))
        uid = f"n{number}"
        if kind == "silent":
            fleet.append(silent(uid))
        elif kind == "pending":
            fleet.append(pending(uid, unschedulable=draw(st.booleans())))
        else:
            more: dict[str, object] = {"rejections": {"cpu": draw(st.integers(0, 1000))}}
            if kind == "young":
                more |= {"pod_age_seconds": 20.0, "ready_seconds": 5.0}
            if kind == "marked":
                more |= {"marked_seconds": 9.0}
            fleet.append(node(uid, draw(CONNECTIONS), draw(CPU), **more))
    return fleet


@st.composite
def policies(draw: st.DrawFn) -> ScalingPolicy:
    smallest = draw(st.integers(min_value=1, max_value=4))
    return ScalingPolicy(
        max_connections=draw(st.sampled_from([1, 7, 100, 10_000])),
        min_replicas=smallest,
        max_replicas=smallest + draw(st.integers(min_value=0, max_value=10)),
    )


LOOKS = st.lists(st.tuples(nodes(), st.integers(min_value=1, max_value=70)), min_size=1, max_size=4)


@settings(max_examples=50, deadline=None)
@given(policy=policies(), looks=LOOKS, size=st.integers(min_value=1, max_value=20))
def test_the_size_only_moves_towards_and_within_its_bounds(
    policy: ScalingPolicy, looks: list[tuple[list[NodeSample], int]], size: int
) -> None:
    fleet = settled(policy, size)
    for seen, times in looks:
        for _ in range(times):
            decision = fleet.look(*seen)
            lowest = min(decision.current, policy.min_replicas)
            assert lowest <= decision.desired <= policy.max_replicas
            if decision.current >= policy.min_replicas:
                assert decision.desired >= policy.min_replicas
            assert all(decision.reasons)


@settings(max_examples=50, deadline=None)
@given(policy=policies(), looks=LOOKS, size=st.integers(min_value=1, max_value=14))
def test_deciding_twice_on_the_same_snapshot_is_deciding_once(
    policy: ScalingPolicy, looks: list[tuple[list[NodeSample], int]], size: int
) -> None:
    fleet = settled(policy, size)
    for seen, times in looks:
        for _ in range(times):
            first = fleet.look(*seen)
            snapshot = Snapshot.of(first.time, seen, len(seen))
            again, history = decide(policy, snapshot, fleet.history, first.time)
            assert again.desired == first.desired
            assert replace(history, decisions=()) == replace(fleet.history, decisions=())


@settings(max_examples=100, deadline=None)
@given(seen=nodes(), more=st.integers(min_value=0, max_value=100_000), size=st.integers(1, 12))
def test_more_connections_never_ask_for_fewer_nodes(seen: list[NodeSample], more: int, size: int) -> None:
    policy = ScalingPolicy(max_connections=10_000, max_replicas=30)
    fuller = [
        one if one.connections is None else replace(one, connections=one.connections + more) for one in seen
    ]
    less = settled(policy, size).look(*seen)
    greater = settled(policy, size).look(*fuller)
    assert greater.wish >= less.wish
    assert greater.desired >= less.desired


@settings(max_examples=100, deadline=None)
@given(
    connections=st.lists(CONNECTIONS, min_size=2, max_size=8),
    grown=CONNECTIONS,
    lost=st.sets(st.integers(0, 7)),
    size=st.integers(1, 8),
)
def test_scale_out_is_never_blocked_by_figures_that_went_missing_in_the_last_minute(
    connections: list[int], grown: int, lost: set[int], size: int
) -> None:
    policy = ScalingPolicy(max_connections=10_000, max_replicas=30)

    def fleet(missing: set[int]) -> Fleet:
        one = settled(policy, size)
        one.look(*[node(f"n{number}", each) for number, each in enumerate(connections)])
        growing = [node("n0", grown), *[node(f"n{k}", c) for k, c in enumerate(connections) if k > 0]]
        one.look_for(
            40, [silent(each.uid) if k in missing and k > 0 else each for k, each in enumerate(growing)]
        )
        return one

    assert fleet(lost).history.desired == fleet(set()).history.desired


@settings(max_examples=40, deadline=None)
@given(
    connections=st.lists(CONNECTIONS, min_size=2, max_size=6),
    lost=st.sets(st.integers(0, 5), min_size=1),
    minutes=st.integers(1, 12),
)
def test_missing_figures_never_bring_a_node_down_that_known_ones_would_not(
    connections: list[int], lost: set[int], minutes: int
) -> None:
    policy = ScalingPolicy(max_connections=10_000, max_replicas=30)
    whole = [node(f"n{number}", each) for number, each in enumerate(connections)]
    part = [silent(one.uid) if number in lost else one for number, one in enumerate(whole)]
    known, blind = settled(policy, len(whole)), settled(policy, len(whole))
    known.look_for(120, whole)
    blind.look_for(120, whole)
    for decision in blind.look_for(60 * minutes, part):
        if decision.desired < decision.current:
            known.look_for(60 * minutes, whole)
            assert (known.history.desired or 0) < len(whole)
            break


@settings(max_examples=40, deadline=None)
@given(policy=policies(), looks=LOOKS, size=st.integers(1, 14), restarts=st.sets(st.integers(0, 400)))
def test_an_operator_that_restarts_at_any_moment_decides_as_if_it_had_not(
    policy: ScalingPolicy, looks: list[tuple[list[NodeSample], int]], size: int, restarts: set[int]
) -> None:
    steady, restarting = settled(policy, size), settled(policy, size)
    number = 0
    for seen, times in looks:
        for _ in range(times):
            if number in restarts:
                old = restarting.history
                restarting.history = History.from_status(old.to_status(), old.decisions_to_status())
            number += 1
            assert restarting.look(*seen).desired == steady.look(*seen).desired


@settings(max_examples=40, deadline=None)
@given(looks=LOOKS)
def test_the_history_stays_small(looks: list[tuple[list[NodeSample], int]]) -> None:
    fleet = settled(ScalingPolicy(max_connections=100, max_replicas=20), 3)
    for seen, times in looks:
        for _ in range(times * 3):
            fleet.look(*seen)
    history = fleet.history
    assert len(history.cpu) <= 24
    assert len(history.recommendations) <= 7
    assert len(history.totals) <= 7
    assert len(history.own_closes) <= 7
    assert len(history.rejections) <= 24
    assert len(history.decisions) <= 10
    assert len(history.last_known) <= 8
