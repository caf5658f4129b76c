"""Nodes come, fail, are healed by the next `up`, and go without a trace."""

from __future__ import annotations

from tests.cluster import lifecycle, network, node
from tests.cluster.places import Places, Record
from tests.support.cluster import SessionCluster


def record_of(places: Places) -> Record:
    record = Record.read(places)
    assert record is not None
    return record


def test_a_second_node_joins_loses_power_is_healed_and_leaves(own_cluster: SessionCluster) -> None:
    client, places = own_cluster.get(), own_cluster.places
    record = record_of(places)

    node.inflict(places, record, "join", "n2")
    client.wait("n2 is Ready", lambda: lifecycle.is_ready(places, "n2"), 60)

    node.inflict(places, record, "kill", "n2")
    client.wait("n2 is missed", lambda: not lifecycle.is_ready(places, "n2"), 60)
    assert not lifecycle.healthy(places)

    assert not lifecycle.up(places), "the cluster is healed, not started anew"
    client.wait("n2 is Ready again", lambda: lifecycle.is_ready(places, "n2"), 60)

    node.inflict(places, record, "leave", "n2")
    assert places.node_names() == ["n1"]
    assert network.namespaces() == ["wsf-lb", "wsf-n1"]
    assert lifecycle.healthy(places)
