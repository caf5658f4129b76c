"""What is said on a client's connection, and what becomes of it. No I/O: texts in, messages and texts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from wsnode.client_events import CaughtUp, Connected, Event, FeedChanged, Message, Missed, Subscribed, Told
from wsnode.client_messages import subscribe_message
from wsnode.client_patches import BaseMissingError, Contents
from wsnode.standing import Standing

_FOR_NOW = "RATE_LIMIT_EXCEEDED"
"""The one error by which a subscribe is refused only for now."""


class RefusedError(Exception):
    """The node will not serve this subscription, now or later."""


class Session:
    """One connection's conversation; `standing` outlives it.

    Attributes:
        to_send: what is to be said next, taken away by the caller.
        leave: why the connection is to be left; empty where it is not.
        asked: subscribes sent so far.
        subscribed: the last of them was acknowledged.
    """

    def __init__(
        self,
        standing: Standing,
        channels: Sequence[str],
        tell: Callable[[Event], None],
        *,
        last: bool = False,
        conflate: bool = False,
        delta: bool = False,
        url: str = "",
    ) -> None:
        self.to_send: list[bytes] = []
        self.leave = ""
        self.asked = 0
        self.subscribed = False
        self._standing, self._channels, self._tell, self._url = standing, channels, tell, url
        self._last = last
        self._options = [name for name, wanted in (("conflate", conflate), ("delta", delta)) if wanted]
        self._contents = Contents() if delta else None

    def receive(self, raw: str) -> Message | None:
        """A text of the node's: the message to hand on, if it is one that the user has not had yet.

        Raises:
            RefusedError: the node refuses the subscription for good.
        """
        try:
            content = orjson.loads(raw)
        except orjson.JSONDecodeError:
            content = None
        if not isinstance(content, dict):
            self._tell(Told("BAD_MESSAGE", "the server sent something that is not a JSON object"))
            return None
        if "channel" in content and "prev" in content:
            return self._data(content, raw)
        self._control(content)
        return None

    def _subscribe(self) -> None:
        """Asks for all names in one go: only then they come in one order."""
        resume = self._standing.resume()
        first = ["last"] if self._last and resume is None else []
        if self._contents is not None:
            self._contents.clear()
        self.asked += 1
        self.subscribed = False
        self.to_send.append(subscribe_message(self._channels, resume, *first, *self._options))

    def _data(self, content: dict[str, Any], raw: str) -> Message | None:
        channel, seq, prev, ts = (content.get(key) for key in ("channel", "seq", "prev", "ts"))
        if not isinstance(channel, str) or type(seq) is not int or type(prev) is not int:
            self._tell(Told("BAD_MESSAGE", f"a data message without its sequence: {raw[:80]}"))
            return None
        if not self.subscribed:
            return None  # it comes again behind the acknowledgement
        ts = ts if type(ts) is int else 0
        data = content.get("data")
        if self._contents is not None:
            try:
                data = self._contents.take(channel, seq, prev, content, raw)
            except BaseMissingError:
                self._subscribe()  # what is replayed is always full
                return None
        fresh, missed = self._standing.message(channel, seq, prev, ts)
        if not fresh:
            return None
        if missed is not None:
            self._tell(missed)
        kind, skipped = str(content.get("type", "")), content.get("skipped")
        skipped = skipped if type(skipped) is int else 0
        patched = self._contents is not None and "delta" in content
        return Message(channel, seq, prev, ts, kind, data, skipped, raw, patched, missed)

    def _control(self, content: dict[str, Any]) -> None:
        kind, seq = content.get("type"), content.get("seq")
        if kind == "hello":
            self._greeted(str(content.get("node", "")), str(content.get("epoch", "")))
        elif kind == "error":
            self._error(str(content.get("code", "")), str(content.get("message", "")))
        elif kind == "feed":
            self._tell(FeedChanged(content.get("connected") is True))
        elif type(seq) is not int:
            return
        elif kind == "subscription_ack":
            self._acknowledged(content, seq)
        elif kind == "caught_up":
            name = str(content.get("channel", ""))
            self._tell_all(self._standing.caught_up(name, seq, content.get("missing")))
            self._tell(CaughtUp(name, seq))
        elif kind in ("position", "pong"):
            lost = content.get("prev")
            self._tell_all(self._standing.position(seq, lost if type(lost) is int else 0))

    def _greeted(self, node: str, epoch: str) -> None:
        self._tell(Connected(self._url, node, epoch))
        if not epoch and self._standing.epoch:
            self.leave = "the node has no stream yet"  # it would know nothing of what was seen
            return
        self._tell_all(self._standing.greeted(epoch, again=self.subscribed))
        if not self.asked:
            self._subscribe()

    def _acknowledged(self, content: dict[str, Any], seq: int) -> None:
        named, outcome = content.get("subscribed"), content.get("channels")
        names = tuple(str(name) for name in named) if isinstance(named, list) else tuple(self._channels)
        outcome = outcome if isinstance(outcome, dict) else None
        self.subscribed = True
        self._tell_all(self._standing.acknowledged(names, seq, outcome))
        self._tell(Subscribed(names, seq, outcome is not None))

    def _error(self, code: str, text: str) -> None:
        self._tell(Told(code, text))
        if self.subscribed or not self.asked:
            return
        if code != _FOR_NOW:
            raise RefusedError(f"{code}: {text}")
        self.leave = text

    def _tell_all(self, missed: list[Missed]) -> None:
        for each in missed:
            self._tell(each)
