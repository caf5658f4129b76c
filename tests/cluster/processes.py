"""The cluster's processes: started in the background, recorded, and only recorded ones are ever ended.

A pid alone does not name a process, since the kernel hands numbers out again: a record holds the pid and
the start time that /proc tells.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.shell import wait_until

MARK = "WSFLEET_CLUSTER"
"""Set to the state folder in every process of a cluster; orphans of a recorded group are known by it."""
# The process records itself before it becomes the program: an `up` that is killed leaves none unrecorded.
RECORD_THEN_EXEC = 'echo "$$ $(cut -d" " -f22 /proc/$$/stat)" > "$0" && exec "$@"'


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that matter here (proc_pid_stat(5))."""

    state: str
    parent: int
    group: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Stat | None:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = text.rsplit(")", 1)[1].split()
        return cls(fields[0], int(fields[1]), int(fields[2]), fields[19])


class Processes:
    """The recorded processes of the cluster whose state folder is ``state``."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "pid"
        self.logs = state / "log"

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*"))

    def spawn(
        self, name: str, argv: list[str], netns: str | None = None, env: dict[str, str] | None = None
    ) -> None:
        """Start ``argv`` in a session of its own, in network namespace ``netns``; its words go to a log."""
        if netns:
            # Not `ip netns exec`: that mounts /sys anew, which hides the cgroup mounts.
            argv = ["nsenter", f"--net=/run/netns/{netns}", *argv]
        record = self.folder / name
        # `setsid --fork` makes it nobody's child: it outlives us, and PID 1 collects it when it ends.
        detached = ["setsid", "--fork", "sh", "-c", RECORD_THEN_EXEC, str(record), *argv]
        env = {**os.environ, MARK: str(self.state), **(env or {})}
        with (self.logs / f"{name}.log").open("ab") as log:
            subprocess.run(
                detached, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd="/", check=True
            )
        wait_until(f"record of {name}", lambda: self._recorded(name), 10)

    def _recorded(self, name: str) -> tuple[int, str] | None:
        try:
            pid, started = (self.folder / name).read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid), started

    def alive(self, name: str) -> int | None:
        """The recorded pid if that very process still runs, else None."""
        recorded = self._recorded(name)
        if recorded is None:
            return None
        stat = Stat.of(recorded[0])
        return recorded[0] if stat and stat.started == recorded[1] and stat.state not in "ZX" else None

    def members(self, name: str) -> list[int]:
        """The living processes of a recorded group, also when its leader is gone."""
        recorded = self._recorded(name)
        if recorded is None:
            return []
        return [
            pid for pid in living() if (s := Stat.of(pid)) and s.group == recorded[0] and self._is_marked(pid)
        ]

    def _is_marked(self, pid: int) -> bool:
        try:
            return f"{MARK}={self.state}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def stop(self, name: str, sig: signal.Signals = signal.SIGTERM, timeout_seconds: float = 15) -> None:
        """End a recorded process and its group, by SIGKILL after ``timeout_seconds``; forget the record."""
        if pid := self.alive(name):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, sig)
            end = time.monotonic() + timeout_seconds
            while self.alive(name) and time.monotonic() < end:
                time.sleep(0.03)
        for member in self.members(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        (self.folder / name).unlink(missing_ok=True)


def living() -> list[int]:
    """The pids of all processes that are not zombies."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if (stat := Stat.of(pid)) and stat.state not in "ZX"]
