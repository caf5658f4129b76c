"""What the kernel counts for the node's control group: memory and throttling, cgroup v1 and v2.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, proc(5) for
/proc/self/mountinfo and /proc/self/cgroup. All roots are parameters, so that tests give literal files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# The inode of the first cgroup namespace (PROC_CGROUP_INIT_INO in include/linux/proc_ns.h): in it
# a group named "/" is the machine's, in any other one it is the container's own.
_FIRST_NAMESPACE = "cgroup:[4026531835]"
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """Directories of the groups that hold this process; None where there is none of its own.

    Attributes:
        unified: cgroup v2.
        memory: cgroup v1's memory controller.
        cpu: cgroup v1's cpu controller.
    """

    unified: Path | None = None
    memory: Path | None = None
    cpu: Path | None = None

    def memory_bytes(self) -> int | None:
        """Memory charged to the group less its inactive file pages, None without a readable group.

        Version 2 counts socket memory in `memory.current`; version 1 keeps TCP's apart.
        """
        if self.memory is not None:
            usage = _number(self.memory / "memory.usage_in_bytes")
            if usage is not None:
                inactive = _fields(self.memory / "memory.stat").get("total_inactive_file", 0)
                tcp = _number(self.memory / "memory.kmem.tcp.usage_in_bytes") or 0
                return max(usage - inactive, 0) + tcp
        if self.unified is not None:
            usage = _number(self.unified / "memory.current")
            if usage is not None:
                inactive = _fields(self.unified / "memory.stat").get("inactive_file", 0)
                return max(usage - inactive, 0)
        return None

    def throttled_seconds(self) -> float:
        """Time for which the CPU quota held the group back since the group was made; 0 where unknown."""
        if self.cpu is not None:
            fields = _fields(self.cpu / "cpu.stat")
            if "throttled_time" in fields:
                return fields["throttled_time"] / 1e9
        if self.unified is not None:
            return _fields(self.unified / "cpu.stat").get("throttled_usec", 0) / 1e6
        return 0.0


def find_cgroup(proc: Path = Path("/proc"), pid: str = "self") -> Cgroup:
    """The groups of a process that are its own.

    The machine's root group is left out, and so is one with processes that are no relatives of
    this one (a developer's terminal, a login session): their memory is not the node's.
    """
    groups = _groups(proc / pid / "cgroup")
    first_namespace = _in_first_namespace(proc / pid / "ns" / "cgroup")
    found: dict[str, Path] = {}
    for controllers, root, mount in _mounts(proc / pid / "mountinfo"):
        for controller in controllers:
            group = groups.get(controller)
            if group is None or (first_namespace and group == "/"):
                continue
            directory = _directory(mount, root, group)
            if directory is not None and not _shared(directory, proc, pid):
                found.setdefault(controller, directory)
    return Cgroup(unified=found.get(""), memory=found.get("memory"), cpu=found.get("cpu"))


def _in_first_namespace(link: Path) -> bool:
    try:
        return str(link.readlink()) == _FIRST_NAMESPACE
    except OSError:
        return False


def _groups(path: Path) -> dict[str, str]:
    """Controller (empty for v2) -> path of its group, from lines `id:controller,controller:path`."""
    groups: dict[str, str] = {}
    for line in _text(path).splitlines():
        _, controllers, group = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), group))
    return groups


def _mounts(path: Path) -> list[tuple[list[str], str, Path]]:
    """Controllers, root and place of each cgroup mount; mountinfo writes odd characters in octal."""
    mounts = []
    for line in _text(path).splitlines():
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if not separator or len(fields) < 5 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        controllers = [""] if kind[0] == "cgroup2" else kind[2].split(",")
        root, place = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), text) for text in fields[3:5])
        mounts.append((controllers, root, Path(place)))
    return mounts


def _directory(mount: Path, root: str, group: str) -> Path | None:
    """The group's directory below a mount that shows the hierarchy from `root` on."""
    base = root.rstrip("/")
    if group == root:
        relative = ""
    elif group.startswith(base + "/"):
        relative = group[len(base) + 1 :]
    else:
        # A container without a cgroup namespace: the path is the host's, the mount the container's.
        relative = ""
    directory = mount / relative
    return directory if directory.is_dir() else None


def _shared(directory: Path, proc: Path, pid: str) -> bool:
    """Whether processes live in the group that are neither ancestors nor descendants of this one."""
    members = [int(word) for word in _text(directory / "cgroup.procs").split()]
    me = _stat_field(proc / pid, 0)
    if me is None or not members:
        return False
    mine = set(_ancestry(proc, me))
    return any(member not in mine and me not in _ancestry(proc, member) for member in members)


def _ancestry(proc: Path, pid: int) -> list[int]:
    chain = []
    while pid and pid not in chain:
        chain.append(pid)
        pid = _stat_field(proc / str(pid), 1) or 0
    return chain


def _stat_field(directory: Path, index: int) -> int | None:
    """The process's own number (0) or its parent's (1), from `pid (name) state ppid ...`."""
    text = _text(directory / "stat")
    if not text:
        return None
    return int(text.split(" ", 1)[0] if index == 0 else text.rpartition(")")[2].split()[1])


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _fields(path: Path) -> dict[str, int]:
    """Values of lines `name number`."""
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
