"""What clients say, and what becomes of it: frames in, subscriptions and answers out."""

from __future__ import annotations

import time
from typing import Any

from wsnode.channels import Channels
from wsnode.counters import Counters
from wsnode.fanout import Fanout
from wsnode.link import CLOSING, OPEN, Link
from wsnode.links import Links
from wsnode.protocol import frames, messages
from wsnode.protocol.messages import ClientError, Resume, Subscribe, Unsubscribe
from wsnode.rates import spaced
from wsnode.ring import Ring


class Sessions:
    """The conversation with each client. All state of a client is on its link.

    Attributes:
        epoch: of the stream, as told to clients; empty before it is known.
        feed_lost: whether clients were told that the node has lost its feed.
    """

    def __init__(
        self, links: Links, channels: Channels[Link], fanout: Fanout, ring: Ring, counters: Counters
    ) -> None:
        self.epoch = ""
        self.feed_lost = False
        self._links, self._channels, self._fanout = links, channels, fanout
        self._ring, self._counters = ring, counters

    def greet(self, link: Link, query: str) -> bytes:
        """The first frames of a connection: hello, and the answer to a subscription in its URL."""
        answers = [self.hello()]
        if self.feed_lost:
            answers.append(messages.feed_frame(False))
        try:
            message = messages.parse_query(query) if query else None
            if message is not None:
                answers.append(self._subscribe(link, message))
        except ClientError as error:
            answers.append(self._error(error))
        return b"".join(answers)

    def hello(self) -> bytes:
        """The frame that says where this node stands."""
        node = self._links.settings.node_name
        return messages.hello_frame(node, self.epoch, self._fanout.head(), self._ring.oldest)

    def introduce_again(self, link: Link) -> bytes:
        """What an open client is told when the stream became another one: a new hello and acknowledgement."""
        head = self._fanout.head()
        if not link.channels:
            return self.hello()
        return self.hello() + messages.subscription_ack_frame(link.channels, len(link.channels), head)

    def read(self, link: Link, data: bytes) -> None:
        """What an open (or closing) link sent."""
        source: bytes | bytearray = data
        if link.inb is not None:
            link.inb += data
            source = link.inb
        limit = self._links.settings.max_message_bytes
        received, consumed, link.fragments, broken = frames.read_frames(source, link.fragments, limit)
        if consumed == len(source):
            link.inb = None
        elif consumed or link.inb is None:
            link.inb = bytearray(source[consumed:])
        if link.state == CLOSING:
            if broken or any(opcode == frames.CLOSE for opcode, _ in received):
                self._links.drop(link, link.why)
            return
        self._handle(link, received, broken)

    def _handle(self, link: Link, received: list[frames.Received], broken: frames.FrameError | None) -> None:
        answers: list[bytes] = []
        pinged: bytes | None = None
        for opcode, payload in received:
            if opcode == frames.TEXT:
                answers.append(self._message(link, payload))
            elif opcode == frames.PING:
                pinged = payload
            elif opcode == frames.CLOSE:
                answers.append(frames.encode_frame(frames.CLOSE, payload))
                self._links.finish(link, b"".join(answers), "client")
                return
            elif opcode == frames.BINARY:
                answers.append(self._binary(link))
        if pinged is not None:
            # Only the newest of several needs an answer (RFC 6455, section 5.5.3).
            answers.append(frames.encode_frame(frames.PONG, pinged))
        if broken is not None:
            answers.append(frames.encode_close(broken.code, broken.reason))
            self._links.finish(link, b"".join(answers), "protocol")
        elif answers:
            self._links.send(link, answers[0] if len(answers) == 1 else b"".join(answers))

    def _binary(self, link: Link) -> bytes:
        self._counters.client_messages += 1
        limited = self._limited(link)
        return self._error(limited or ClientError("BINARY_NOT_SUPPORTED", "messages are JSON in text frames"))

    def _message(self, link: Link, payload: bytes) -> bytes:
        self._counters.client_messages += 1
        limited = self._limited(link)
        if limited is not None:
            return self._error(limited)
        try:
            message = messages.parse_client_message(payload)
            if isinstance(message, Subscribe):
                return self._subscribe(link, message)
            if isinstance(message, Unsubscribe):
                self._fanout.hasten(link)
                self._channels.unsubscribe(link, message.channels)
                return messages.unsubscription_ack_frame(message.channels, len(link.channels))
            return messages.pong_frame(time.time_ns() // 1_000_000, self._fanout.settled())
        except ClientError as error:
            return self._error(error)

    def _subscribe(self, link: Link, message: Subscribe) -> bytes:
        names, most = message.channels, self._links.settings.max_channels
        known = set(link.channels).intersection(names)
        if len(link.channels) + len(names) - len(known) > most:
            raise ClientError("TOO_MANY_CHANNELS", f"a client may have {most} channels at once")
        if known:
            # The round under way may still have a message for it of a channel that it has already;
            # the acknowledgement must not claim that message for itself.
            self._fanout.hasten(link)
        if link.state != OPEN:  # hastening found it gone, or too slow: a subscription would outlive it
            return b""
        seq = self._fanout.claim(known)
        self._channels.subscribe(link, names)
        outcome = self._outcome(message.resume, names, seq) if message.resume else None
        return messages.subscription_ack_frame(names, len(link.channels), seq, outcome)

    def _outcome(self, resume: Resume, names: tuple[str, ...], seq: int) -> dict[str, Any]:
        """What a resume comes to without replay: recovered where nothing was missed, else said so."""
        if resume.epoch != self.epoch:
            return {name: {"recovered": False} for name in names}
        outcome: dict[str, Any] = {}
        for name in names:
            had = resume.channels.get(name, resume.seq)
            missed = self._ring.prev(name) > had and seq > had
            outcome[name] = {"recovered": False, "missing": [had + 1, seq]} if missed else {"recovered": True}
        return outcome

    def _limited(self, link: Link) -> ClientError | None:
        settings = self._links.settings
        burst, per_second = settings.client_rate_burst, settings.client_rate_per_second
        due = spaced(link.paid_until, int(time.monotonic() * 1000), burst, per_second)
        if due is None:
            self._counters.rate_limited += 1
            return ClientError(
                "RATE_LIMIT_EXCEEDED", f"at most {burst} messages at once and {per_second:g} a second"
            )
        link.paid_until = due
        return None

    def _error(self, error: ClientError) -> bytes:
        self._counters.client_errors[error.code] += 1
        return messages.error_frame(error)
