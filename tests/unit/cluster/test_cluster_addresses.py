"""The address plan: nothing overlaps, and everything lies in the one range that the cluster may use."""

from __future__ import annotations

import ipaddress
import itertools

import pytest

from tests.cluster import addresses
from tests.cluster.addresses import NodePlan, node_plans


def test_the_first_node_has_the_addresses_that_documents_and_logs_show() -> None:
    node = NodePlan.named("n1")
    assert (node.address, node.pod_range) == ("198.18.0.11", "198.18.65.0/24")
    assert (node.netns, node.link, node.cgroup) == ("wsf-n1", "vwsf-n1", "wsfleet/n1")


def test_all_ranges_lie_in_the_clusters_range() -> None:
    whole = ipaddress.IPv4Network(addresses.RANGE)
    ranges = [addresses.NODE_RANGE, addresses.POD_RANGE, addresses.SERVICE_RANGE]
    for text in ranges:
        assert ipaddress.IPv4Network(text).subnet_of(whole), text


def test_no_two_ranges_overlap() -> None:
    plans = node_plans(addresses.MAX_NODES)
    ranges = [addresses.NODE_RANGE, addresses.SERVICE_RANGE, *(plan.pod_range for plan in plans)]
    for one, other in itertools.combinations(map(ipaddress.IPv4Network, ranges), 2):
        assert not one.overlaps(other), f"{one} and {other}"


def test_pods_and_nodes_lie_in_their_ranges_and_nobody_shares_an_address() -> None:
    plans = node_plans(addresses.MAX_NODES)
    pods = ipaddress.IPv4Network(addresses.POD_RANGE)
    assert all(ipaddress.IPv4Network(plan.pod_range).subnet_of(pods) for plan in plans)
    everyone = [addresses.MACHINE, addresses.BALANCER, *(plan.address for plan in plans)]
    assert len(set(everyone)) == len(everyone) == 11
    nodes = ipaddress.IPv4Network(addresses.NODE_RANGE)
    assert all(ipaddress.IPv4Address(address) in nodes for address in everyone)


def test_link_names_fit_into_what_linux_allows() -> None:
    names = [addresses.BRIDGE, addresses.BALANCER_LINK, *(plan.link for plan in node_plans(9))]
    assert max(map(len, names)) <= 15


@pytest.mark.parametrize("name", ["n0", "n10", "m1", "1", "", "nx"])
def test_other_names_are_no_nodes(name: str) -> None:
    with pytest.raises(ValueError, match="node"):
        NodePlan.named(name)
