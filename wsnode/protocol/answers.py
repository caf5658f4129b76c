"""The node's control messages, each as a whole text frame; an SSE client's are made from these."""

from __future__ import annotations

from typing import Any

import orjson

from wsnode.protocol.frames import encode_text
from wsnode.protocol.messages import ClientError


def hello_frame(node: str, epoch: str, head: int, oldest: int, feed: str = "") -> bytes:
    """The first message of a connection. `feed` is told where no other node has the same sequences."""
    answer: dict[str, Any] = {"type": "hello", "node": node, "epoch": epoch, "head": head, "oldest": oldest}
    if feed:
        answer["feed"] = feed
    return _frame(answer)


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


def caught_up_frame(channel: str, seq: int, missing: tuple[int, int] | None = None) -> bytes:
    """A resumed channel has all up to `seq`, but for what may be missing: first and last sequence."""
    answer: dict[str, Any] = {"type": "caught_up", "channel": channel, "seq": seq}
    if missing is not None:
        answer["missing"] = missing
    return _frame(answer)


def replay_ended_frame(count: int, missing: tuple[int, int] | None) -> bytes:
    """The end of a replay of `count` messages, and what of it may be missing."""
    if missing is None:
        return _frame({"type": "replay_complete", "count": count})
    return _frame({"type": "replay_incomplete", "count": count, "missing": missing})


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
