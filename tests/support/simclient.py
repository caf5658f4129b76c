"""A client that holds a node to its word, and keeps account of what it is owed.

It applies the rule of `prev` to the letter: something may be lost exactly where `prev` is above what it
last saw of the channel, and above what the acknowledgement or its own resume said. `position`, `pong`,
`caught_up` and the ids of events are claims: at the moment they are heard all that they cover must have
been received, told as possibly missing, or told as passed over.
"""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

from tests.support.simcore import SimCore, Stream
from tests.support.simlistener import Listener
from tests.support.wsclient import CLOSE, PING, TEXT, text_frame
from wsnode.channels import CONFLATE, DELTA
from wsnode.link import DEFLATE, SSE


class SimClient(Listener):
    """One client over all its connections."""

    def __init__(self, label: str, form: int, streams: dict[str, Stream], log: list[str]) -> None:
        super().__init__(label, streams, log)
        self.form = form
        self.query = ""
        self.options = 0
        self.reading = True
        self.open = False
        self.last_id = ""
        self.identified = False  # by an id of this connection, which it has to go on from

    # Coming and going.

    def connect(self, core: SimCore, query: str = "", ask: dict[str, Any] | None = None) -> None:
        """A new connection; `ask` is the subscription in its URL."""
        self.log.append(f"{self.label} connects {query} {self.last_id}")
        self.core = core
        self.before |= self.subs
        self.subs = {}
        self.socket = core.connect(self.form, query, self.last_id if self.form == SSE else "")
        self.open, self.reading = True, True
        self.identified = False
        self.buffer = b""
        self._begin([ask] if ask is not None else [])

    def connect_stream(self, core: SimCore) -> None:
        """A stream of events, on from the last id as an EventSource does it."""
        data: dict[str, Any] = {"channels": self.query.partition("&")[0].removeprefix("channels=").split(",")}
        data |= {"conflate": bool(self.options & CONFLATE), "delta": bool(self.options & DELTA)}
        data["last"] = "&last=1" in self.query
        epoch, _, seq = self.last_id.rpartition("-")
        if epoch:
            data["resume"] = {"epoch": epoch, "seq": int(seq)}
            for name in self.subs if epoch == self.epoch else ():
                self._claim(name, int(seq), "the id")
        self.connect(core, self.query, {"type": "subscribe", "data": data})

    def leave(self) -> None:
        """Gone without a word; what it knows it keeps."""
        self.socket.close()
        self.open = False

    # What it says.

    def say(self, message: dict[str, Any]) -> None:
        """Sends a message."""
        self.log.append(f"{self.label} says {json.dumps(message)}")
        try:
            sent = self.socket.send(text_frame(message))
        except OSError:
            return  # cut by now; it hears of that when it reads
        assert sent
        self.asks.append(json.loads(json.dumps(message)))

    # What it hears.

    def hear(self) -> None:
        """Takes in what has come."""
        if not self.open or not self.reading:
            return
        while self.open:
            try:
                data = self.socket.recv(65_536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self.buffer += data
            if not data:
                self.leave()
        if self.form == SSE:
            self._events()
            return
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                self._message(json.loads(payload))
            elif opcode == CLOSE:
                self.log.append(f"{self.label} is told to go: {payload[2:]!r}")
                self.leave()
                return
            else:
                assert opcode == PING

    def _events(self) -> None:
        *events, self.buffer = self.buffer.split(b"\n\n")
        for event in events:
            data, told = [], ""
            for line in event.split(b"\n"):
                if line.startswith(b"data: "):
                    data.append(line[6:])
                elif line.startswith(b"id: "):
                    told = line[4:].decode()
            if not data:
                continue
            message = json.loads(b"\n".join(data))
            self._message(message)
            if told:
                # An EventSource goes on from the last one, whatever came before.
                epoch, _, seq = told.rpartition("-")
                before, _, least = self.last_id.rpartition("-")
                if self.identified and before == epoch:
                    assert int(seq) >= int(least), f"the id {told} after {self.last_id}"
                self.last_id = told
                self.identified = True

    def _frame(self) -> tuple[int, bytes] | None:
        data = self.buffer
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            return None
        self.buffer = data[start + size :]
        payload = data[start : start + size]
        if data[0] & 0x40:
            assert self.form == DEFLATE
            payload = zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff")
        return data[0] & 15, payload

    def check(self) -> None:
        """At rest: all is accounted for."""
        assert self.open
        assert all(stretch.doubtful for stretch in self.replays)
        assert [ask["type"] for ask in self.asks] == ["replay"] * len(self.replays)
        assert not self.catching, self.catching
        for name in self.subs:
            self._claim(name, self.core.stream.last, "the end")
        silent = [
            (channel, seq)
            for channel, seq in self.memory.untold
            if not self._accounted(self.stream.published[seq])
        ]
        assert not silent, f"nothing told of {silent}"


def subscribe_message(
    rng: random.Random, names: list[str], options: int, points: dict[str, int] | None, epoch: str
) -> dict[str, Any]:
    """A subscribe; the points to go on from are said in one of the ways that there are."""
    data: dict[str, Any] = {"channels": names}
    if options & CONFLATE:
        data["conflate"] = True
    if options & DELTA:
        data["delta"] = True
    if points is not None:
        lowest = min(points.values())
        if len(set(points.values())) == 1 and rng.random() < 0.5:
            data["resume"] = {"epoch": epoch, "seq": lowest}
        else:
            data["resume"] = {"epoch": epoch, "seq": rng.choice([0, lowest]), "channels": points}
    return {"type": "subscribe", "data": data}
