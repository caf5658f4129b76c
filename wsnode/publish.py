"""`wsnode pub`: sample prices at a rate, or piped messages, into the node's stream.

Every message is published with a JetStream acknowledgement, so what is reported as acknowledged
is in the stream.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from wsnode.config.sources import mask_addresses
from wsnode.credentials import CredentialsError, credentials_options

# fmt: off
_SYMBOLS = [
    "BTC", "ETH", "SOL", "BNB", "XRP", "ADA", "DOGE", "AVAX", "DOT", "LINK",
    "MATIC", "LTC", "UNI", "ATOM", "XLM", "NEAR", "APT", "ARB", "OP", "SUI",
]
# fmt: on
_MOST_UNACKNOWLEDGED = 1000
_LAST_ACKS_SECONDS = 5.0
_PAUSE_SECONDS = 0.01
_LONGEST_LINE_BYTES = 2**24

Message = tuple[str, bytes]  # subject, payload


class PublishError(Exception):
    """Publishing can't start or go on; the message is for the user."""


@dataclass(slots=True)
class Tally:
    """What came of a run.

    Attributes:
        sent, acknowledged, failed: messages.
        seconds: from the first message to now.
        first_error: of the failed ones.
    """

    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    seconds: float = 0.0
    first_error: str | None = None
    bad_lines: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One line for people."""
        rate = self.acknowledged / self.seconds if self.seconds > 0 else 0.0
        text = f"{self.acknowledged} messages in the stream, {rate:.1f} a second, {self.seconds:.1f} s"
        waiting = self.sent - self.acknowledged - self.failed
        if waiting:
            text += f", {waiting} not yet acknowledged"
        if self.failed:
            text += f", {self.failed} failed ({self.first_error})"
        return text


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how long.

    Attributes:
        rate_per_second: messages; 0 is as fast as they are acknowledged.
        count: messages after which to end; None for no such end.
        duration_seconds: after which to end; None for no such end.
    """

    rate_per_second: float = 0.0
    count: int | None = None
    duration_seconds: float | None = None


def sample_channels(number: int) -> list[str]:
    """So many channel names: BTC.trade, ETH.trade, ..., then S20.trade, S21.trade and so on."""
    known = _SYMBOLS[:number]
    return [f"{symbol}.trade" for symbol in known + [f"S{n}" for n in range(len(known), number)]]


def sample_prices(channels: list[str], prefix: str, payload_bytes: int, seed: int) -> Iterator[Message]:
    """Prices that wander, channel after channel, each payload padded to a size where it is smaller."""
    source = random.Random(seed)
    prices = {channel: source.uniform(1, 1000) for channel in channels}
    number = 0
    while True:
        for channel in channels:
            number += 1
            prices[channel] = max(prices[channel] * (1 + source.gauss(0, 0.001)), 0.0001)
            body: dict[str, Any] = {
                "symbol": channel.partition(".")[0],
                "price": round(prices[channel], 4),
                "volume": round(source.expovariate(0.1), 3),
                "n": number,
                "ts": time.time_ns() // 1_000_000,
            }
            short = payload_bytes - len(orjson.dumps(body))
            if short > 0:
                body["pad"] = "x" * max(short - len(b',"pad":""'), 0)
            yield prefix + channel, orjson.dumps(body)


def parse_line(line: bytes, channel: str | None, prefix: str) -> Message:
    """A message from a line: JSON alone when a channel is given, else `SUBJECT-or-CHANNEL JSON`.

    Raises:
        ValueError: it is neither.
    """
    name, payload = (channel, line) if channel is not None else _split_line(line)
    if not payload:
        raise ValueError("must hold JSON after the channel")
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise ValueError(_no_json(name, channel is None, error)) from error
    return name if name.startswith(prefix) else prefix + name, payload


def _split_line(line: bytes) -> tuple[str, bytes]:
    name, _, payload = line.partition(b" ")
    text = name.decode()
    if not text or text[0] in '{["' or any(c in "*>" or not c.isprintable() for c in text):
        raise ValueError("must begin with a channel, or name one by --channel")
    return text, payload.strip()


def _no_json(name: str, of_the_line: bool, error: Exception) -> str:
    if not of_the_line:
        return f"must be JSON: {error}"
    # `BTC trade {}` is more likely a channel misspelt than a payload.
    hint = "" if "." in name else ", and a channel has a dot, as BTC.trade"
    return f"must be a channel and JSON: what follows {name} is none ({error}){hint}"


async def read_lines(descriptor: int) -> AsyncIterator[bytes]:
    """Lines of a pipe, a terminal or a file as they come, without blocking the event loop."""
    rest = b""
    while chunk := await _read(descriptor):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > _LONGEST_LINE_BYTES:
            raise PublishError(f"a line is above {_LONGEST_LINE_BYTES} bytes")
    if rest:
        yield rest


