"""The window, and the rule of `prev`: false alarms are allowed, silence never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode import ring as ring_module
from wsnode.ring import Message, Ring, Window


def _ring(age: float = 30, messages: int = 100, size: int = 10**6) -> Ring:
    return Ring(Window(age, messages, size))


def _put(ring: Ring, seq: int, channel: str = "A.b", ts_ms: int = 0, size: int = 10) -> Message:
    ring.advance(seq)
    message = Message(seq, ts_ms, "a:b", channel, ring.prev(channel), b"x" * size)
    ring.add(message, ts_ms)
    return message


def test_prev_is_the_channels_last_and_the_first_sequence_minus_one_before_any() -> None:
    ring = _ring()
    ring.restart(41)
    assert (ring.position, ring.oldest) == (41, 42)
    assert [_put(ring, seq, channel).prev for seq, channel in [(42, "A"), (43, "B"), (44, "A")]] == [
        41,
        41,
        42,
    ]


def test_a_hole_raises_prev_of_every_channel() -> None:
    ring = _ring()
    _put(ring, 1, "A")
    _put(ring, 2, "B")
    assert ring.advance(7)
    assert (ring.hole, ring.prev("A"), ring.prev("B"), ring.prev("C")) == (6, 6, 6, 6)
    ring.add(Message(7, 0, "a:b", "A", 6, b""), 0)
    assert (ring.prev("A"), ring.prev("B")) == (7, 6)


def test_what_is_not_sent_shows_in_the_next_prev() -> None:
    ring = _ring()
    _put(ring, 1)
    ring.advance(2)
    ring.skip("A.b", 2)
    assert ring.prev("A.b") == 2


def test_sequences_never_go_back() -> None:
    ring = _ring()
    ring.advance(5)
    with pytest.raises(ValueError, match="sequence 5 after 5"):
        ring.advance(5)


def test_the_window_is_bounded_by_count_bytes_and_age() -> None:
    ring = _ring(messages=3)
    for seq in range(1, 6):
        _put(ring, seq)
    assert (len(ring), ring.oldest) == (3, 3)
    ring = _ring(size=1200)
    for seq in range(1, 10):
        _put(ring, seq, size=200)
    assert len(ring) == 2
    assert ring.bytes <= 1200
    ring = _ring(age=1)
    _put(ring, 1, ts_ms=1000)
    _put(ring, 2, ts_ms=2000)
    assert ring.oldest == 1
    ring.trim(2001)
    assert ring.oldest == 2
    ring.trim(9000)
    assert (len(ring), ring.bytes, ring.oldest, ring.prev("A.b")) == (0, 0, 3, 2)


def test_much_that_leaves_the_window_at_once_goes_piece_by_piece() -> None:
    ring = _ring(age=1, messages=10_000)
    for seq in range(1, 2001):
        _put(ring, seq, f"S{seq % 7}")
    most = ring_module.TRIMMED_MESSAGES
    left = [(ring.trim(9000), len(ring)) for _ in range(4)]
    assert left == [(True, 2000 - most), (True, 2000 - 2 * most), (True, 2000 - 3 * most), (False, 0)]
    assert (ring.oldest, ring.floor, ring.bytes, list(ring.channels())) == (2001, 2000, 0, [])


def test_a_restart_forgets_all() -> None:
    ring = _ring()
    _put(ring, 9)
    ring.restart(0)
    assert (ring.position, ring.oldest, len(ring), ring.bytes, ring.prev("A.b")) == (0, 1, 0, 0, 0)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from("ABCDEFGH"), st.booleans()), max_size=200),
    st.integers(1, 6),
)
def test_no_client_is_ever_left_in_the_dark(steps: list[tuple[int, str, bool]], remembered: int) -> None:
    """Whatever is lost (a hole, or not sent), the channel's next message says so; also to bounded memory."""
    previous, ring_module.MAX_CHANNELS_REMEMBERED = ring_module.MAX_CHANNELS_REMEMBERED, remembered
    try:
        ring = _ring()
        seen: dict[str, int] = {}  # a client that listens to all from the start, ack 0
        lost: dict[str, int] = {}
        seq = 0
        for step, channel, sent in steps:
            for gone in range(seq + 1, seq + step):
                for name in "ABCDEFGH":  # it may have been of any channel
                    lost[name] = gone
            seq += step
            ring.advance(seq)
            if not sent:
                ring.skip(channel, seq)
                lost[channel] = seq
                continue
            prev = ring.prev(channel)
            assert prev < seq
            if lost.get(channel, 0) > seen.get(channel, 0):
                assert prev > seen.get(channel, 0)
            ring.add(Message(seq, 0, "a:b", channel, prev, b""), 0)
            seen[channel] = seq
    finally:
        ring_module.MAX_CHANNELS_REMEMBERED = previous
