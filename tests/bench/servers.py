"""The servers under test: how each is had, started and published to."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.bench import provide
from tests.bench.processes import BenchError, Child, free_port
from tests.bench.provide import Say
from tests.cluster.shell import ClusterError, wait_until

_READY_SECONDS = 60.0


@dataclass(frozen=True)
class Place:
    """Where a server is to run: its files, its core, and the broker that it reads from."""

    directory: Path
    cores: Collection[int]
    broker_port: int
    connections: int
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the node, for this case."""


@dataclass(frozen=True)
class Running:
    """A server that takes clients."""

    child: Child
    port: int
    dialect: str
    publish: tuple[str, int]
    """Protocol (nats, ws) and port that the publisher speaks to."""
    admin: int = 0
    """The node's admin port."""


class Server(Protocol):
    """One server of the comparison."""

    name: str
    title: str
    go: bool
    """Counts among the Go servers."""

    def prepare(self, say: Say) -> None:
        """Builds or installs what is missing. Raises UnavailableError."""
        ...

    def start(self, place: Place) -> Running:
        """Starts it and waits until it takes clients. Raises BenchError."""
        ...


@dataclass
class Node:
    """The node itself, with its own limits out of the way: what is measured is the fan-out."""

    name: str = "wsnode"
    title: str = "wsnode"
    go: bool = False

    def prepare(self, say: Say) -> None:
        """It is here."""

    def start(self, place: Place) -> Running:
        """Ready means that its feed has caught up with the stream."""
        port, admin = free_port(), free_port()
        most = 2 * place.connections
        env = {
            "WS_ADDR": f"127.0.0.1:{port}",
            "WS_ADMIN_ADDR": f"127.0.0.1:{admin}",
            "NATS_URL": f"nats://127.0.0.1:{place.broker_port}",
            "WS_CPU_LIMIT": "1",
            "WS_MAX_CONNECTIONS": str(most),
            "WS_MAX_GOROUTINES": str(2 * most + 1000),
            "WS_CPU_REJECT_THRESHOLD": "94",
            "WS_CPU_PAUSE_THRESHOLD": "99",
            "WS_DRAIN_DELAY": "0",
            "LOG_LEVEL": "warning",
            **place.settings,
        }
        argv = [sys.executable, "-m", "wsnode", "serve"]
        child = Child(argv, place.cores, place.directory / "log", env=env)

        def ready() -> bool:
            if child.process.poll() is not None:
                return True  # There is nothing to wait for.
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        _wait(child, "the node is ready", ready)
        return Running(child, port, "node", ("nats", place.broker_port), admin)


@dataclass
class Floor:
    """One send a delivery in C."""

    name: str = "floor"
    title: str = "C floor"
    go: bool = False

    def prepare(self, say: Say) -> None:
        """Compiles it. Raises UnavailableError."""
        self._binary = provide.floor(say)

    def start(self, place: Place) -> Running:
        """It subscribes before it takes its first client."""
        port = free_port()
        child = Child([self._binary, str(port), str(place.broker_port)], place.cores, place.directory / "log")
        return _listening(child, port, "node", ("nats", place.broker_port))


@dataclass
class Websockets:
    """The `websockets` library's asyncio server and broadcast, on uvloop."""

    name: str = "websockets"
    title: str = "websockets"
    go: bool = False

    def prepare(self, say: Say) -> None:
        """A dependency of the project."""

    def start(self, place: Place) -> Running:
        """It subscribes before it takes its first client."""
        port = free_port()
        script = provide.HERE / "peers" / "websockets_server.py"
        argv: list[str | Path] = [sys.executable, script, str(port), str(place.broker_port)]
        child = Child(argv, place.cores, place.directory / "log")
        return _listening(child, port, "node", ("nats", place.broker_port))


@dataclass
class UWebSockets:
    """uWebSockets' native publish, through socketify."""

    name: str = "uwebsockets"
    title: str = "uWebSockets"
    go: bool = False

    def prepare(self, say: Say) -> None:
        """Installs socketify. Raises UnavailableError."""
        self._python = provide.uwebsockets(say)

    def start(self, place: Place) -> Running:
        """Published to by a WebSocket of its own."""
        port = free_port()
        script = provide.HERE / "peers" / "uwebsockets_server.py"
        child = Child([self._python, script, str(port)], place.cores, place.directory / "log")
        return _listening(child, port, "node", ("ws", port))


@dataclass
class NatsWebSocket:
    """nats-server's own WebSocket port; published to directly, no second broker in between."""

    name: str = "nats-ws"
    title: str = "nats-server WebSocket"
    go: bool = True

    def prepare(self, say: Say) -> None:
        """Finds it. Raises UnavailableError."""
        self._binary = provide.nats_server()

    def start(self, place: Place) -> Running:
        """Without compression and without TLS, as all others."""
        port, plain = free_port(), free_port()
        config = place.directory / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{plain}"\n'
            f'websocket {{ listen: "127.0.0.1:{port}", no_tls: true, handshake_timeout: "30s" }}\n'
        )
        env = {"GOMAXPROCS": "1"}
        child = Child([self._binary, "-c", config], place.cores, place.directory / "log", env=env)
        return _listening(child, port, "nats", ("nats", plain))


@dataclass
class Centrifugo:
    """Centrifugo with the NATS broker in raw mode, tuned: small buffers, a patient collector."""

    name: str = "centrifugo"
    title: str = f"Centrifugo {provide.CENTRIFUGO}"
    go: bool = True

    def prepare(self, say: Say) -> None:
        """Builds it. Raises UnavailableError."""
        self._binary = provide.centrifugo(say)

    def start(self, place: Place) -> Running:
        """A channel is the subject without its prefix."""
        port = free_port()
        raw = {"enabled": True, "prefix": "odin.token."}
        nats = {"url": f"nats://127.0.0.1:{place.broker_port}", "raw_mode": raw}
        config = {
            "http_server": {"address": "127.0.0.1", "port": port},
            "log": {"level": "error"},
            "client": {"allow_anonymous_connect_without_token": True, "channel_limit": 1000},
            "channel": {
                "without_namespace": {
                    "allow_subscribe_for_client": True,
                    "allow_subscribe_for_anonymous": True,
                }
            },
            "websocket": {"read_buffer_size": 512, "write_buffer_size": 512, "use_write_buffer_pool": True},
            "broker": {"enabled": True, "type": "nats", "nats": nats},
        }
        path = place.directory / "centrifugo.json"
        path.write_text(json.dumps(config))
        env = {"GOMAXPROCS": "1", "GOGC": "400"}
        child = Child([self._binary, "-c", path], place.cores, place.directory / "log", env=env)
        return _listening(child, port, "centrifugo", ("nats", place.broker_port))


def all_servers() -> list[Server]:
    """The node first, then what it is held against."""
    return [Node(), Floor(), Websockets(), UWebSockets(), NatsWebSocket(), Centrifugo()]


def _listening(child: Child, port: int, dialect: str, publish: tuple[str, int]) -> Running:
    try:
        child.wait_for_port(port)
    except BenchError:
        child.end()
        raise
    return Running(child, port, dialect, publish)


def _wait(child: Child, what: str, ready: Callable[[], bool]) -> None:
    try:
        wait_until(what, ready, _READY_SECONDS)
    except ClusterError as error:
        child.end()
        raise BenchError(str(error)) from error
    if child.process.poll() is not None:
        raise BenchError(child.complaint())
