"""A broker for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nats import NatsServer


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A broker of the test's own."""
    (tmp_path / "nats").mkdir()
    server = NatsServer(tmp_path / "nats").start()
    try:
        yield server
    finally:
        server.kill()
