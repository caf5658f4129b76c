"""The scripted fleet with clients on its nodes: who is closed comes back to a node that takes new ones.

Clients are numbers only. Nodes take their time to start, drain and shed, so that there is a while in which
an operator can die; what is done to clients is counted.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from tests.support.scripted_api import Object
from tests.support.scripted_fleet import Command, ScriptedFleet, ScriptedNode
from wsfleet.resources import names

START_SECONDS = 0.7
"""From a pod's making until it is ready."""
LONGEST_TURN_SECONDS = 0.1


class CrowdedNode(ScriptedNode):
    """A node with clients, which it closes at the rate that it was told."""

    def __init__(self, name: str, token_file: Path, heard: list[Command]) -> None:
        super().__init__(name, token_file, heard)
        self.clients = 0
        self.rate = 0.0
        self.target = 0
        self._made = time.monotonic()
        self._owed = 0.0
        self._shed_id = ""

    @property
    def ready(self) -> bool:
        return not self.draining and time.monotonic() - self._made >= START_SECONDS

    @property
    def closing(self) -> bool:
        """Clients are being closed here, some are and some are not yet."""
        return self.rate > 0 and self.clients > self.target

    def figures(self) -> Object:
        state = "none" if not self.draining else "closing" if self.clients else "drained"
        found: Object = {
            "connections": {"current": self.clients, "max": 9000},
            "drain": {"state": state, "remaining": self.clients if self.draining else 0},
        }
        if self._shed_id:
            left = self.clients - self.target if self.closing else 0
            found["shed"] = {"id": self._shed_id, "target": self.target, "remaining": left}
        return found

    def drain(self, rate: float | None) -> None:
        if not self.draining:
            self._owed = 0.0
        self.draining, self.target, self.rate, self._shed_id = True, 0, rate or 100.0, ""

    def cancel_drain(self) -> None:
        self.draining, self.rate = False, 0.0

    def shed(self, body: Object) -> None:
        if self.draining or body["id"] == self._shed_id:
            return
        self._shed_id, self.target, self.rate, self._owed = body["id"], body["target"], body["rate"], 0.0

    def let_go(self, seconds: float) -> int:
        """How many clients it closes in so many seconds."""
        if not self.closing:
            return 0
        self._owed += self.rate * seconds
        closed = min(int(self._owed), self.clients - self.target)
        self._owed -= closed
        self.clients -= closed
        return closed


class CrowdedFleet(ScriptedFleet):
    """Its nodes share a number of clients."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder)
        self.closes: list[tuple[float, int]] = []
        """When clients were closed, and how many."""
        self.cut_off = 0
        """Clients whose pod was removed while they were there."""
        self.away = 0
        """Clients that no node takes."""
        self.most_pods = 0
        self.fewest_ready = 0
        self._chance = chance
        self._last = time.monotonic()

    def make_node(self, name: str) -> CrowdedNode:
        return CrowdedNode(name, self.token_file, self.commands)

    def removed(self, node: Any) -> None:
        self.cut_off += node.clients
        self.away += node.clients

    @property
    def closed(self) -> int:
        """Closes since the account was opened."""
        return sum(number for _, number in self.closes)

    def open_account(self) -> None:
        """Count from now on."""
        self.closes.clear()
        self.commands.clear()
        self.cut_off = self.most_pods = 0
        self.fewest_ready = len(self.nodes)

    def turn(self) -> None:
        now = time.monotonic()
        # Where this loop was held up, the nodes were too: they do not make good for it at once.
        seconds, self._last = min(now - self._last, LONGEST_TURN_SECONDS), now
        closed = sum(node.let_go(seconds) for node in self.nodes.values())
        if closed:
            self.closes.append((now, closed))
        self.away += closed
        takers = self._takers()
        if takers:
            for _ in range(self.away):
                self._chance.choice(takers).clients += 1
            self.away = 0
        pods = self.api.all("pods")
        self.most_pods = max(self.most_pods, len(pods))
        self.fewest_ready = min(self.fewest_ready, sum(_is_ready(pod) for pod in pods))

    def _takers(self) -> list[CrowdedNode]:
        """Nodes that the Service sends new clients to."""
        return [
            self.nodes[pod["metadata"]["name"]]
            for pod in self.api.all("pods")
            if pod["metadata"]["labels"].get(names.SERVING_LABEL) == names.SERVING
            and _is_ready(pod)
            and pod["metadata"]["name"] in self.nodes
        ]

    def most_closes(self, window_seconds: float) -> int:
        """The most closes within a time of this length."""
        return max(
            (
                sum(number for at, number in self.closes if began <= at < began + window_seconds)
                for began, _ in self.closes
            ),
            default=0,
        )


def _is_ready(pod: Object) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])
