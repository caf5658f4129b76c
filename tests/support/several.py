"""A node of several processes for tests, seen as its users and its operator see it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tests.support.node_process import SERVE, NodeProcess
from tests.support.wsclient import WsClient, request

TOKEN = "t-o-k-e-n"
WAIT_SECONDS = 30.0
_SAMPLE = re.compile(r'^(\w+)(?:\{\w+="([^"]*)"\})? (\S+)$', re.MULTILINE)


class Several:
    """A running `wsnode serve` with workers. Clients that it opened are closed with it."""

    def __init__(self, process: NodeProcess, count: int) -> None:
        self.process, self.count = process, count
        started = process.logged("node started")
        self._clients: list[WsClient] = []
        self.port, self.admin_port = int(started["port"]), int(started["admin_port"])

    @property
    def pid(self) -> int:
        """Of the parent."""
        return self.process.process.pid

    def ask(self, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
        """Status and JSON body of a request to the admin port."""
        content = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.admin_port}{path}",
            content,
            {"X-Wsfleet-Token": TOKEN},
            method=method,
        )
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def status(self) -> Any:
        """`GET /status`."""
        return self.ask("/status")[1]

    def metrics(self) -> dict[str, Any]:
        """Metric -> value, or label value -> value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found: dict[str, Any] = {}
        for name, label, value in _SAMPLE.findall(text):
            if label:
                found.setdefault(name, {})[label] = float(value)
            else:
                found[name] = float(value)
        return found

    def workers(self) -> list[int]:
        """Numbers of the workers that are there, by their place."""
        found = {}
        for pid in children_of(self.pid):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                if "wsnode.processes.worker" in words and state_of(pid) != "Z":
                    found[int(words[words.index("wsnode.processes.worker") + 2])] = pid
        return [found[place] for place in sorted(found)]

    async def open(self, *channels: str) -> WsClient:
        """A client that is let in, and subscribed to `channels`."""
        client = await WsClient.open(self.port, *channels)
        self._clients.append(client)
        return client

    async def knock(self, source: str | None = None) -> WsClient | str:
        """A client from this address that was let in, or why it was not."""
        address = None if source is None else (source, 0)
        client = WsClient(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=address))
        self._clients.append(client)
        await client.send_bytes(request(self.port))
        status, headers, body = await client.response()
        if status == 101:
            assert (await client.message())["type"] == "hello"
            return client
        assert (status, "retry-after" in headers) == (503, True)
        return body.decode().removeprefix("no more clients now: ").strip()

    async def shared(self, count: int, *channels: str) -> list[WsClient]:
        """So many clients, and more until each worker has some of them."""
        clients = [await self.open(*channels) for _ in range(count)]
        while not all(self.metrics()["ws_process_connections"].values()):
            clients.append(await self.open(*channels))
        return clients

    async def hang_up(self) -> None:
        """Closes all clients."""
        for client in self._clients:
            await client.close()


@contextlib.asynccontextmanager
async def several(
    directory: Path, nats_url: str, count: int = 2, *, ready: bool = True, **settings: str
) -> AsyncIterator[Several]:
    """A node with `count` workers, ready unless told otherwise; gone afterwards."""
    (directory / "tokens").write_text(TOKEN + "\n")
    values = SERVE | {
        "NATS_URL": nats_url,
        "WS_PROCESSES": str(count),
        "WS_ADMIN_TOKEN_FILE": str(directory / "tokens"),
        # Tests share a small machine with each other; what is under test there is not the CPU limit.
        "WS_CPU_LIMIT": "100",
        "WS_CPU_REJECT_THRESHOLD": "94",
        "WS_CPU_PAUSE_THRESHOLD": "99",
        "WS_MEMORY_LIMIT": "64Gi",
    }
    process = await asyncio.to_thread(NodeProcess, directory, **values | settings)
    try:
        node = await asyncio.to_thread(Several, process, count)
        try:
            if ready:
                await until(lambda: node.ask("/readyz")[0] == 200)
            yield node
        finally:
            await node.hang_up()
    finally:
        await asyncio.to_thread(process.stop)


async def until(condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Waits for a condition, and fails with its line when it does not come true."""
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, f"not so after {seconds} s: line {condition.__code__.co_firstlineno}"
        await asyncio.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """Numbers of a process's children, also of those that ended and were not waited for."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def state_of(pid: int) -> str:
    """The letter that the kernel gives: R, S, Z, ...; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_gone(pid: int) -> bool:
    """Whether no process has this number, or only one that nobody waited for."""
    return state_of(pid) in ("", "Z")


def kill(pid: int) -> None:
    """Ends a process of the test's own at once."""
    os.kill(pid, signal.SIGKILL)
