"""What was read, on its way into the ring and to the clients: in order, and nothing lost in silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from wsnode.counters import Counters
from wsnode.feed_state import FeedState
from wsnode.natsclient import NOT_UTF8
from wsnode.protocol.envelope import TYPE_HEADER, is_json, message_type
from wsnode.ring import Message, Ring


class Sorter:
    """Takes each message that was read, once, by rising sequence.

    Args:
        on_message: takes each message that is to be sent.
        on_hole: called with the end of a hole: what was gone before it could be read.
        on_unsent: called with the sequence of a message that can't be sent.
    """

    def __init__(
        self,
        state: FeedState,
        ring: Ring,
        counters: Counters,
        *,
        on_message: Callable[[Message], None],
        on_hole: Callable[[int], None],
        on_unsent: Callable[[int], None],
    ) -> None:
        self._state, self._ring, self._counters = state, ring, counters
        self._on_message, self._on_hole, self._on_unsent = on_message, on_hole, on_unsent
        subjects = state.settings.js_stream_subjects
        self._prefixes = tuple(subject.removesuffix(">") for subject in subjects)

    def take(self, seq: int, ts_ms: int, subject: str, headers: Mapping[str, str], data: bytes) -> None:
        """One message, whose sequence is above the ring's position; what lies between is a hole."""
        if self._ring.advance(seq):
            self._counters.stream_holes += 1
            self._on_hole(self._ring.hole)
        try:
            self._sort(seq, ts_ms, subject, headers, data)
        except Exception:
            # It counts as read, and nobody has it: the next `prev` of any channel has to say so.
            self._ring.lose(seq)
            self._on_hole(seq)
            raise

    def lose(self, seq: int) -> None:
        """All above the ring's position up to `seq` is gone, whatever it was."""
        self._ring.advance(seq)
        self._ring.lose(seq)
        self._counters.stream_holes += 1
        self._on_hole(seq)

    def leave_out(self, seq: int, subject: str, why: str) -> None:
        """One message that is not sent, which its channel's next `prev` tells. `why` is of BAD_PAYLOADS."""
        self._ring.advance(seq)
        channel = self._channel(subject)
        if channel is not None:
            self._refuse(seq, channel, subject, why)
            self._on_hole(seq)  # on another node, or a moment later, it would have been sent

    def _sort(self, seq: int, ts_ms: int, subject: str, headers: Mapping[str, str], data: bytes) -> None:
        """To the clients, or not: other subjects of the stream and what can't be sent stay behind."""
        channel = self._channel(subject)
        if channel is None:
            return
        problem = self._problem_of(channel, data)
        if problem is not None:
            self._refuse(seq, channel, subject, problem)
            return
        kind = message_type(headers.get(TYPE_HEADER))
        message = Message(seq, ts_ms, kind, channel, self._ring.prev(channel), data)
        self._ring.add(message, time.time_ns() // 1_000_000)
        self._on_message(message)

    def _channel(self, subject: str) -> str | None:
        for prefix in self._prefixes:
            if subject.startswith(prefix):
                return subject[len(prefix) :]
        return None

    def _problem_of(self, channel: str, payload: bytes) -> str | None:
        if NOT_UTF8 in channel:
            return "subject"
        if len(payload) > self._state.settings.max_message_bytes:
            return "size"
        return None if is_json(payload) else "json"

    def _refuse(self, seq: int, channel: str, subject: str, problem: str) -> None:
        self._counters.bad_payloads[problem] += 1
        self._state.say(f"payload {problem}", "message not sent", problem=problem, seq=seq, subject=subject)
        self._ring.skip(channel, seq)
        self._on_unsent(seq)
