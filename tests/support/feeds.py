"""The ways of reading a stream that must behave the same, and what feed tests do to a node."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from nats.js.api import RePublish

from tests.support.node import node_settings, until
from tests.support.wsclient import WsClient
from wsnode.config import Settings
from wsnode.node import Node

REPUBLISH = "ws.live.>"


@dataclass(frozen=True)
class Way:
    """How a node reads a stream: its own settings for it, and the stream's."""

    name: str
    node: dict[str, Any] = field(default_factory=dict)
    stream: dict[str, Any] = field(default_factory=dict)

    def settings(self, url: str, **changes: Any) -> Settings:
        """Settings of a node that reads in this way."""
        return node_settings(url, **self.node | changes)


CONSUMER = Way("consumer")
REPUBLISHED = Way(
    "republished", {"republish_subject": REPUBLISH}, {"republish": RePublish(src=">", dest=REPUBLISH)}
)
each_way = pytest.mark.parametrize("way", [CONSUMER, REPUBLISHED], ids=lambda way: way.name)


def seeded() -> int:
    """What random numbers of a test begin with, printed; FEED_SEED repeats those of an earlier run."""
    seed = int(os.environ.get("FEED_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    print(f"FEED_SEED={seed}")
    return seed


def hold(node: Node, paused: bool) -> None:
    """As a CPU figure above (or again below) its pause threshold would."""
    node._admission.paused = lambda percent: paused  # type: ignore[assignment,method-assign]
    node.feed_reader.pause(paused)


def transport_of(node: Node) -> Any:
    """What the node's connection to the broker reads from."""
    client: Any = node.feed_reader._client
    return client._transport._io_writer.transport


def cut(node: Node) -> None:
    """Ends the node's connection to the broker without a word, if it has one."""
    client = node.feed_reader._client
    if client is not None and client.is_connected:
        transport_of(node).abort()


async def data(client: WsClient, count: int) -> list[dict[str, Any]]:
    """The next data messages; news of the feed are passed over."""
    got: list[dict[str, Any]] = []
    while len(got) < count:
        message = await client.message()
        if ":" in message["type"]:
            got.append(message)
    return got


async def lives_on_the_flow(node: Node) -> None:
    """Waits until a node takes what the stream republishes, and reads no consumer."""
    reader: Any = node.feed_reader._reader
    await until(lambda: reader._flow is not None and reader._flow.live)


async def settle(seconds: float = 0.2) -> None:
    """Lets what is under way arrive."""
    await asyncio.sleep(seconds)
