"""The node as one object: its parts, wired, and what its admin port sees of it (`view.NodeView`)."""

from __future__ import annotations

import asyncio
import logging
import os
import time

from wsnode import logs
from wsnode.certificates import Pair, Renewal, context_of, read_pair, status_after
from wsnode.channels import Channels
from wsnode.config import Settings
from wsnode.conflation import Flusher
from wsnode.connection_memory import ConnectionMemory, MemoryGrowth
from wsnode.counters import Counters
from wsnode.door import Door
from wsnode.drain import Drain
from wsnode.fanout import Fanout
from wsnode.feed import Feed
from wsnode.gauges import Gauges
from wsnode.group import Group
from wsnode.holdings import Holdings
from wsnode.intake import Intake
from wsnode.joining import Joiner
from wsnode.link import HANDSHAKE, SSE, Link
from wsnode.links import Links
from wsnode.listener import bind_listener
from wsnode.position import PositionClock
from wsnode.protocol.answers import feed_frame
from wsnode.protocol.forms import reframe
from wsnode.ring import Ring, Window
from wsnode.rounds import Announcement
from wsnode.secure_links import SecureLinks
from wsnode.sessions import Sessions
from wsnode.sweep import Sweep
from wsnode.view import DrainStatus, FeedStatus, ProcessStatus, ShedStatus, TlsStatus, waiting_for_feed
from wsnode.watch import SettingsChange, describe_change

_log = logging.getLogger(__name__)
_TICK_SECONDS = 1.0


