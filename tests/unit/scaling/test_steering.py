"""Which nodes new clients are sent to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsfleet.scaling import DrainState, NodeSample, Phase, steer


def node(uid: str, connections: int | None, serving: bool = True, **more: object) -> NodeSample:
    figures: dict[str, object] = {"ready": True, "drain": DrainState.NONE, "max_connections": 10_000} | more
    return NodeSample(uid=uid, name=uid, shape="a", connections=connections, serving=serving, **figures)  # type: ignore[arg-type]


def changes(*nodes: NodeSample, takeover: bool = False) -> dict[str, bool]:
    return {one.uid: one.serving for one in steer(nodes, 10_000, takeover=takeover)}


def test_a_new_empty_node_gets_the_new_clients() -> None:
    assert changes(node("full", 8000), node("new", 0)) == {"full": False}


def test_at_most_half_the_nodes_are_taken_out_at_once_and_the_fullest_first() -> None:
    nodes = [node("a", 8000), node("b", 7900), node("c", 8100), node("new", 0)]
    assert changes(*nodes) == {"a": False, "c": False}


def test_nodes_about_the_mean_keep_the_label() -> None:
    assert changes(node("a", 1000), node("b", 1090), node("c", 950)) == {}


def test_a_node_gets_its_label_back_only_well_below_where_it_lost_it() -> None:
    assert changes(node("a", 1080, serving=False), node("b", 1000), node("c", 1000)) == {}
    assert changes(node("a", 1040, serving=False), node("b", 1000), node("c", 1000)) == {"a": True}


def test_a_nearly_full_node_is_spared_while_others_have_room() -> None:
    assert changes(node("a", 9100), node("b", 8800), node("c", 8800)) == {"a": False}


def test_where_all_are_nearly_full_all_keep_the_label() -> None:
    assert changes(node("a", 9100), node("b", 9200), node("c", 9300)) == {}


def test_victims_draining_and_shedding_nodes_take_no_new_clients() -> None:
    nodes = [
        node("marked", 1, marked_seconds=1.0),
        node("draining", 1, drain=DrainState.DELAY),
        node("shedding", 1, shedding=True),
        node("rest", 1),
    ]
    assert changes(*nodes) == {"marked": False, "draining": False, "shedding": False}


def test_a_fleet_of_one_gets_its_label_back() -> None:
    assert changes(node("only", 9900, serving=False)) == {"only": True}


def test_a_new_operator_gives_all_labels_back_but_those_of_victims() -> None:
    nodes = [
        node("full", 9000, serving=False),
        node("victim", 5, marked_seconds=9.0, serving=False),
        node("b", 0),
    ]
    assert changes(*nodes, takeover=True) == {"full": True}


def test_tiny_fleets_are_not_steered() -> None:
    assert changes(node("a", 3), node("b", 0)) == {}


def test_a_node_without_figures_keeps_what_it_has() -> None:
    assert changes(node("a", None), node("b", 100), node("c", 100)) == {}
    assert changes(node("a", None, serving=False), node("b", 100), node("c", 100)) == {}


def test_a_terminating_pod_is_left_alone() -> None:
    assert changes(node("t", 9999, phase=Phase.TERMINATING), node("b", 0)) == {}


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, 10_000)), st.booleans(), st.booleans()), max_size=12
    )
)
def test_at_least_half_of_the_ready_nodes_take_clients_and_steering_twice_changes_nothing(
    fleet: list[tuple[int | None, bool, bool]],
) -> None:
    nodes = [
        node(str(number), connections, serving, ready=ready)
        for number, (connections, serving, ready) in enumerate(fleet)
    ]
    after = {one.uid: one.serving for one in nodes} | changes(*nodes)
    ready = [one for one in nodes if one.ready]
    assert sum(after[one.uid] for one in ready) * 2 >= len(ready)
    steered = [node(one.uid, one.connections, after[one.uid], ready=one.ready) for one in nodes]
    assert changes(*steered) == {}


def test_the_receivers_that_a_rebalance_chose_take_all_new_clients() -> None:
    nodes = [node("a", 8000), node("b", 7000), node("c", 100, serving=False), node("unknown", None)]
    found = steer(nodes, 10_000, receivers=frozenset({"c"}))
    assert {one.uid: one.serving for one in found} == {"a": False, "b": False, "c": True}
    without = {one.uid: one.serving for one in steer(nodes, 10_000)}
    assert {one.uid: one.serving for one in steer(nodes, 10_000, receivers=frozenset({"gone"}))} == without
