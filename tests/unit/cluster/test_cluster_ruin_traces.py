"""What a killed cluster left is found by its names, and the list says each thing once."""

from __future__ import annotations

from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.ruin import Traces, mounts_below

MOUNTS = """\
/dev/vda / ext4 rw 0 0
overlay /tmp/wsf/n1/run/containerd/task/rootfs overlay rw 0 0
tmpfs /tmp/wsf/n1/var/lib/kubelet tmpfs rw 0 0
tmpfs /tmp/wsf-other tmpfs rw 0 0
proc /tmp/wsf/with\\040space proc rw 0 0
"""


def test_a_clean_machine_has_no_lines() -> None:
    assert Traces().lines() == []


def test_each_trace_is_a_line_that_names_it() -> None:
    traces = Traces(
        records=["etcd"],
        mounts=["/tmp/wsf/n1/run"],
        namespaces=["wsf-n1"],
        links=["wsf0", "vwsf-n1"],
        routes=["unreachable 198.18.0.0/15"],
        cgroups=["/sys/fs/cgroup/cpu/wsfleet"],
        state=["/tmp/wsf"],
    )
    assert traces.lines() == [
        "process record etcd",
        "mount /tmp/wsf/n1/run",
        "network namespace wsf-n1",
        "link wsf0",
        "link vwsf-n1",
        "route unreachable 198.18.0.0/15",
        "control group /sys/fs/cgroup/cpu/wsfleet",
        "state folder /tmp/wsf",
    ]


def test_mounts_below_the_state_folder_are_found_the_innermost_first() -> None:
    assert mounts_below(Path("/tmp/wsf"), MOUNTS) == [
        "/tmp/wsf/n1/run/containerd/task/rootfs",
        "/tmp/wsf/n1/var/lib/kubelet",
        "/tmp/wsf/with space",
    ]


def test_a_neighbour_with_a_longer_name_is_not_ours() -> None:
    assert mounts_below(Path("/tmp/ws"), MOUNTS) == []


def test_both_layouts_of_control_groups_are_known(tmp_path: Path) -> None:
    (tmp_path / "one" / "cpu").mkdir(parents=True)
    (tmp_path / "one" / "unified").mkdir()
    assert [path.name for path in cgroups.hierarchies(tmp_path / "one")] == ["cpu", "unified"]
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "cgroup.controllers").touch()
    assert cgroups.hierarchies(tmp_path / "two") == [tmp_path / "two"]