class Node:
    """One node, or one process of it. Made inside the running loop; `open` binds the client port.

    Attributes:
        settings: those in force.
        settings_error, settings_hash, tls, counters, started_at: see `view.NodeView`.
        pair: the certificate that it began with, if it speaks TLS.
        drain_control: the drain, for the server's stop.
    """

    def __init__(
        self,
        settings: Settings,
        settings_hash: str = "",
        group: Group | None = None,
        pair: Pair | None = None,
    ) -> None:
        """`group` are the processes that make up the node; by default this one alone.

        `pair` is what TLS is spoken with; by default what the settings' files hold.

        Raises:
            CertificateError: those can't be served from.
        """
        loop = asyncio.get_running_loop()
        self._group = group = group or Group()
        self.settings = settings
        self.settings_error: str | None = None
        self.settings_hash = settings_hash
        self.started_at = time.monotonic()
        self.counters = Counters()
        self.tls: TlsStatus | None = None
        self.pair: Pair | None = None
        self._loop = loop
        self._gauges = Gauges(settings.cpu_limit, group)
        self._memory_growth = MemoryGrowth()
        self._ring = Ring(
            Window(settings.js_stream_max_age, settings.js_stream_max_msgs, settings.js_stream_max_bytes)
        )
        self._channels: Channels[Link] = Channels()
        self._links = self._make_links(group.share(settings, 0), pair)
        self._door = Door(
            settings,
            self._links,
            self._gauges,
            group,
            refusing=lambda: self.drain_control.refusing,
            tasks=lambda: len(asyncio.all_tasks(loop)),
        )
        self._admission = self._door.admission
        self._fanout = Fanout(loop, self._links, self._channels, self._ring, self.counters)
        parts = self._links, self._channels, self._fanout
        self._flusher = Flusher(self._links, self._ring, self.counters, self._fanout)
        self._joiner = Joiner(loop, *parts, self._ring, self.counters)
        self._joiner.caught_up = self._level
        self._sessions = Sessions(*parts, self._joiner, self._ring, self.counters)
        self._sweep = Sweep(self._links, self.counters)
        self._positions = PositionClock(loop, settings.position_interval, self._fanout.position)
        self._holdings = Holdings(self._links, self._ring)
        self.drain_control = Drain(loop, self._links, self._door.open_in_all)
        self.feed_reader = Feed(
            settings,
            self._ring,
            self.counters,
            on_message=self._fanout.push,
            on_connected=self._tell_feed,
            on_restart=self._stream_restarted,
            on_hole=self._fanout.note_loss,
            on_unsent=self._fanout.note_unsent,
            room=lambda: self.settings.worker_queue_size - self._fanout.depth,
        )
        self._intake: Intake | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tick_due = 0.0
        self._epoch_told = ""
        self.port = 0

    # Start and stop, called in order by the server.

    def open(self, *, accept: bool = True) -> None:
        """Binds the client port and serves; without `accept` clients are taken from `accept` on.

        Raises:
            OSError: the port can't be bound.
        """
        listener = bind_listener(self.settings.addr, shared=self._group.shares_port)
        self.port = listener.getsockname()[1]
        self._intake = Intake(
            self._loop,
            listener,
            self._links,
            self.counters,
            admit=self._door.admit,
            healthy=lambda: self.healthy,
            greet=self._greet,
            read=self._sessions.read,
            descriptors_free=self._door.descriptors_free,
            overloaded=lambda: self._admission.pausing,
        )
        self._door.open_from = self._intake.from_address
        self._links.on_data = self._received
        self._links.on_leave = self._left
        self._links.on_drop = self._intake.dropped
        self._links.on_emptied = self._emptied
        self._gauges.lag.start()
        self._tick_due = self._loop.time()
        self._tick()
        self._positions.start()
        if accept:
            self.accept()

    def accept(self) -> None:
        """From now on clients are taken."""
        assert self._intake is not None
        self._intake.start()

    def close_port(self) -> None:
        """Refuses who waits at the door, and closes it."""
        if self._intake is not None:
            self._intake.stop()

    def close(self) -> None:
        """Ends all that is left."""
        if self._timer is not None:
            self._timer.cancel()
        self._positions.stop()
        self._gauges.lag.stop()
        self.drain_control.stop()
        self._links.shut()

    def apply(self, change: SettingsChange) -> None:
        """Takes a changed settings file over, or notes what is wrong with it. No connection is touched."""
        self.settings_error, self.settings_hash = change.error, change.file_hash
        if change.settings is None:
            _log.error("settings file not taken over", extra=logs.fields(error=change.error))
            return
        before, self.settings = self.settings, change.settings
        self._door.update(change.settings)
        self._take_share()
        self._positions.update(change.settings.position_interval)
        self.feed_reader.update(change.settings)
        self._gauges.cpu.limit_cores = change.settings.cpu_limit
        logs.set_level(change.settings.log_level)
        _log.info("settings applied", extra=logs.fields(**describe_change(before, change.settings)))

    def renew(self, renewal: Renewal) -> None:
        """Takes a renewed certificate over for new connections, or notes what is wrong with it."""
        if self.tls is None or not isinstance(self._links, SecureLinks):
            return
        if renewal.pair is not None:
            self._links.context = context_of(renewal.pair, self.settings.tls_min_version)
        self.tls = status_after(renewal, self.tls)

    def _make_links(self, settings: Settings, pair: Pair | None) -> Links:
        if not settings.tls_cert_file:
            return Links(self._loop, settings, self.counters)
        self.pair = pair = pair or read_pair(settings)
        self.tls = TlsStatus(pair.ends_at)
        context = context_of(pair, settings.tls_min_version)
        return SecureLinks(self._loop, settings, self.counters, context)

    # What the admin port sees and may ask.

    @property
    def connections(self) -> int:
        return self._links.open_count

    @property
    def goroutines(self) -> int:
        # Tasks: the feed's, the library's for its connection, and the watch on the settings.
        tasks = len(asyncio.all_tasks(self._loop))
        return 2 * self._links.open_count + self.settings.worker_pool_size + tasks

    @property
    def cpu_percent(self) -> float:
        return self._gauges.cpu.percent

    @property
    def cpu_seconds_total(self) -> float:
        return self._gauges.cpu.seconds_total

    @property
    def memory_bytes(self) -> int:
        return self._gauges.memory.bytes

    @property
    def connection_memory(self) -> ConnectionMemory | None:
        return self._memory_growth.figure

    @property
    def loop_lag_seconds(self) -> float:
        return self._gauges.lag.seconds

    @property
    def throttled_seconds(self) -> float:
        return self._gauges.throttle.seconds

    @property
    def feed(self) -> FeedStatus:
        return self.feed_reader.status

    @property
    def drain(self) -> DrainStatus:
        return self.drain_control.status

    @property
    def shed_left(self) -> int:
        return self.drain_control.shed_left

    @property
    def ready(self) -> bool:
        return self.not_ready_reason is None

    @property
    def not_ready_reason(self) -> str | None:
        if self.drain_control.active:
            return "draining"
        feed = self.feed_reader.status
        return None if feed.seeded else waiting_for_feed(feed)

    @property
    def healthy(self) -> bool:
        return self.ready and self._door.refusal(None) is None

    @property
    def queue_depth(self) -> int:
        return self._fanout.depth

    @property
    def ring_messages(self) -> int:
        return len(self._ring)

    @property
    def ring_bytes(self) -> int:
        return self._ring.bytes

    @property
    def processes(self) -> dict[int, ProcessStatus]:
        pid = os.getpid()
        loop_percent = self._gauges.cpu.loop_percent(pid)
        position = self.feed_reader.status.position
        return {1: ProcessStatus(pid, self.connections, loop_percent, self.loop_lag_seconds, position)}

    @property
    def process_restarts(self) -> int:
        return 0

    @property
    def stuck_processes(self) -> tuple[int, ...]:
        return ()  # it could not say so

    def start_drain(self, rate: float | None) -> None:
        self.drain_control.start(rate)

    def cancel_drain(self) -> None:
        self.drain_control.cancel()

    def shed(self, shed_id: str, target: int, rate: float) -> ShedStatus:
        return self.drain_control.shed(shed_id, target, rate)

    # Between the parts.

    def _received(self, link: Link, data: bytes) -> None:
        assert self._intake is not None
        if link.state == HANDSHAKE:
            self._intake.request(link, data)
        elif link.form == SSE:
            self._intake.unasked(link)
        else:
            self._sessions.read(link, data)

    def _left(self, link: Link) -> None:
        self._channels.leave(link)
        if self._intake is not None:
            self._intake.left(link)
        self._door.left(link)

    def _greet(self, link: Link, query: str, last_event_id: str) -> bytes:
        self._group.entered()
        return self._sessions.greet(link, query, last_event_id)

    def _emptied(self, link: Link) -> None:
        self._flusher.flush(link)
        self._joiner.emptied(link)

    def _level(self) -> bool:
        feed = self.feed_reader.status
        return feed.connected and not feed.paused and not feed.lag and not self._fanout.busy

    def _take_share(self) -> None:
        """Takes this process's part of the node's rates and budgets, where it is another than before."""
        own = self._group.share(self.settings, self._links.open_count)
        if own is not self._links.settings:
            self._links.settings = own
            self._fanout.update(own)

    def _tell_feed(self, connected: bool) -> None:
        self._sessions.feed_lost = not connected
        frame = feed_frame(connected)
        self._fanout.announce(Announcement(frame=lambda form: reframe(form, frame)))

    def _stream_restarted(self, epoch: str) -> None:
        before, self._epoch_told = self._epoch_told, epoch
        self._ring.epoch = epoch
        self._fanout.restart()
        self._joiner.reset()
        if before or self._links.open_count:
            self._sessions.introduce_again()

    def _trim_ring(self) -> None:
        """Lets go what left the window; of much at once the rest in the turns that follow."""
        if self._ring.trim(time.time_ns() // 1_000_000):
            self._loop.call_soon(self._trim_ring)

    def _tick(self) -> None:
        """Once a second: the sweep, the gauges, the door, the feed's pause, the ring's age."""
        loop_time, now = self._loop.time(), time.monotonic()
        self._tick_due = max(self._tick_due + _TICK_SECONDS, loop_time)
        self._timer = self._loop.call_at(self._tick_due, self._tick)
        self._take_share()
        self._gauges.sample(now)
        if self.feed_reader.status.seeded:
            self._memory_growth.sample(self.connections, self.memory_bytes - self.ring_bytes)
        self._door.observe(now)
        # Replays slow down first, before the feed pauses.
        self._joiner.slow = self._admission.cpu_short
        self.feed_reader.pause(self._admission.paused(self._gauges.cpu.percent))
        self._sweep.tick(now)
        self._trim_ring()
        self._holdings.tick()
