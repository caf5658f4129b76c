"""What a node counts: plain integers, added up on the hot paths and read at scrape.

No metric object, lock or label look-up is touched while a message is on its way; `metrics.py`
turns these figures into Prometheus families.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

# Upper bounds in seconds of the fan-out latency's buckets; one more bucket takes what is above.
FANOUT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Why a message of the stream is not sent: not JSON, too large, its subject is not UTF-8, or it comes too
# fast where it can't be left waiting (WS_FEED=core above WS_MAX_NATS_RATE).
BAD_PAYLOADS = ("json", "size", "subject", "rate")
# How clients ask for messages of the past.
REPLAYS = ("resume", "replay", "last")


class Counters:
    """Totals since the node's start.

    Attributes:
        connections_opened: upgraded to WebSocket.
        connections_closed: by reason: client, gone, slow, timeout, protocol, error, drain, shed,
            shutdown; of several processes also crash: the process that held them ended.
        connections_rejected: by reason of admission (`admission.REASONS`).
        handshakes_failed: by reason: not a WebSocket request, too late, too large, crowded out by others;
            where TLS is spoken also plain HTTP, and what is no TLS.
        messages_in, bytes_in: messages read from the stream, and bytes of their payloads.
        messages_out: frames with data given to clients' sockets or buffers.
        bytes_out: bytes of all that is broadcast: those frames, positions, news of the feed.
        bad_payloads: messages not sent, by reason (BAD_PAYLOADS).
        messages_replayed: those of messages_out that were of the past.
        messages_skipped: messages that conflating clients were passed over.
        replays: requests for messages of the past, by kind (REPLAYS).
        gaps_told: names of which a client was told that something may be missing.
        dropped_broadcasts: jobs that the full line let go.
        slow_clients: clients cut because they did not read.
        rate_limited: client messages refused for coming too fast.
        client_messages: messages received from clients.
        client_errors: error answers by code.
        feed_reconnects: times the connection to the broker was made again.
        feed_gaps: times the delivery skipped, and what was missing was asked of the stream.
        stream_holes: times the stream no longer had what came next.
        pings: pings sent.
        accept_failures: times no descriptor or memory was left to accept a client.
        fanout_buckets: messages by time from publishing to the last write, as FANOUT_BUCKETS + 1.
        fanout_seconds_sum: the sum of those times.
    """

    def __init__(self) -> None:
        self.connections_opened = 0
        self.connections_closed: Counter[str] = Counter()
        self.connections_rejected: Counter[str] = Counter()
        self.handshakes_failed: Counter[str] = Counter()
        self.messages_in = 0
        self.bytes_in = 0
        self.messages_out = 0
        self.bytes_out = 0
        self.bad_payloads: Counter[str] = Counter()
        self.messages_replayed = 0
        self.messages_skipped = 0
        self.replays: Counter[str] = Counter()
        self.gaps_told = 0
        self.dropped_broadcasts = 0
        self.slow_clients = 0
        self.rate_limited = 0
        self.client_messages = 0
        self.client_errors: Counter[str] = Counter()
        self.feed_reconnects = 0
        self.feed_gaps = 0
        self.stream_holes = 0
        self.pings = 0
        self.accept_failures = 0
        self.fanout_buckets = [0] * (len(FANOUT_BUCKETS) + 1)
        self.fanout_seconds_sum = 0.0

    def observe_fanout(self, seconds: float) -> None:
        """Adds one message's time from its publishing to its last write."""
        self.fanout_buckets[bisect_left(FANOUT_BUCKETS, seconds)] += 1
        self.fanout_seconds_sum += seconds
