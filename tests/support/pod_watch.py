"""What becomes of a fleet's pods, change by change, as the API server tells it."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.support.cluster import Client

_START_SECONDS = 20.0


@dataclass(frozen=True)
class PodChange:
    """How things stand after one change of a pod."""

    pods: dict[str, dict[str, Any]]
    """By name; those that are gone are left out."""

    def ready(self) -> set[str]:
        """Pods that serve: ready, and not on their way out."""
        return {name for name, pod in self.pods.items() if is_ready(pod)}


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is ready, and not on its way out."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    found = pod.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in found)


class PodWatch:
    """Notes all changes of the pods with a label, once `pods` of them are there, until the block ends."""

    def __init__(self, cluster: Client, namespace: str, selector: str, pods: int) -> None:
        self._least = pods
        self._argv = [
            *(cluster.kubectl_path, "--kubeconfig", str(cluster.kubeconfig), "get", "pods"),
            *("--namespace", namespace, "--selector", selector, "--watch", "--output-watch-events"),
            *("-o", "json"),
        ]
        self.changes: list[PodChange] = []
        self._pods: dict[str, dict[str, Any]] = {}
        self._begun = threading.Event()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, text=True)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        assert self._begun.wait(_START_SECONDS), f"fewer than {self._least} pods are there"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._reading.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        decoder, text = json.JSONDecoder(), ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text += line
            if not line.rstrip().endswith("}"):
                continue
            try:
                event, _ = decoder.raw_decode(text.strip())
            except ValueError:
                continue  # a brace amid the document
            text = ""
            pod = event["object"]
            if event["type"] == "DELETED":
                self._pods.pop(pod["metadata"]["name"], None)
            else:
                self._pods[pod["metadata"]["name"]] = pod
            if self._begun.is_set() or len(self._pods) >= self._least:
                self.changes.append(PodChange(dict(self._pods)))
                self._begun.set()

    def fewest_ready(self) -> int:
        """The fewest pods that served at once."""
        return min(len(one.ready()) for one in self.changes)
