"""The messages of the benchmark: market ticks of 300 bytes that tell when they were published."""

from __future__ import annotations

import json
import random
import re

PAYLOAD_BYTES = 300
"""With a node's envelope and the frame's header about 400 bytes on the wire."""
STAMP = re.compile(rb'\{"t":(\d+),')
"""Where a payload begins: its stamp is the publisher's monotonic clock in nanoseconds."""


class Ticks:
    """Ticks of one market after another; only what a tick changes is drawn anew."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._number = 0
        self._price = 48_000.0

    def tail(self) -> bytes:
        """A tick without its stamp, drawn ahead of time: what follows the stamp's comma."""
        draw = self._random
        self._number += 1
        self._price *= 1 + draw.gauss(0, 0.0002)
        tick = {
            "n": self._number,
            "id": f"{draw.getrandbits(64):016x}",
            "price": f"{self._price:.4f}",
            "bid": f"{self._price * 0.9999:.4f}",
            "ask": f"{self._price * 1.0001:.4f}",
            "volume24h": f"{draw.uniform(1e6, 9e6):.2f}",
            "change24h": f"{draw.uniform(-5, 5):.3f}",
            "side": draw.choice(("buy", "sell")),
            "source": "aggregated-exchange-feed",
            "last": [round(self._price + draw.uniform(-9, 9), 2) for _ in range(9)],
        }
        return json.dumps(tick, separators=(",", ":")).encode()[1:]


def payload(stamp_ns: int, tail: bytes) -> bytes:
    """The message: stamp, tick, and spaces inside the object up to PAYLOAD_BYTES."""
    head = b'{"t":%d,' % stamp_ns
    return (head + tail[:-1]).ljust(PAYLOAD_BYTES - 1) + b"}"
