"""A cluster that was cut off: all killed at once, and the next start must find its way through the rest."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.cluster import lifecycle, ruin
from tests.cluster.places import Places
from tests.cluster.processes import MARK, living
from tests.support.cluster import SessionCluster


def kill_everything(places: Places) -> int:
    """SIGKILL to every process of the cluster; how many there were."""
    mark = f"{MARK}={places.state}".encode()
    killed = 0
    for pid in living():
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        except OSError:
            continue
    return killed


def test_the_next_start_clears_what_a_killed_cluster_left(own_cluster: SessionCluster) -> None:
    places = own_cluster.places

    assert kill_everything(places) >= 8
    left = ruin.traces(places).lines()
    assert "link wsf0" in left
    assert "network namespace wsf-n1" in left

    assert lifecycle.up(places)
    assert lifecycle.healthy(places)
    own_cluster.renew()
    assert not lifecycle.up(places), "a healthy cluster is used as it is"
