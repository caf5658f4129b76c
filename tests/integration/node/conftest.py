"""A broker for a test, and the event loop that a node has in earnest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.support.nats import NatsServer


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
