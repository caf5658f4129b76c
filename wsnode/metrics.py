"""The node's metrics: one table, read from plain counters when somebody scrapes.

Names come from the seed's alerts (`ws_connections_current`, `ws_cpu_percent`,
`ws_connections_rejected_total`); the others are of the same family. `wsnode metrics` prints the table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, cast

from wsnode.admission import REASONS
from wsnode.counters import BAD_PAYLOADS, FANOUT_BUCKETS, REPLAYS
from wsnode.version import version
from wsnode.view import NodeView, ProcessStatus

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_OF_ONE = ("process_start_time_seconds", "process_max_fds")
Value = float | Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table.

    Attributes:
        name: as scraped; counters end in `_total`.
        kind: counter, gauge, histogram or info.
        help: one line, with the unit.
        read: the value, or label value -> value where there is a label.
        label: name of the only label, if there is one.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    read: Callable[[NodeView], Value]
    label: str | None = None


def _counter(name: str, text: str, read: Callable[[NodeView], Value], label: str | None = None) -> Metric:
    return Metric(name, "counter", text, read, label)


def _gauge(name: str, text: str, read: Callable[[NodeView], Value], label: str | None = None) -> Metric:
    return Metric(name, "gauge", text, read, label)


def _rejected(view: NodeView) -> dict[str, float]:
    # All reasons from the start, or the first rejection would be no increase to `rate()`.
    return dict.fromkeys(REASONS, 0) | dict(view.counters.connections_rejected)


def _bad_payloads(view: NodeView) -> dict[str, float]:
    return {reason: view.counters.bad_payloads[reason] for reason in BAD_PAYLOADS}


def _replays(view: NodeView) -> dict[str, float]:
    return {kind: view.counters.replays[kind] for kind in REPLAYS}


def _drain_states(view: NodeView) -> dict[str, float]:
    return {state: float(view.drain.state == state) for state in ("none", "delay", "closing", "drained")}


def _tls_error(view: NodeView) -> float:
    return view.tls is not None and view.tls.error is not None


def _certificate_expiry(view: NodeView) -> Value:
    # No sample and not 0: that would be long ended, and set off whoever watches it.
    return view.tls.ends_at if view.tls is not None else {}


def _of_processes(read: Callable[[ProcessStatus], float]) -> Callable[[NodeView], Value]:
    return lambda view: {str(place): read(process) for place, process in view.processes.items()}


METRICS: tuple[Metric, ...] = (
    Metric("ws_build_info", "info", "version of the node", lambda v: {version(): 1}, "version"),
    # Connections.
    _gauge("ws_connections_current", "open client connections", lambda v: v.connections),
    _gauge("ws_connections_max", "WS_MAX_CONNECTIONS", lambda v: v.settings.max_connections),
    _counter("ws_connections_opened_total", "clients let in", lambda v: v.counters.connections_opened),
    _counter(
        "ws_connections_closed_total",
        "connections closed, by reason: client, gone, slow, timeout, protocol, error, drain, shed, shutdown, "
        "crash (its process ended)",
        lambda v: v.counters.connections_closed,
        "reason",
    ),
    _counter(
        "ws_connections_rejected_total",
        "clients refused with 503 or 403, by reason; for handshakes: others' take all places for them",
        _rejected,
        "reason",
    ),
    _counter(
        "ws_handshakes_failed_total",
        "handshakes that were none, by reason: not_websocket, too_late, too_large, crowded_out (an address "
        "had the most of them under way where no more fit), plain_http, tls",
        lambda v: v.counters.handshakes_failed,
        "reason",
    ),
    _counter(
        "ws_accept_failures_total",
        "times no descriptor or memory was left for a client",
        lambda v: v.counters.accept_failures,
    ),
    _counter(
        "ws_slow_clients_total",
        "clients cut because they did not read",
        lambda v: v.counters.slow_clients,
    ),
    _counter("ws_pings_total", "pings sent", lambda v: v.counters.pings),
    # Messages.
    _counter("ws_messages_in_total", "messages read from the stream", lambda v: v.counters.messages_in),
    _counter("ws_messages_out_total", "data frames sent to clients", lambda v: v.counters.messages_out),
    _counter("ws_bytes_in_total", "bytes read from the stream: payloads", lambda v: v.counters.bytes_in),
    _counter("ws_bytes_out_total", "bytes broadcast, positions included", lambda v: v.counters.bytes_out),
    _counter("ws_replay_requests_total", "requests for messages of the past, by kind", _replays, "kind"),
    _counter(
        "ws_messages_replayed_total",
        "messages of the past delivered to clients",
        lambda v: v.counters.messages_replayed,
    ),
    _counter(
        "ws_messages_skipped_total",
        "messages that conflating clients were passed over for a newer one",
        lambda v: v.counters.messages_skipped,
    ),
    _counter(
        "ws_gaps_told_total",
        "names of which a client was told that something may be missing",
        lambda v: v.counters.gaps_told,
    ),
    _counter(
        "ws_bad_payloads_total",
        "messages of the stream that were not sent, by reason",
        _bad_payloads,
        "reason",
    ),
    Metric(
        "ws_fanout_latency_seconds",
        "histogram",
        "seconds from a message's publishing to its last write",
        lambda v: v.counters.fanout_seconds_sum,
    ),
    _gauge("ws_queue_depth", "broadcast jobs that wait", lambda v: v.queue_depth),
    _gauge("ws_queue_max", "WS_WORKER_QUEUE_SIZE", lambda v: v.settings.worker_queue_size),
    _counter(
        "ws_dropped_broadcasts_total",
        "broadcast jobs dropped from the full line",
        lambda v: v.counters.dropped_broadcasts,
    ),
    _counter("ws_client_messages_total", "messages from clients", lambda v: v.counters.client_messages),
    _counter(
        "ws_client_errors_total",
        "error answers to clients, by code",
        lambda v: v.counters.client_errors,
        "code",
    ),
    _counter(
        "ws_rate_limited_total", "client messages refused for their rate", lambda v: v.counters.rate_limited
    ),
    # Feed and ring.
    _gauge("ws_feed_connected", "1 while the broker answers", lambda v: v.feed.connected),
    _gauge("ws_feed_paused", "1 while reading is held back", lambda v: v.feed.paused),
    _gauge("ws_feed_lag_messages", "messages that wait in the stream", lambda v: v.feed.lag),
    _gauge("ws_feed_position", "stream sequence of the last message read", lambda v: v.feed.position),
    _counter("ws_feed_reconnects_total", "connections made again", lambda v: v.counters.feed_reconnects),
    _counter(
        "ws_feed_gaps_total",
        "times a delivery skipped, and the stream was asked for what was missing",
        lambda v: v.counters.feed_gaps,
    ),
    _counter(
        "ws_stream_holes_total",
        "times the stream no longer had what came next",
        lambda v: v.counters.stream_holes,
    ),
    _gauge("ws_ring_messages", "messages kept for resuming clients", lambda v: v.ring_messages),
    _gauge("ws_ring_bytes", "bytes kept for resuming clients", lambda v: v.ring_bytes),
    # Load.
    _gauge("ws_cpu_percent", "CPU in use, in % of WS_CPU_LIMIT, 5 s average", lambda v: v.cpu_percent),
    _gauge("ws_cpu_limit_cores", "WS_CPU_LIMIT", lambda v: v.settings.cpu_limit),
    _counter("ws_cpu_seconds_total", "CPU time of all processes", lambda v: v.cpu_seconds_total),
    _counter(
        "ws_cpu_throttled_seconds_total",
        "time for which the CPU quota held the node back",
        lambda v: v.throttled_seconds,
    ),
    _gauge(
        "ws_loop_lag_seconds", "how late the event loop runs, worst of a second", lambda v: v.loop_lag_seconds
    ),
    _gauge("ws_memory_bytes", "memory in use", lambda v: v.memory_bytes),
    _gauge("ws_memory_limit_bytes", "WS_MEMORY_LIMIT", lambda v: v.settings.memory_limit),
    _gauge("ws_goroutines_current", "units of concurrent work", lambda v: v.goroutines),
    _gauge("ws_goroutines_limit", "WS_MAX_GOROUTINES", lambda v: v.settings.max_goroutines),
    _gauge(
        "ws_cpu_reject_threshold_percent",
        "WS_CPU_REJECT_THRESHOLD",
        lambda v: v.settings.cpu_reject_threshold,
    ),
    _gauge(
        "ws_cpu_pause_threshold_percent",
        "WS_CPU_PAUSE_THRESHOLD",
        lambda v: v.settings.cpu_pause_threshold,
    ),
    # Processes that serve clients, by their place among them.
    _gauge(
        "ws_process_connections",
        "open client connections of one process",
        _of_processes(lambda process: process.connections),
        "process",
    ),
    _gauge(
        "ws_process_loop_percent",
        "% of the time in which one process's event loop ran or waited for a CPU, 5 s average",
        _of_processes(lambda process: process.loop_percent),
        "process",
    ),
    _gauge(
        "ws_process_loop_lag_seconds",
        "how late one process's event loop runs, worst of a second",
        _of_processes(lambda process: process.loop_lag_seconds),
        "process",
    ),
    _gauge(
        "ws_process_feed_position",
        "stream sequence of the last message that one process read",
        _of_processes(lambda process: process.feed_position),
        "process",
    ),
    _counter(
        "ws_process_restarts_total", "processes that ended and were replaced", lambda v: v.process_restarts
    ),
    # State.
    _gauge("ws_ready", "1 while clients may be sent here", lambda v: v.ready),
    _gauge("ws_drain_state", "1 for the state the drain is in", _drain_states, "state"),
    _gauge("ws_settings_error", "1 while the settings file is bad", lambda v: v.settings_error is not None),
    _gauge("ws_tls_error", "1 while a changed certificate or key is bad", _tls_error),
    _gauge(
        "ws_tls_certificate_expiry_seconds",
        "when the client port's certificate ends, in seconds since 1970; absent without TLS",
        _certificate_expiry,
    ),
    _gauge("ws_uptime_seconds", "seconds since the start", lambda v: time.monotonic() - v.started_at),
)


class Collector:
    """Turns the table into families for prometheus_client, at scrape."""

    def __init__(self, view: NodeView) -> None:
        self._view = view

    def collect(self) -> Iterator[Any]:
        """One family a row."""
        for metric in METRICS:
            yield _family(metric, self._view)


class ProcessTotals:
    """What is customary of a process (`process_*`), of all of the node's together.

    The start and the descriptors that one may have are this process's own.
    """

    def __init__(self, view: NodeView) -> None:
        self._view = view

    def collect(self) -> Iterator[Any]:
        """The families of prometheus_client's own collector, summed."""
        from prometheus_client import ProcessCollector

        families: dict[str, Any] = {}
        own = os.getpid()
        others = {process.pid for process in self._view.processes.values() if process.pid} - {own}
        for pid in (own, *others):
            for family in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                first = families.setdefault(family.name, family)
                if first is not family and family.name not in _OF_ONE:
                    sample, more = first.samples[0], family.samples[0].value
                    first.samples[0] = sample._replace(value=sample.value + more)
        yield from families.values()


