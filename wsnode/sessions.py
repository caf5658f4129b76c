"""What clients say, and what becomes of it: frames in, subscriptions and answers out."""

from __future__ import annotations

import time
from typing import Any

from wsnode.channels import CONFLATE, DELTA, Channels, overlapping
from wsnode.counters import Counters
from wsnode.fanout import Fanout
from wsnode.joining import Joiner
from wsnode.link import CLOSING, DEFLATE, OPEN, Link
from wsnode.links import Links
from wsnode.protocol import answers, frames
from wsnode.protocol.deflate import inflate
from wsnode.protocol.forms import event_id, reframe
from wsnode.protocol.messages import (
    ClientError,
    Replay,
    Resume,
    Subscribe,
    Unsubscribe,
    parse_client_message,
    parse_query,
)
from wsnode.protocol.sse import parse_last_event_id
from wsnode.rates import spaced
from wsnode.ring import Ring
from wsnode.rounds import Announcement

SHARE_SECONDS = 0.001
"""Of a loop turn, for what one client sent: a message can cost as much as thousands of others."""


class Sessions:
    """The conversation with each client. All state of a client is on its link.

    Attributes:
        feed_lost: whether clients were told that the node has lost its feed.
    """

    def __init__(
        self,
        links: Links,
        channels: Channels[Link],
        fanout: Fanout,
        joiner: Joiner,
        ring: Ring,
        counters: Counters,
    ) -> None:
        self.feed_lost = False
        self._strangers: set[Link] = set()  # not told yet that the stream became another one
        self._links, self._channels, self._fanout = links, channels, fanout
        self._joiner, self._ring, self._counters = joiner, ring, counters

    def greet(self, link: Link, query: str, last_event_id: str = "") -> bytes:
        """The first messages of a connection: hello, and the answer to a subscription in its URL.

        `last_event_id` is from where an SSE client goes on; it counts before what the URL says.
        """
        said = [reframe(link.form, self.hello())]
        if self.feed_lost:
            said.append(reframe(link.form, answers.feed_frame(False)))
        try:
            message = parse_query(query) if query else None
            if message is not None:
                message = _going_on(message, last_event_id)
                acknowledged = self._subscribe(link, message)
                # Who resumes keeps the id that it has until something newer has come.
                here = "" if self._resumable(message.resume) else self._here(self._fanout.head())
                said.append(reframe(link.form, acknowledged, here) if acknowledged else b"")
        except ClientError as error:
            said.append(reframe(link.form, self._error(error)))
        return b"".join(said)

    def _here(self, seq: int) -> str:
        """The id of an event that says where live begins: a place to go on from when nothing else comes."""
        return event_id(self._ring.epoch, seq)

    def hello(self) -> bytes:
        """The frame that says where this node stands."""
        settings, ring = self._links.settings, self._ring
        feed = settings.feed if settings.feed == "core" else ""
        return answers.hello_frame(settings.node_name, ring.epoch, self._fanout.head(), ring.oldest, feed)

    def introduce_again(self) -> None:
        """The stream became another one: open clients are told by a new hello and acknowledgement."""
        self._strangers = set(self._links.open_links())
        self._fanout.announce(Announcement(frame_for=self._introduction, links=self._strangers))

    def _introduction(self, link: Link) -> bytes:
        said = reframe(link.form, self.hello())
        if link.channels:
            # Who resumed since is given what its names have above that.
            reached = self._joiner.reached(link, self._fanout.head())
            acknowledged = answers.subscription_ack_frame(link.channels, len(link.channels), reached)
            said += reframe(link.form, acknowledged, self._here(reached))
        return said

    def read(self, link: Link, data: bytes) -> None:
        """What an open (or closing) link sent: as much of it as a share of the turn is enough for."""
        source: bytes | bytearray = data
        if link.inb is not None:
            link.inb += data
            source = link.inb
        if self._links.is_deferred(link):
            link.inb = source if isinstance(source, bytearray) else bytearray(source)
            return
        link.inb = None
        limit = self._links.settings.max_message_bytes
        inflater = inflate if link.form == DEFLATE else None
        before = link.fragments
        said: list[bytes] = []
        pinged: bytes | None = None
        stop = time.monotonic() + SHARE_SECONDS
        start = count = 0
        while link.fd >= 0:
            received, start, link.fragments, broken = frames.read_frames(
                source, link.fragments, limit, inflater, start, 1
            )
            if not received:
                break
            count += 1
            opcode, payload = received[0]
            if opcode == frames.CLOSE:
                self._goodbye(link, said, payload)
                return
            if link.state == CLOSING:
                pass  # only the answer to our goodbye is of interest
            elif opcode == frames.TEXT:
                said.append(self._message(link, payload))
            elif opcode == frames.PING:
                pinged = payload
            elif opcode == frames.BINARY:
                said.append(self._binary(link))
            if start < len(source) and time.monotonic() >= stop:
                self._links.defer(link)
                break
        if link.fd < 0:
            return
        if start < len(source):
            kept = source if start == 0 else source[start:]
            link.inb = kept if isinstance(kept, bytearray) else bytearray(kept)
        if link.state == OPEN and not self._links.is_deferred(link):
            anew = start > 0 and (before is None or link.fragments is not before)
            self._links.begun(link, anew=anew)
        self._answer(link, said, pinged, broken)
        under_way = link.fragments.count if link.fragments is not None else 0
        if link.state == OPEN and max(count, under_way) > self._links.settings.client_rate_burst:
            self._links.rest(link)

    def _answer(
        self, link: Link, said: list[bytes], pinged: bytes | None, broken: frames.FrameError | None
    ) -> None:
        if link.state == CLOSING:
            if broken:
                self._links.drop(link, link.why)
            return
        if pinged is not None:
            # Only the newest of several needs an answer (RFC 6455, section 5.5.3).
            said.append(frames.encode_frame(frames.PONG, pinged))
        if broken is not None:
            said.append(frames.encode_close(broken.code, broken.reason))
            self._links.finish(link, b"".join(said), "protocol")
        elif said:
            self._links.send(link, said[0] if len(said) == 1 else b"".join(said))

    def _goodbye(self, link: Link, said: list[bytes], payload: bytes) -> None:
        """A client's close frame, which answers ours or is answered."""
        if link.state == CLOSING:
            self._links.drop(link, link.why)
        else:
            said.append(frames.encode_frame(frames.CLOSE, payload))
            self._links.finish(link, b"".join(said), "client")

    def _binary(self, link: Link) -> bytes:
        self._counters.client_messages += 1
        limited = self._limited(link)
        return self._error(limited or ClientError("BINARY_NOT_SUPPORTED", "messages are JSON in text frames"))

    def _message(self, link: Link, payload: bytes) -> bytes:
        self._counters.client_messages += 1
        limited = self._limited(link)
        if limited is not None:
            return self._error(limited)
        if self._strangers or self._fanout.personal:
            # No answer may speak of a stream that the client was not told of.
            self._fanout.hasten(link)
            if link in self._strangers:
                self._strangers.discard(link)
                self._links.send(link, self._introduction(link))
        try:
            message = parse_client_message(payload)
            if isinstance(message, Subscribe):
                return self._subscribe(link, message)
            if isinstance(message, Unsubscribe):
                self._fanout.hasten(link)
                self._joiner.forget(link, message.channels)
                self._channels.unsubscribe(link, message.channels)
                return answers.unsubscription_ack_frame(message.channels, len(link.channels))
            if isinstance(message, Replay):
                self._joiner.replay(link, message.above, message.upto)
                return b""
            seq = self._joiner.reached(link, self._fanout.settled())
            pong = answers.pong_frame(time.time_ns() // 1_000_000, seq)
            lost = self._fanout.untold(seq)
            if link.extra is not None:
                lost = max(lost, min(link.extra.lost, seq))
            # Or the client could go on from there on another node, and never hear of the loss.
            return answers.position_frame(seq, lost) + pong if lost else pong
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
        # What it was passed over comes before anything that a new name may bring.
        if message.resume is not None or message.last or link.withheld:
            self._joiner.hold(link)
        resume = message.resume if self._resumable(message.resume) else None
        if link.state != OPEN:  # hastening found it gone, or too slow: a subscription would outlive it
            return b""
        held = link.extra is not None and link.extra.joining is not None
        head, lost, level = self._fanout.head(), self._untold_of(link, names), self._joiner.level(link)
        options = CONFLATE * message.conflate | DELTA * message.delta
        self._channels.subscribe(link, names, options, held=held)
        if options & DELTA:
            # What came up to here it was not given, or not by this name: no patch can rest on it.
            link.with_extra().patched_after = head
        if resume is not None:  # the newest is among what comes then, or the client has it
            outcome: dict[str, Any] | None = self._resume(link, resume, names)
            said = self._acknowledged(link, names, head, outcome)
        else:
            if held:
                self._joiner.begin(link, [name for name in names if name not in known])
                if message.last:
                    self._joiner.last(link, names)
            if lost and len(known) == len(names) and message.resume is None:
                level = 0  # the client's own earlier acknowledgements count
            said = self._standing(link, message, known, level, head)
        # It claims no sequence, and tells of the loss.
        return answers.position_frame(0, lost) + said if lost else said

    def _standing(self, link: Link, message: Subscribe, known: set[str], level: int, head: int) -> bytes:
        """The acknowledgement of what is not resumed: two where old names stand elsewhere than new ones."""
        outcome: dict[str, Any] | None = None
        if message.resume is not None:
            outcome = {name: {"recovered": False} for name in message.channels}
            self._counters.gaps_told += len(outcome)
        old = tuple(name for name in message.channels if name in known)
        new = tuple(name for name in message.channels if name not in known)
        if not old or (new and level == head):
            return self._acknowledged(link, message.channels, head, outcome)
        said = self._acknowledged(link, old, level, outcome)
        return said + self._acknowledged(link, new, head, outcome) if new else said

    def _acknowledged(
        self, link: Link, names: tuple[str, ...], seq: int, outcome: dict[str, Any] | None
    ) -> bytes:
        own = {name: outcome[name] for name in names} if outcome is not None else None
        return answers.subscription_ack_frame(names, len(link.channels), seq, own)

    def _untold_of(self, link: Link, names: tuple[str, ...]) -> int:
        """What was lost on what a client has of these names and that it was not told; it is about to be.

        An acknowledgement of them would cover it.
        """
        told, own = (link.extra.told, link.extra.lost) if link.extra is not None else (0, 0)
        if max(self._fanout.lost_ever, own) <= told:
            return 0
        had = overlapping(link.channels, names)
        lost = max(self._fanout.untold_of(had), own) if had else 0
        if lost <= told:
            return 0
        link.with_extra().told = lost
        return lost

    def _resume(self, link: Link, resume: Resume, names: tuple[str, ...]) -> dict[str, Any]:
        """Begins the replay of what can be given, and says for each name whether that is all."""
        missing = self._joiner.resume(link, {name: resume.channels.get(name, resume.seq) for name in names})
        return {
            name: {"recovered": True} if lost is None else {"recovered": False, "missing": lost}
            for name, lost in missing.items()
        }

    def _resumable(self, resume: Resume | None) -> bool:
        """Whether the client saw this very stream.

        One that was made again can have the same epoch: then its messages have other times.
        """
        if resume is None or resume.epoch != self._ring.epoch:
            return False
        known = self._ring.time_of(resume.seq) if resume.ts_ms is not None else None
        return known is None or known == resume.ts_ms

    def _limited(self, link: Link) -> ClientError | None:
        settings = self._links.settings
        burst, per_second = settings.client_rate_burst, settings.client_rate_per_second
        due = spaced(link.paid_until, int(time.monotonic() * 1000), burst, per_second)
        if due is None:
            self._counters.rate_limited += 1
            self._links.rest(link)
            return ClientError(
                "RATE_LIMIT_EXCEEDED", f"at most {burst} messages at once and {per_second:g} a second"
            )
        link.paid_until = due
        return None

    def _error(self, error: ClientError) -> bytes:
        self._counters.client_errors[error.code] += 1
        return answers.error_frame(error)


def _going_on(message: Subscribe, last_event_id: str) -> Subscribe:
    """The subscription of an SSE client that comes back."""
    told = parse_last_event_id(last_event_id)
    if told is None:
        return message
    epoch, seq = told
    return Subscribe(
        message.channels,
        Resume(epoch, seq),
        last=message.last,
        conflate=message.conflate,
        delta=message.delta,
    )
