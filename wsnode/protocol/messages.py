"""What clients may say.

    ClientError         the message can't be honoured: answered with {"type":"error"}, connection stays up

Codes are part of the protocol; see `Code`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import parse_qs

import orjson

from wsnode.protocol.envelope import MAX_SEQUENCE

Code = Literal[
    "INVALID_JSON",
    "INVALID_MESSAGE",
    "UNKNOWN_TYPE",
    "INVALID_CHANNEL",
    "TOO_MANY_CHANNELS",
    "INVALID_RESUME",
    "INVALID_REPLAY",
    "INVALID_OPTION",
    "BINARY_NOT_SUPPORTED",
    "RATE_LIMIT_EXCEEDED",
]
MAX_CHANNEL_LENGTH = 255
_FORBIDDEN: Final = frozenset("*> ")
_OFTEN_BYTES: Final = 512
_FLAGS: Final = {"1": True, "true": True, "0": False, "false": False}


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
        ts_ms: when the message `seq` was published, None where the client does not say.
    """

    epoch: str
    seq: int
    channels: dict[str, int] = field(default_factory=dict)
    ts_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Channels and patterns to add, each once, in the client's order.

    Attributes:
        last: the newest message of each is wanted at once.
        conflate: where the client falls behind only the newest message of each is wanted.
        delta: patches are understood.
    """

    channels: tuple[str, ...]
    resume: Resume | None = None
    last: bool = False
    conflate: bool = False
    delta: bool = False


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Channels to take away, each once, in the client's order."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life that wants an answer."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A stretch of the client's own channels: above a sequence, up to another or to the newest."""

    above: int
    upto: int | None


ClientMessage = Subscribe | Unsubscribe | Replay | Heartbeat
_HEARTBEAT = Heartbeat()


def parse_client_message(payload: bytes) -> ClientMessage:
    """What a text message of a client says.

    Raises:
        ClientError: it is not JSON, has the wrong shape, an unknown type or an impossible channel.
    """
    return _read_often(payload) if len(payload) <= _OFTEN_BYTES else _read(payload)


@lru_cache(maxsize=256)
def _read_often(payload: bytes) -> ClientMessage:
    """Heartbeats are all alike, and many clients want the same channels."""
    return _read(payload)


def _read(payload: bytes) -> ClientMessage:
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
        return Subscribe(
            _channels(data, patterns=True),
            _resume(data.get("resume")),
            **{option: _flag(option, data.get(option, False)) for option in ("last", "conflate", "delta")},
        )
    if kind == "unsubscribe":
        return Unsubscribe(_channels(_data(message), patterns=True))
    if kind == "replay":
        return _replay(_data(message))
    raise ClientError("UNKNOWN_TYPE", f"unknown type {kind[:64]!r}")


def parse_query(query: str) -> Subscribe | None:
    """The subscription in a handshake's URL (`channels=A.b,C.*&epoch=…&seq=…&last=1`), None without one.

    Raises:
        ClientError: as for the message.
    """
    values = parse_qs(query)
    if "channels" not in values:
        return None
    names = [name for value in values["channels"] for name in value.split(",") if name]
    resume = None
    if "seq" in values or "epoch" in values:
        resume = {"epoch": values.get("epoch", [""])[-1], "seq": _number(values.get("seq", ["0"])[-1])}
        if "ts" in values:
            resume["ts"] = _number(values["ts"][-1])
    return Subscribe(
        _channels({"channels": names}, patterns=True),
        _resume(resume),
        **{
            option: _flag(option, _FLAGS.get(values.get(option, ["0"])[-1].lower()))
            for option in ("last", "conflate", "delta")
        },
    )


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text


def _flag(option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ClientError("INVALID_OPTION", f"{option} must be true or false")
    return value


def _replay(data: dict[str, Any]) -> Replay:
    if "since" in data:
        if "from" in data or "to" in data:
            raise ClientError("INVALID_REPLAY", "a replay has either since, or from and to")
        return Replay(_sequence(data["since"], "since", "INVALID_REPLAY"), None)
    first = _sequence(data.get("from"), "from", "INVALID_REPLAY")
    last = _sequence(data.get("to"), "to", "INVALID_REPLAY")
    if last < first:
        raise ClientError("INVALID_REPLAY", f"to={last} is below from={first}")
    return Replay(max(0, first - 1), last)


def _data(message: dict[str, Any]) -> dict[str, Any]:
    data = message.get("data")
    if not isinstance(data, dict):
        raise ClientError("INVALID_MESSAGE", "data must be an object")
    return data


def _channels(data: dict[str, Any], *, patterns: bool = False) -> tuple[str, ...]:
    channels = data.get("channels")
    if not isinstance(channels, list):
        raise ClientError("INVALID_MESSAGE", "data.channels must be a list of channel names")
    for name in channels:
        if not (patterns and _is_pattern(name)):
            check_channel(name)
    return tuple(dict.fromkeys(channels))


def _is_pattern(name: Any) -> bool:
    """`*`, `SYMBOL.*` or `*.EVENT`, whose other half must be possible in a channel."""
    if name == "*":
        return True
    if not isinstance(name, str) or name.count("*") != 1:
        return False
    if name.endswith(".*"):
        symbol = name[:-2]
        if "." in symbol:
            raise ClientError("INVALID_CHANNEL", f"{name!a}: a symbol ends at the first dot")
        check_channel(symbol)
        return True
    if name.startswith("*."):
        check_channel(name[2:])
        return True
    return False


def check_channel(name: Any) -> None:
    """Raises `ClientError` where a name can't be a channel: what a NATS subject can't hold, can't come."""
    if not isinstance(name, str):
        raise ClientError("INVALID_MESSAGE", "a channel name must be a string")
    if not name or len(name) > MAX_CHANNEL_LENGTH:
        raise ClientError("INVALID_CHANNEL", f"a channel name has 1 to {MAX_CHANNEL_LENGTH} characters")
    # isprintable() is false for control characters and for every space but the plain one.
    if not name.isprintable() or not _FORBIDDEN.isdisjoint(name):
        raise ClientError(
            "INVALID_CHANNEL",
            f"{name!a}: spaces, control characters, * and > are not allowed in a channel; patterns are "
            "SYMBOL.*, *.EVENT and *",
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
        if not _is_pattern(name):
            check_channel(name)
    own = {name: _sequence(seq, "resume.channels") for name, seq in channels.items()}
    ts_ms = value.get("ts")
    if ts_ms is not None and type(ts_ms) is not int:
        raise ClientError("INVALID_RESUME", "resume.ts must be an integer, in milliseconds")
    return Resume(epoch, _sequence(value.get("seq", 0), "resume.seq"), own, ts_ms)


def _sequence(value: Any, name: str, code: Code = "INVALID_RESUME") -> int:
    if type(value) is not int or not 0 <= value <= MAX_SEQUENCE:
        raise ClientError(code, f"{name} must be an integer from 0 to {MAX_SEQUENCE}")
    return value