class Exposition:
    """Renders a scrape of one node: the table, and what is customary of a process (`process_*`)."""

    def __init__(self, view: NodeView) -> None:
        from prometheus_client import CollectorRegistry

        # A registry of its own: the library's global one would mix nodes of one test process.
        self._registry: CollectorRegistry = CollectorRegistry(auto_describe=False)
        self._registry.register(cast("Any", Collector(view)))  # a collector by its shape
        self._registry.register(cast("Any", ProcessTotals(view)))

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type, in the form that an Accept header asks for."""
        from prometheus_client.exposition import choose_encoder

        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type


def _family(metric: Metric, view: NodeView) -> Any:
    from prometheus_client import metrics_core as core

    if metric.kind == "histogram":
        return _histogram(metric, view)
    value = metric.read(view)
    labels = [metric.label] if metric.label else []
    family: Any
    if metric.kind == "counter":
        family = core.CounterMetricFamily(metric.name, metric.help, labels=labels)
    else:
        family = core.GaugeMetricFamily(metric.name, metric.help, labels=labels)
    if isinstance(value, Mapping):
        for label, number in value.items():
            family.add_metric([label], float(number))
    else:
        family.add_metric([], float(value))
    return family


def _histogram(metric: Metric, view: NodeView) -> Any:
    from prometheus_client import metrics_core as core

    bounds = [*(str(bound) for bound in FANOUT_BUCKETS), "+Inf"]
    totals = accumulate(view.counters.fanout_buckets)
    return core.HistogramMetricFamily(
        metric.name,
        metric.help,
        buckets=list(zip(bounds, totals, strict=True)),
        sum_value=cast("float", metric.read(view)),
    )
