"""Where the cluster keeps its state, and what it caches for the next time."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_STATE = "/tmp/wsfleet-cluster"
MAX_STATE_LENGTH = 60
"""Sockets lie some 45 characters below the state folder, and Linux takes socket paths of 107."""
HIDDEN_IN_NODES = ("/run", "/var", "/proc", "/sys", "/dev")
"""A node has its own of these: what lies below them on the machine cannot be seen inside."""


def default_state() -> Path:
    """The state folder: ``WSFLEET_CLUSTER_STATE``, or a short one under /tmp."""
    return Path(os.environ.get("WSFLEET_CLUSTER_STATE", DEFAULT_STATE)).absolute()


def default_cache() -> Path:
    """The user's cache: ``$XDG_CACHE_HOME/wsfleet`` or ``~/.cache/wsfleet``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "wsfleet"


@dataclass(frozen=True)
class Places:
    """The folders of one cluster."""

    state: Path
    cache: Path

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def pids(self) -> Path:
        return self.state / "pid"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def record(self) -> Path:
        """What was brought up, so that later commands (and other checkouts) need no options again."""
        return self.state / "cluster.json"

    @property
    def marker(self) -> Path:
        """Says that the state folder is a cluster's, from before anything else is in it."""
        return self.state / ".wsfleet-cluster"

    def claim(self) -> None:
        """Makes the state folder, marked as a cluster's."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.marker.touch()

    def ours(self) -> bool:
        """Whether the state folder is a cluster's (or empty): what it is not, is never cleared."""
        if not self.state.exists():
            return True
        return self.marker.exists() or self.record.exists() or not any(self.state.iterdir())

    def node(self, name: str) -> Path:
        return self.state / name

    def node_names(self) -> list[str]:
        """The nodes that have a folder, running or not."""
        return sorted(path.name for path in self.state.glob("n[1-9]"))

    def problem(self) -> str | None:
        """Why these folders cannot serve, in one line."""
        for what, path in (("state", self.state), ("cache", self.cache), ("repository", REPOSITORY)):
            if path.as_posix().startswith(tuple(f"{hidden}/" for hidden in HIDDEN_IN_NODES)):
                hidden = ", ".join(HIDDEN_IN_NODES)
                return f"the {what} folder {path} lies under one of {hidden}, which nodes have of their own"
        if len(str(self.state)) > MAX_STATE_LENGTH:
            return f"the state folder {self.state} has over {MAX_STATE_LENGTH} characters: too long"
        if not self.ours():
            return f"the state folder {self.state} exists and is not a cluster's: name an empty one"
        return None


@dataclass(frozen=True)
class Record:
    """What ``up`` was asked for."""

    binaries: Path
    proxy_mode: str

    def write(self, places: Places) -> None:
        places.record.write_text(json.dumps({"binaries": str(self.binaries), "proxy_mode": self.proxy_mode}))

    @classmethod
    def read(cls, places: Places) -> Record | None:
        """The record of the cluster in ``places``; None where there is none (or half a one)."""
        try:
            data: dict[str, Any] = json.loads(places.record.read_text())
            return cls(Path(data["binaries"]), data["proxy_mode"])
        except (OSError, ValueError, KeyError):
            return None
