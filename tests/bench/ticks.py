"""The messages of the benchmark: market ticks of 300 bytes that tell when they were published.

Two kinds: `ticks`, of which all but a few words are drawn anew each time, the hard case for whatever
saves bytes; and `market`, the ticker of one symbol as exchanges send it, quotes and trades mixed.
"""

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
        self._price = 48_000.0

    def tail(self) -> bytes:
        """A tick without its stamp and number, drawn ahead of time: what follows the number's comma."""
        draw = self._random
        self._price *= 1 + draw.gauss(0, 0.0002)
        tick = {
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


class Market:
    """The ticker of one symbol: two quotes for each trade, each of them changes what it changes.

    A quote moves the size, at times the price, of one side of the book; a trade the last price and
    size, the day's volume, count and change, and the side that it hit.
    """

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._price, self._volume, self._trades = 48_000.0, 18_233.1, 812_233
        self._tick = {
            "symbol": "BTC-USD",
            "price": "48000.00",
            "size": "0.0131",
            "side": "buy",
            "bid": "47999.50",
            "bidSize": "0.4120",
            "ask": "48000.50",
            "askSize": "1.2000",
            "open24h": "47210.11",
            "high24h": "48990.00",
            "low24h": "46880.52",
            "volume24h": "18233.1042",
            "change24h": "1.67",
            "trades24h": "812233",
        }

    def tail(self) -> bytes:
        """The ticker after one more event, as `Ticks.tail`."""
        draw, tick = self._random, self._tick
        side = draw.choice(("bid", "ask"))
        if draw.random() < 1 / 3:
            self._price = max(self._price + draw.gauss(0, 4), 1.0)
            size = draw.expovariate(8) + 0.0001
            self._volume += size
            self._trades += 1
            tick |= {
                "price": f"{self._price:.2f}",
                "size": f"{size:.4f}",
                "side": "buy" if side == "ask" else "sell",
                "volume24h": f"{self._volume:.4f}",
                "trades24h": str(self._trades),
                "change24h": f"{(self._price / 47_210.11 - 1) * 100:.2f}",
            }
        if draw.random() < 0.3:
            tick[side] = f"{self._price + (0.5 if side == 'ask' else -0.5) + draw.uniform(-0.2, 0.2):.2f}"
        tick[f"{side}Size"] = f"{draw.expovariate(1):.4f}"
        return json.dumps(tick, separators=(",", ":")).encode()[1:]


KINDS: dict[str, type[Ticks | Market]] = {"ticks": Ticks, "market": Market}


def payload(stamp_ns: int, number: int, tail: bytes) -> bytes:
    """The message: stamp, number, tick, and spaces inside the object up to PAYLOAD_BYTES.

    `number` counts the messages of its channel, so that a client can tell what it lacks without
    believing the node.
    """
    head = b'{"t":%d,"n":%d,' % (stamp_ns, number)
    return (head + tail[:-1]).ljust(PAYLOAD_BYTES - 1) + b"}"
