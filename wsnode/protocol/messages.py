"""What clients may say, and the node's exact answers.

    ClientError         the message can't be honoured: answered with {"type":"error"}, connection stays up

Codes are part of the protocol; see `Code`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qs

import orjson

from wsnode.protocol.envelope import MAX_SEQUENCE
from wsnode.protocol.frames import encode_text

Code = Literal[
    "INVALID_JSON",
    "INVALID_MESSAGE",
    "UNKNOWN_TYPE",
    "INVALID_CHANNEL",
    "TOO_MANY_CHANNELS",
    "INVALID_RESUME",
    "BINARY_NOT_SUPPORTED",
    "NOT_SUPPORTED",
    "RATE_LIMIT_EXCEEDED",
]
MAX_CHANNEL_LENGTH = 255
_FORBIDDEN: Final = frozenset("*> ")


class ClientError(Exception):
    """A client's message that is answered with an error: a code for programs, a message for people."""

    def __init__(self, code: Code, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code}: {message}")


@dataclass(frozen=True, slots=True)
class Resume:
    """From where a client wants to go on.

    Attributes:
        epoch: the stream's epoch that the client saw; empty where it says none.
        seq: last sequence seen.
        channels: channels with a last sequence of their own.
    """

    epoch: str
    seq: int
    channels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Channels to add, each once, in the client's order."""

    channels: tuple[str, ...]
    resume: Resume | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Channels to take away, each once, in the client's order."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life that wants an answer."""


ClientMessage = Subscribe | Unsubscribe | Heartbeat
_HEARTBEAT = Heartbeat()


def parse_client_message(payload: bytes) -> ClientMessage:
    """What a text message of a client says.

    Raises:
        ClientError: it is not JSON, has the wrong shape, an unknown type or an impossible channel.
    """
    try:
        message = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise ClientError("INVALID_JSON", f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise ClientError("INVALID_MESSAGE", "a message must be an object with a type")
    kind = message.get("type")
    if not isinstance(kind, str):
        raise ClientError("INVALID_MESSAGE", "type must be a string")
    if kind == "heartbeat":
        return _HEARTBEAT
    if kind == "subscribe":
        data = _data(message)
        return Subscribe(_channels(data), _resume(data.get("resume")))
    if kind == "unsubscribe":
        return Unsubscribe(_channels(_data(message)))
    if kind == "replay":
        raise ClientError("NOT_SUPPORTED", "replay is not offered by this node")
    raise ClientError("UNKNOWN_TYPE", f"unknown type {kind[:64]!r}")


def parse_query(query: str) -> Subscribe | None:
    """The subscription in a handshake's URL (`channels=A.b,C.d`), None without one.

    Raises:
        ClientError: as for the message.
    """
    values = parse_qs(query).get("channels")
    if not values:
        return None
    names = [name for value in values for name in value.split(",") if name]
    return Subscribe(_channels({"channels": names}))


def _data(message: dict[str, Any]) -> dict[str, Any]:
    data = message.get("data")
    if not isinstance(data, dict):
        raise ClientError("INVALID_MESSAGE", "data must be an object")
    return data


def _channels(data: dict[str, Any]) -> tuple[str, ...]:
    channels = data.get("channels")
    if not isinstance(channels, list):
        raise ClientError("INVALID_MESSAGE", "data.channels must be a list of channel names")
    for name in channels:
        check_channel(name)
    return tuple(dict.fromkeys(channels))


def check_channel(name: Any) -> None:
    """Raises `ClientError` where a name can't be a channel: what a NATS subject can't hold, can't come."""
    if not isinstance(name, str):
        raise ClientError("INVALID_MESSAGE", "a channel name must be a string")
    if not name or len(name) > MAX_CHANNEL_LENGTH:
        raise ClientError("INVALID_CHANNEL", f"a channel name has 1 to {MAX_CHANNEL_LENGTH} characters")
    # isprintable() is false for control characters and for every space but the plain one.
    if not name.isprintable() or not _FORBIDDEN.isdisjoint(name):
        raise ClientError(
            "INVALID_CHANNEL", f"{name!a}: spaces, control characters, * and > are not allowed in a channel"
        )
    if name[0] == "." or name[-1] == "." or ".." in name:
        raise ClientError("INVALID_CHANNEL", f"{name!a}: a part between dots is empty")


def _resume(value: Any) -> Resume | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ClientError("INVALID_RESUME", "resume must be an object")
    epoch = value.get("epoch", "")
    channels = value.get("channels", {})
    if not isinstance(epoch, str) or not isinstance(channels, dict):
        raise ClientError("INVALID_RESUME", "resume.epoch must be a string, resume.channels an object")
    for name in channels:
        check_channel(name)
    own = {name: _sequence(seq) for name, seq in channels.items()}
    return Resume(epoch, _sequence(value.get("seq", 0)), own)


def _sequence(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_SEQUENCE:
        raise ClientError("INVALID_RESUME", f"a resume seq must be an integer from 0 to {MAX_SEQUENCE}")
    return value


# Answers, as whole frames.


def hello_frame(node: str, epoch: str, head: int, oldest: int) -> bytes:
    """The first message of a connection."""
    return _frame({"type": "hello", "node": node, "epoch": epoch, "head": head, "oldest": oldest})


def subscription_ack_frame(
    channels: tuple[str, ...], count: int, seq: int, outcome: dict[str, Any] | None = None
) -> bytes:
    """Messages of these channels after `seq` are live; `outcome` is what became of a resume."""
    answer: dict[str, Any] = {
        "type": "subscription_ack",
        "subscribed": channels,
        "count": count,
        "seq": seq,
    }
    if outcome is not None:
        answer["channels"] = outcome
    return _frame(answer)


def unsubscription_ack_frame(channels: tuple[str, ...], count: int) -> bytes:
    """Nothing more comes of these channels; `count` are left."""
    return _frame({"type": "unsubscription_ack", "unsubscribed": channels, "count": count})


def pong_frame(ts_ms: int, seq: int) -> bytes:
    """Answer to a heartbeat; all that the client subscribed to has reached it up to `seq`."""
    return encode_text(b'{"type":"pong","ts":%d,"seq":%d}' % (ts_ms, seq))


def position_frame(seq: int, lost: int = 0) -> bytes:
    """Channels that are caught up stand at `seq`.

    `lost` is the highest sequence that the node itself could not deliver since the last position:
    told as `prev`, which has the same meaning as in a data message, or a client of a quiet channel
    would take its channel for caught up and resume past the loss on another node.
    """
    if lost:
        return encode_text(b'{"type":"position","seq":%d,"prev":%d}' % (seq, lost))
    return encode_text(b'{"type":"position","seq":%d}' % seq)


def feed_frame(connected: bool) -> bytes:
    """The node lost its feed, or is back and caught up."""
    return _frame({"type": "feed", "connected": connected})


def error_frame(error: ClientError) -> bytes:
    """Answer to a message that can't be honoured."""
    return _frame({"type": "error", "code": error.code, "message": error.message})


def _frame(answer: dict[str, Any]) -> bytes:
    return encode_text(orjson.dumps(answer))
