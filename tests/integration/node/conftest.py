"""A broker for a test, and the event loop that a node has in earnest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.support.nats import NatsServer
from tests.support.node_process import SERVE, node


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop, as in production: it watches descriptors and schedules calls in its own way."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A broker of the test's own, so that it may be killed."""
    server = NatsServer(tmp_path).start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def lone_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The client port of a node as a process of its own: without a broker it still talks to its clients."""
    directory = tmp_path_factory.mktemp("lone-node")
    settings = SERVE | {
        "NATS_URL": "nats://127.0.0.1:1",
        "WS_POSITION_INTERVAL": "300",
        "WS_CPU_LIMIT": "100",
        "WS_CPU_REJECT_THRESHOLD": "94",
        "WS_CPU_PAUSE_THRESHOLD": "99",
        "WS_MEMORY_LIMIT": "64Gi",
    }
    with node(directory, **settings) as process:
        yield int(process.logged("node started")["port"])
