"""Sample prices, lines and pace of `wsnode pub`, without a broker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.publish import (
    Pace,
    PublishError,
    Tally,
    from_lines,
    from_samples,
    paced,
    parse_line,
    read_lines,
    sample_channels,
    sample_prices,
)

PREFIX = "odin.token."


def test_channels_have_known_names_first() -> None:
    assert sample_channels(3) == ["BTC.trade", "ETH.trade", "SOL.trade"]
    assert sample_channels(22)[19:] == ["SUI.trade", "S20.trade", "S21.trade"]
    assert len(set(sample_channels(1000))) == 1000


def test_samples_go_round_the_channels_and_look_like_prices() -> None:
    messages = list(islice(sample_prices(["BTC.trade", "ETH.trade"], PREFIX, 0, seed=1), 4))
    assert [subject for subject, _ in messages] == ["odin.token.BTC.trade", "odin.token.ETH.trade"] * 2
    bodies = [orjson.loads(payload) for _, payload in messages]
    assert [body["n"] for body in bodies] == [1, 2, 3, 4]
    assert [body["symbol"] for body in bodies] == ["BTC", "ETH", "BTC", "ETH"]
    assert all(body["price"] > 0 and body["ts"] > 1_700_000_000_000 for body in bodies)
    assert 0 < abs(bodies[2]["price"] / bodies[0]["price"] - 1) < 0.02


def test_the_same_seed_gives_the_same_prices() -> None:
    def prices(seed: int) -> list[float]:
        messages = islice(sample_prices(sample_channels(3), PREFIX, 0, seed), 9)
        return [orjson.loads(payload)["price"] for _, payload in messages]

    assert prices(7) == prices(7) != prices(8)


@given(st.integers(0, 5000))
def test_a_payload_is_as_large_as_asked_where_it_would_be_smaller(size: int) -> None:
    _, payload = next(sample_prices(["BTC.trade"], PREFIX, size, seed=1))
    assert len(payload) == size or (len(payload) < 120 and size < 120)


@pytest.mark.parametrize(
    ("line", "channel", "message"),
    [
        (b'BTC.trade {"a": 1}', None, ("odin.token.BTC.trade", b'{"a": 1}')),
        (b"odin.token.BTC.trade [1,2]", None, ("odin.token.BTC.trade", b"[1,2]")),
        (b"BTC.trade   null", None, ("odin.token.BTC.trade", b"null")),
        (b'{"a": 1}', "BTC.trade", ("odin.token.BTC.trade", b'{"a": 1}')),
        ('Ä.trade "ü"'.encode(), None, ("odin.token.Ä.trade", '"ü"'.encode())),
    ],
)
def test_lines(line: bytes, channel: str | None, message: tuple[str, bytes]) -> None:
    assert parse_line(line, channel, PREFIX) == message


@pytest.mark.parametrize(
    ("line", "channel"),
    [
        (b'{"a": 1}', None),
        (b"[1,2,3]", None),
        (b"BTC.trade", None),
        (b"BTC.trade {", None),
        (b"BTC.* {}", None),
        (b"> {}", None),
        (b"\xff {}", None),
        (b"BTC.trade {}", "BTC.trade"),
        (b"BTC.trade NaN", None),
    ],
)
def test_bad_lines(line: bytes, channel: str | None) -> None:
    with pytest.raises(ValueError):
        parse_line(line, channel, PREFIX)


@pytest.mark.parametrize(
    ("line", "channel", "words"),
    [
        (b"BTC trade", None, "what follows BTC is none .*, and a channel has a dot, as BTC.trade$"),
        (b"BTC.trade price", None, r"what follows BTC.trade is none .*\)$"),
        (b"price", "BTC.trade", "must be JSON: "),
    ],
)
def test_a_bad_line_says_which_part_is_bad(line: bytes, channel: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_line(line, channel, PREFIX)


@given(st.binary(max_size=60), st.sampled_from([None, "BTC.trade"]))
def test_any_line_is_a_message_with_json_or_a_value_error(line: bytes, channel: str | None) -> None:
    try:
        subject, payload = parse_line(line, channel, PREFIX)
    except ValueError:
        return
    assert subject.startswith(PREFIX)
    orjson.loads(payload)


async def lines_of(*lines: bytes) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


async def test_bad_lines_are_noted_by_number_and_left_out() -> None:
    tally = Tally()
    lines = lines_of(b'A.b {"n":1}\r', b"", b"nonsense", b'A.b {"n":2}')
    messages = [payload async for _, payload in from_lines(lines, None, PREFIX, tally)]
    assert messages == [b'{"n":1}', b'{"n":2}']
    assert tally.bad_lines == ["line 3: must hold JSON after the channel"]


async def test_a_pipe_is_read_as_it_comes() -> None:
    reading, writing = os.pipe()
    lines = read_lines(reading)
    os.write(writing, b"one\ntw")
    assert await anext(lines) == b"one"
    asyncio.get_running_loop().call_later(0.05, os.write, writing, b"o\nthree")
    assert await anext(lines) == b"two"
    os.close(writing)
    assert [line async for line in lines] == [b"three"]
    os.close(reading)


async def test_a_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    path.write_bytes(b"a\n" * 50_000)
    with path.open("rb") as file:
        assert len([line async for line in read_lines(file.fileno())]) == 50_000


async def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    path.write_bytes(b"a" * (2**24 + 100_000))
    with path.open("rb") as file, pytest.raises(PublishError, match="a line is above 16777216 bytes"):
        await anext(read_lines(file.fileno()))


async def count(pace: Pace) -> int:
    prices = from_samples(sample_prices(["A.b"], PREFIX, 0, 1))
    return len([message async for message in paced(prices, pace)])


async def test_a_count_ends_it() -> None:
    assert await count(Pace(count=25)) == 25
    assert await count(Pace(count=0)) == 0


async def test_a_duration_ends_it_and_the_rate_holds() -> None:
    started = time.monotonic()
    sent = await count(Pace(rate_per_second=100, duration_seconds=0.5))
    took = time.monotonic() - started
    assert took >= 0.5
    assert sent <= took * 100 + 2


async def test_the_end_of_the_lines_ends_it() -> None:
    messages = from_lines(lines_of(b"A.b 1", b"A.b 2"), None, PREFIX, Tally())
    assert len([m async for m in paced(messages, Pace(count=10))]) == 2


def test_the_line_for_people() -> None:
    assert Tally(10, 10, 0, 2.0).line() == "10 messages in the stream, 5.0 a second, 2.0 s"
    tally = Tally(sent=10, acknowledged=6, failed=1, seconds=2.0, first_error="no stream")
    assert tally.line() == (
        "6 messages in the stream, 3.0 a second, 2.0 s, 3 not yet acknowledged, 1 failed (no stream)"
    )