async def _read(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(descriptor, readable.set)
    except PermissionError:  # epoll takes no regular files, and those never make one wait
        return os.read(descriptor, 65_536)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, 65_536)


async def from_samples(messages: Iterator[Message]) -> AsyncIterator[Message]:
    """Messages of an endless source."""
    for message in messages:
        yield message


async def paced(messages: AsyncIterator[Message], pace: Pace) -> AsyncIterator[Message]:
    """The messages at a pace, for as long or as many as it says."""
    started, sent = time.monotonic(), 0
    while pace.count is None or sent < pace.count:
        elapsed = time.monotonic() - started
        if pace.duration_seconds is not None and elapsed >= pace.duration_seconds:
            return
        if pace.rate_per_second and sent > elapsed * pace.rate_per_second:
            await asyncio.sleep(min(_PAUSE_SECONDS, 1 / pace.rate_per_second))
            continue
        try:
            message = await anext(messages)
        except StopAsyncIteration:
            return
        sent += 1
        yield message


async def from_lines(
    lines: AsyncIterator[bytes], channel: str | None, prefix: str, tally: Tally
) -> AsyncIterator[Message]:
    """Messages of lines; a bad line is noted in the tally and left out, an empty one passed over."""
    number = 0
    async for line in lines:
        number += 1
        if not line.strip():
            continue
        try:
            yield parse_line(line.strip(), channel, prefix)
        except ValueError as error:
            tally.bad_lines.append(f"line {number}: {error}")


async def publish(
    url: str,
    messages: AsyncIterator[Message],
    tally: Tally,
    *,
    credentials: str = "",
    report: Callable[[Tally], None] | None = None,
) -> Tally:
    """Publishes all messages and waits for their acknowledgements; `report` is called each second.

    Raises:
        PublishError: no broker answers, it takes none of the messages, or it goes away.
    """
    import nats
    from nats.errors import Error as NatsError

    try:
        options = credentials_options(credentials)
    except CredentialsError as error:
        raise PublishError(str(error)) from error
    last_errors: list[Exception] = []

    async def note(error: Exception) -> None:
        last_errors[:] = [error]

    try:
        # Few and quick attempts: somebody waits at a terminal.
        client = await nats.connect(
            url.split(","),
            error_cb=note,
            allow_reconnect=False,
            connect_timeout=5,
            max_reconnect_attempts=1,
            reconnect_time_wait=1,
            **options,
        )
    except Exception as error:  # the library raises its own, OSError, and asyncio's
        # In the end it says only that no server is left; the cause came before.
        cause = next(iter(last_errors), error)
        raise PublishError(f"no broker at {mask_addresses(url)}: {cause or type(cause).__name__}") from error
    try:
        await _publish_all(client.jetstream(), messages, tally, report)
    except NatsError as error:
        raise PublishError(f"the broker is gone: {tally.line()}") from error
    finally:
        await client.close()
    return tally


async def _publish_all(
    stream: Any, messages: AsyncIterator[Message], tally: Tally, report: Callable[[Tally], None] | None
) -> None:
    slots = asyncio.Semaphore(_MOST_UNACKNOWLEDGED)
    started = reported = time.monotonic()

    def acknowledged(future: asyncio.Future[Any]) -> None:
        slots.release()
        if future.cancelled() or future.exception() is not None:
            tally.failed += 1
            error = None if future.cancelled() else future.exception()
            tally.first_error = tally.first_error or _explain(error)
        else:
            tally.acknowledged += 1

    try:
        async for subject, payload in messages:
            # Before the next one is sent: the last ones had their time to be acknowledged.
            if report is not None and time.monotonic() - reported >= 1:
                reported = time.monotonic()
                report(tally)
            async with asyncio.timeout(_LAST_ACKS_SECONDS):
                await slots.acquire()
            (await stream.publish_async(subject, payload)).add_done_callback(acknowledged)
            tally.sent += 1
            tally.seconds = time.monotonic() - started
            if tally.failed and not tally.acknowledged:
                raise PublishError(f"the broker takes no message: {tally.first_error}")
        async with asyncio.timeout(_LAST_ACKS_SECONDS):
            await stream.publish_async_completed() if tally.sent else None
    except TimeoutError as error:
        raise PublishError(f"the broker stopped acknowledging: {tally.line()}") from error
    finally:
        tally.seconds = time.monotonic() - started
    await asyncio.sleep(0)  # the callbacks of the last futures


def _explain(error: BaseException | None) -> str:
    name = type(error).__name__
    if name == "NoStreamResponseError":
        return "no stream takes this subject; the node makes a missing one when it starts"
    return str(error) or name
