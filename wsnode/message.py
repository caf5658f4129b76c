"""One message of the stream, as it waits for its turn and stays for resuming clients."""

from __future__ import annotations

from wsnode.protocol.delta import delta_of
from wsnode.protocol.envelope import data_text
from wsnode.protocol.forms import PLAIN, encode, event_id
from wsnode.protocol.frames import encode_text

_DELTA = 8  # beside the form, in the keys of what was encoded


class Message:
    """One message, encoded at most once a form, whoever asks for it and when.

    Attributes:
        seq, ts_ms: its sequence in the stream, its time of publishing.
        kind: what clients are told as its type.
        prev: highest sequence that the channel had before, see `ring`.
        older, newer: its neighbours of the same channel, while they are in the ring.
        started: its job began: those who listened to the channel then were given it.
    """

    __slots__ = (
        "_encoded",
        "_frame",
        "_payload",
        "_size",
        "channel",
        "kind",
        "newer",
        "older",
        "prev",
        "seq",
        "started",
        "ts_ms",
    )

    def __init__(self, seq: int, ts_ms: int, kind: str, channel: str, prev: int, payload: bytes) -> None:
        self.seq = seq
        self.ts_ms = ts_ms
        self.kind = kind
        self.channel = channel
        self.prev = prev
        self.older: Message | None = None
        self.newer: Message | None = None
        self.started = False
        self._size = len(payload)
        self._payload: bytes | None = payload
        self._frame: bytes | None = None
        self._encoded: dict[int, bytes | None] | None = None

    @property
    def size(self) -> int:
        """Bytes of the publisher's payload."""
        return self._size

    @property
    def payload(self) -> bytes:
        """The publisher's JSON. Once the frame is made it is kept only there, at its end."""
        if self._payload is not None:
            return self._payload
        assert self._frame is not None
        return self._frame[-1 - self._size : -1]

    def frame(self, form: int, epoch: str) -> bytes:
        """What a client of this form is written; `epoch` is the stream's."""
        if form != PLAIN:
            encoded = self._other(form)
            if form not in encoded:
                encoded[form] = encode(form, self.text(), event_id(epoch, self.seq))
            made = encoded[form]
            assert made is not None
            return made
        if self._frame is None:
            self._frame = encode_text(self.text())
            self._payload = None
        return self._frame

    def delta_frame(self, form: int, epoch: str) -> bytes | None:
        """The same as a patch on the channel's message before; None where that would not be exact or short.

        For clients that were given that message, and so only when its job was begun.
        """
        base = self.older
        if base is None or base.seq != self.prev or not base.started:
            return None
        encoded, key = self._other(form), form | _DELTA
        if key not in encoded:
            patch = delta_of(base.payload, self.payload)
            made = None
            if patch is not None:
                made = encode(form, self.text(patch, b"delta"), event_id(epoch, self.seq))
            encoded[key] = made
        return encoded[key]

    def text(self, content: bytes | None = None, field: bytes = b"data") -> bytes:
        """The JSON that clients read."""
        return data_text(
            self.seq,
            self.ts_ms,
            self.kind,
            self.channel,
            self.prev,
            self.payload if content is None else content,
            field,
        )

    def skipping_frame(self, form: int, told_id: str, prev: int, skipped: int) -> bytes:
        """For a client that was passed over `skipped` messages before it, of which the first had `prev`."""
        text = data_text(self.seq, self.ts_ms, self.kind, self.channel, prev, self.payload, skipped=skipped)
        return encode(form, text, told_id)

    def cut_off(self) -> None:
        """Leaves its channel's chain, for the ring lets it go."""
        if self.newer is not None:
            self.newer.older = None
        if self.older is not None:
            self.older.newer = None
        self.older = self.newer = None

    def _other(self, form: int) -> dict[int, bytes | None]:
        if self._encoded is None:
            self._encoded = {}
        return self._encoded
