"""kubectl and helm against one cluster: what tests and `make up` use."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from tests.cluster.places import Places
from tests.cluster.shell import ClusterError

T = TypeVar("T")


class CommandError(ClusterError):
    """A command ended badly; its words are in ``stdout`` and ``stderr``."""

    def __init__(self, argv: list[str], code: int, stdout: str, stderr: str) -> None:
        super().__init__(f"{' '.join(argv)} failed ({code}):\n{stderr.strip() or stdout.strip()}")
        self.code = code
        self.stdout = stdout
        self.stderr = stderr


@dataclass(frozen=True)
class Client:
    """One cluster. The kubeconfig has a single context, so no later switch of contexts can lead elsewhere."""

    kubeconfig: Path
    kubectl_path: str
    helm_path: str
    images: Mapping[str, str]
    """What to run for ``wsnode``, ``operator`` and ``nats``."""
    places: Places | None = None
    """The local cluster's folders (for faults and logs); None for a cluster of the user's own."""

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True, timeout_seconds: float = 120
    ) -> str:
        """Run kubectl; its standard output. Raises CommandError if it fails and ``check`` is set."""
        return self._run(self.kubectl_path, arguments, input, check, timeout_seconds)

    def kubectl_json(self, *arguments: str) -> Any:
        """Run kubectl with ``-o json``; the parsed answer."""
        return json.loads(self.kubectl(*arguments, "-o", "json"))

    def apply(self, *objects: Mapping[str, Any], namespace: str | None = None) -> str:
        """``kubectl apply`` of objects given as values."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        where = ("--namespace", namespace) if namespace else ()
        return self.kubectl("apply", *where, "--filename", "-", input=json.dumps(listed))

    def helm(self, *arguments: str, check: bool = True, timeout_seconds: float = 300) -> str:
        """Run helm; its standard output. Raises CommandError if it fails and ``check`` is set."""
        return self._run(self.helm_path, arguments, None, check, timeout_seconds)

    def service_address(self, name: str, namespace: str) -> str:
        """A Service's ClusterIP; on the local cluster it is reachable from this machine."""
        address: str = self.kubectl_json("get", "service", name, "--namespace", namespace)["spec"][
            "clusterIP"
        ]
        return address

    def wait(
        self,
        description: str,
        predicate: Callable[[], T | Literal[False] | None],
        timeout_seconds: float = 30,
    ) -> T:
        """Ask ``predicate`` five times a second until it answers something true; that answer.

        A failing command or connection counts as "not yet". Raises ClusterError at the end.
        """
        end = time.monotonic() + timeout_seconds
        last: Exception | None = None
        while time.monotonic() < end:
            try:
                if answer := predicate():
                    return answer
                last = None
            except (ClusterError, OSError, LookupError) as error:
                last = error
            time.sleep(0.2)
        raise ClusterError(f"{description}: not within {timeout_seconds:g} s{f' ({last})' if last else ''}")

    def _run(
        self, program: str, arguments: tuple[str, ...], input: str | None, check: bool, timeout_seconds: float
    ) -> str:
        argv = [program, *arguments]
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        try:
            done = subprocess.run(
                argv, input=input, capture_output=True, text=True, env=env, timeout=timeout_seconds
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{' '.join(argv)}: no end within {timeout_seconds:g} s") from error
        if check and done.returncode:
            raise CommandError(argv, done.returncode, done.stdout, done.stderr)
        return done.stdout
