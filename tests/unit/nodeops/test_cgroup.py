"""Which control group is the node's own, and what the kernel counts for it, from literal files."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsnode.cgroup import Cgroup, find_cgroup

V1_STAT = "cache 4096\ninactive_file 1\ntotal_cache 8192\ntotal_inactive_file 3000\n"
V2_STAT = "anon 5000\nfile 4096\ninactive_file 700\nsock 12\n"


class Machine:
    """A machine's /proc and cgroup mounts as files below a temporary directory."""

    def __init__(self, root: Path) -> None:
        self.proc, self.mounts = root / "proc", root / "mounts"
        self.write("proc/self/stat", "100 (ws) node) S 10 1 1 0")
        self.write("proc/100/stat", "100 (ws) node) S 10 1 1 0")
        self.write("proc/10/stat", "10 (sh) S 1 1 1 0")
        self.write("proc/1/stat", "1 (init) S 0 1 1 0")
        self.namespace("cgroup:[4026531835]")

    def write(self, path: str, text: str) -> None:
        target = self.proc.parent / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def namespace(self, name: str) -> None:
        link = self.proc / "self" / "ns" / "cgroup"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(name)

    def groups(self, text: str) -> None:
        self.write("proc/self/cgroup", text)

    def mount(self, kind: str, options: str, root: str, name: str) -> Path:
        info = self.proc / "self" / "mountinfo"
        place = self.mounts / name
        place.mkdir(parents=True, exist_ok=True)
        written = str(place).replace(" ", r"\040")
        line = f"30 20 0:26 {root} {written} rw,nosuid - {kind} {kind} {options}\n"
        info.write_text((info.read_text() if info.exists() else "") + line)
        return place


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "a machine")


def test_version_2_counts_socket_memory_itself_and_inactive_file_pages_are_taken_off(
    machine: Machine,
) -> None:
    machine.groups("0::/kubepods/pod1/c1\n")
    machine.mount("cgroup2", "rw", "/", "unified")
    machine.write("mounts/unified/kubepods/pod1/c1/memory.current", "10000\n")
    machine.write("mounts/unified/kubepods/pod1/c1/memory.stat", V2_STAT)
    assert find_cgroup(machine.proc).memory_bytes() == 9300


def test_version_1_adds_tcp_memory_and_takes_the_whole_tree_s_inactive_files_off(machine: Machine) -> None:
    machine.groups("4:memory:/pod1/c1\n3:cpu,cpuacct:/pod1/c1\n0::/\n")
    machine.mount("cgroup", "rw,memory", "/", "memory")
    machine.write("mounts/memory/pod1/c1/memory.usage_in_bytes", "10000\n")
    machine.write("mounts/memory/pod1/c1/memory.stat", V1_STAT)
    machine.write("mounts/memory/pod1/c1/memory.kmem.tcp.usage_in_bytes", "512\n")
    assert find_cgroup(machine.proc).memory_bytes() == 10000 - 3000 + 512


def test_a_container_without_a_cgroup_namespace_sees_its_group_at_the_mount(machine: Machine) -> None:
    machine.groups("4:memory:/kubepods/burstable/pod1/c1\n")
    machine.mount("cgroup", "rw,memory", "/kubepods/burstable/pod1/c1", "memory")
    machine.write("mounts/memory/memory.usage_in_bytes", "7000\n")
    machine.write("mounts/memory/memory.stat", V1_STAT)
    assert find_cgroup(machine.proc).memory_bytes() == 4000


def test_a_container_with_a_cgroup_namespace_has_its_group_at_the_root(machine: Machine) -> None:
    machine.namespace("cgroup:[4026532999]")
    machine.groups("0::/\n")
    machine.mount("cgroup2", "rw", "/", "unified")
    machine.write("mounts/unified/memory.current", "10000\n")
    machine.write("mounts/unified/memory.stat", V2_STAT)
    assert find_cgroup(machine.proc).memory_bytes() == 9300


def test_a_path_above_the_namespace_s_root_is_shown_by_the_mount(machine: Machine) -> None:
    machine.groups("0::/\n")
    machine.namespace("cgroup:[4026532999]")
    machine.mount("cgroup2", "rw", "/..", "unified")
    machine.write("mounts/unified/memory.current", "1000\n")
    assert find_cgroup(machine.proc).memory_bytes() == 1000


def test_the_machine_s_root_group_is_not_the_node_s(machine: Machine) -> None:
    machine.groups("4:memory:/\n0::/\n")
    machine.mount("cgroup", "rw,memory", "/", "memory")
    machine.mount("cgroup2", "rw", "/", "unified")
    machine.write("mounts/memory/memory.usage_in_bytes", "10000\n")
    assert find_cgroup(machine.proc) == Cgroup()


@pytest.mark.parametrize(
    ("members", "own"),
    [
        ("100\n", True),
        ("10\n100\n", True),  # the shell that started it
        ("100\n200\n", True),  # its child, the embedded broker
        ("100\n300\n", False),  # a stranger
        ("0\n100\n", False),  # a process of another PID namespace
    ],
)
def test_a_group_shared_with_strangers_is_not_the_node_s(machine: Machine, members: str, own: bool) -> None:
    machine.groups("0::/user.slice\n")
    machine.mount("cgroup2", "rw", "/", "unified")
    machine.write("proc/200/stat", "200 (nats-server) S 100 1 1 0")
    machine.write("proc/300/stat", "300 (browser) S 1 1 1 0")
    machine.write("mounts/unified/user.slice/memory.current", "10000\n")
    machine.write("mounts/unified/user.slice/cgroup.procs", members)
    assert (find_cgroup(machine.proc).memory_bytes() is not None) is own


def test_throttling_is_read_in_nanoseconds_from_version_1(machine: Machine) -> None:
    machine.groups("3:cpu,cpuacct:/pod1\n")
    machine.mount("cgroup", "rw,cpu,cpuacct", "/", "cpu,cpuacct")
    machine.write(
        "mounts/cpu,cpuacct/pod1/cpu.stat", "nr_periods 9\nnr_throttled 3\nthrottled_time 2500000000\n"
    )
    assert find_cgroup(machine.proc).throttled_seconds() == 2.5


def test_throttling_is_read_in_microseconds_from_version_2(machine: Machine) -> None:
    machine.groups("0::/pod1\n")
    machine.mount("cgroup2", "rw", "/", "unified")
    machine.write("mounts/unified/pod1/cpu.stat", "usage_usec 77\nnr_throttled 3\nthrottled_usec 1500000\n")
    assert find_cgroup(machine.proc).throttled_seconds() == 1.5


def test_without_any_cgroup_nothing_is_known(tmp_path: Path) -> None:
    cgroup = find_cgroup(tmp_path)
    assert cgroup == Cgroup()
    assert cgroup.memory_bytes() is None
    assert cgroup.throttled_seconds() == 0.0


def test_files_that_are_not_numbers_count_as_missing(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("max\n")
    (tmp_path / "cpu.stat").write_text("throttled_usec\nnonsense a b\n")
    cgroup = Cgroup(unified=tmp_path)
    assert cgroup.memory_bytes() is None
    assert cgroup.throttled_seconds() == 0.0
