"""The cluster of a test session: raised once, when a test needs it, and taken down only if raised here."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

from tests.cluster import choice, lifecycle, ruin
from tests.cluster.client import Client, CommandError
from tests.cluster.places import Places, default_cache, default_state
from tests.cluster.shell import ClusterError

__all__ = ["Client", "ClusterError", "CommandError", "SessionCluster", "diagnostics", "new_namespace"]

LOG_LINES = "60"


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def reason_to_skip() -> str | None:
    """Why tests that need a cluster cannot run here, where that is no failure: never in CI."""
    if in_ci() or choice.kind(os.environ) != "local" or os.geteuid() == 0:
        return None
    return "the local cluster needs root (or CLUSTER=current)"


@dataclass
class SessionCluster:
    """What the session knows of its cluster."""

    places: Places = field(default_factory=lambda: Places(default_state(), default_cache()))
    started: bool = False
    """Whether this session started it, and so ends it."""
    client: Client | None = None
    failure: ClusterError | None = None
    users: TextIO | None = None
    """Locked by each session that uses the cluster: the one that started it may end before the others."""

    def raise_once(self) -> None:
        """Raise the cluster; a failure is kept for the tests that need it, and not tried again."""
        if self.client is not None or self.failure is not None:
            return
        self.places.cache.mkdir(parents=True, exist_ok=True)
        self.users = (self.places.cache / "cluster.users").open("w")
        fcntl.flock(self.users, fcntl.LOCK_SH)
        try:
            self.client, self.started = choice.use(self.places)
        except ClusterError as error:
            self.failure = error
            # A start that failed half-way is ours to clear; a cluster of somebody else is not.
            if choice.kind(os.environ) == "local" and ruin.traces(self.places).records:
                self.started = not lifecycle.healthy(self.places)

    def get(self) -> Client:
        self.raise_once()
        if self.failure is not None:
            raise self.failure
        assert self.client is not None
        return self.client

    @property
    def ours(self) -> bool:
        """Whether this session may end the cluster: it started it, or the whole machine is its own (CI)."""
        return choice.kind(os.environ) == "local" and (self.started or in_ci())

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[bool]:
        """Hold the cluster against all other sessions; False where it is not ours alone to harm."""
        self.get()
        if self.users is None or not self.ours:
            yield False
            return
        try:
            fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            fcntl.flock(self.users, fcntl.LOCK_SH)

    def renew(self) -> None:
        """Load the images anew, after a test that started the cluster from nothing."""
        self.client = choice.local_client(self.places)

    def close(self) -> list[str]:
        """End the cluster if it is ours and no other session uses it; what is left over."""
        if self.users is None:
            return []
        with self.users:
            if not self.ours:
                return []
            try:
                fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("the cluster stays: other tests use it")
                return []
            return lifecycle.down(self.places)


def new_namespace(client: Client) -> str:
    """A fresh namespace, ready for pods (their service account is made a moment after the namespace)."""
    name = f"wsf-test-{secrets.token_hex(4)}"
    client.kubectl("create", "namespace", name)
    account = ("get", "serviceaccount", "default", "--namespace", name)
    client.wait(f"the service account of {name}", lambda: client.kubectl(*account))
    return name


def diagnostics(client: Client, namespace: str) -> str:
    """What is in the namespace, what happened, and what its pods said."""
    where = ("--namespace", namespace)
    shown = [
        ("fleets", ("get", "wsfleets", *where, "-o", "yaml")),
        ("objects", ("get", "all", *where, "-o", "wide")),
        ("events", ("get", "events", *where, "--sort-by=.lastTimestamp")),
    ]
    pods = client.kubectl("get", "pods", *where, "-o", "name", check=False).split()
    for pod in pods[:8]:
        shown.append((f"log of {pod}", ("logs", pod, *where, "--all-containers", f"--tail={LOG_LINES}")))
        shown.append(
            (f"log of {pod} before its restart", ("logs", pod, *where, "--previous", f"--tail={LOG_LINES}"))
        )
    texts = ((title, client.kubectl(*arguments, check=False)) for title, arguments in shown)
    return "\n".join(f"--- {title}\n{text.rstrip()}" for title, text in texts if text.strip())
