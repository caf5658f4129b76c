"""Tokens exchanged while a node runs: what the operator sends, at the node's own door."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.node_view import Figures
from wsfleet.reconcile.mounted import first_token
from wsfleet.scrape import DirectTransport, NodeAdmin, ScrapeError, Target
from wsnode.admin import AdminServer
from wsnode.config import Settings

NODE = Target("u1", "games", "odin-1", "127.0.0.1")


class Fleet:
    """A Secret, the file that a kubelet makes of it, and a node that reads it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.secret: dict[str, str] = {}
        self.admin: NodeAdmin

    def write(self, text: str) -> None:
        self.secret = {"tokens": base64.b64encode(text.encode()).decode()}

    def sync(self) -> None:
        self.file.write_bytes(base64.b64decode(self.secret["tokens"]))

    async def drain(self) -> None:
        await self.admin.drain(NODE, first_token(self.secret), rate=100)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path / "tokens")
    fleet.write("old\n")
    fleet.sync()
    settings = Settings(admin_addr="127.0.0.1:0", admin_token_file=str(fleet.file))
    server = AdminServer(Figures(settings=settings, connections=8))
    await server.start()
    fleet.admin = NodeAdmin(DirectTransport(server.port))
    yield fleet
    await fleet.admin.close()
    await server.stop()


async def test_a_token_is_exchanged_line_by_line_without_a_restart(fleet: Fleet) -> None:
    await fleet.drain()
    held = first_token(fleet.secret)
    fleet.write("new\nold\n")
    with pytest.raises(ScrapeError, match="403"):
        await fleet.drain()  # the kubelet is not there yet; the operator tries again
    fleet.sync()
    await fleet.drain()
    await fleet.admin.drain(NODE, held)  # an operator that has not read the Secret again
    fleet.write("new\n")
    fleet.sync()
    await fleet.drain()
    with pytest.raises(ScrapeError, match="403"):
        await fleet.admin.drain(NODE, held)


@pytest.mark.parametrize(
    ("data", "token"),
    [
        ({"tokens": base64.b64encode(b"\n  new \nold\n").decode()}, "new"),
        ({"tokens": base64.b64encode(b"\xff\xfe").decode()}, ""),
        ({"tokens": "!"}, ""),
        ({"tokens": ""}, ""),
        ({}, ""),
    ],
)
def test_the_first_line_is_the_operators(data: dict[str, str], token: str) -> None:
    assert first_token(data) == token
