"""What a load run is asked to do, checked before the first socket is opened."""

from __future__ import annotations

import re
import resource
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wsnode.config.quantities import parse_duration
from wsnode.reconnect import LONGEST_SECONDS
from wsnode.trust import TrustError, client_context

MAX_CONNECTIONS = 1_000_000
MAX_RATE = 100_000.0
_SPARE_DESCRIPTORS = 64
"""Beside the clients: standard streams, the epoll, modules being read."""

_CHANNEL = re.compile(r"[^\s.*>\x00-\x1f\x7f\"\\]+(?:\.[^\s.*>\x00-\x1f\x7f\"\\]+)+")
_PATTERN = re.compile(r"\*|[^\s.*>\x00-\x1f\x7f\"\\]+\.\*|\*(?:\.[^\s.*>\x00-\x1f\x7f\"\\]+)+")
_RANGE = re.compile(r"\{(\d{1,7})\.\.(\d{1,7})\}")
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class LoadError(ValueError):
    """The run can't start as asked; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Target:
    """A ws:// or wss:// URL, taken apart."""

    host: str
    port: int
    path: str
    """Path and query, as the request line wants it."""
    authority: str
    """Host and port, as the Host header wants it."""
    secure: bool = False
    """TLS is spoken there."""


def parse_url(url: str) -> Target:
    """A ws:// or wss:// URL. Raises LoadError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise LoadError(f"URL {url!r}: {exc}") from exc
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise LoadError(f"URL {url!r}: expected ws://HOST[:PORT]/PATH or wss://HOST[:PORT]/PATH")
    if parts.username is not None or parts.fragment:
        raise LoadError(f"URL {url!r}: user names and fragments are not supported")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if port == 0 or not (path + parts.netloc).isascii() or any(c <= " " for c in path + parts.netloc):
        raise LoadError(f"URL {url!r}: port 0, spaces and characters beyond ASCII are not allowed")
    secure = parts.scheme == "wss"
    return Target(parts.hostname, port or (443 if secure else 80), path, parts.netloc, secure)


def expand_channels(text: str, *, patterns: bool = False) -> tuple[str, ...]:
    """Comma-separated channel names; `S{0..99}.trade` stands for a hundred. Raises LoadError.

    `patterns`: BTC.*, *.trade and * are welcome too.
    """
    names: list[str] = []
    for item in text.split(","):
        item = item.strip()
        span = _RANGE.search(item)
        if span is None:
            names.append(item)
            continue
        low, high = int(span[1]), int(span[2])
        if not low <= high < low + 100_000:
            raise LoadError(f"channels {item!r}: the range must go upwards and hold at most 100000 names")
        names += [f"{item[: span.start()]}{n}{item[span.end() :]}" for n in range(low, high + 1)]
    for name in names:
        if _CHANNEL.fullmatch(name) or (patterns and _PATTERN.fullmatch(name)):
            continue
        if patterns:
            wanted = "SYMBOL.EVENT without spaces or quotes, or SYMBOL.*, *.EVENT, *"
            raise LoadError(f"channel {name!r}: expected {wanted}")
        raise LoadError(f"channel {name!r}: expected SYMBOL.EVENT, without spaces, quotes or wildcards")
    return tuple(dict.fromkeys(names))


def seconds_of(name: str, text: str) -> float:
    """A time as `30`, `30s` or `1m30s`, in seconds. Raises LoadError."""
    try:
        return float(parse_duration(text))
    except ValueError as exc:
        raise LoadError(f"{name} {text!r}: {exc}") from exc


def span_of(name: str, text: str) -> tuple[float, float]:
    """Two times as `5-15s` or `500ms-2s`, in seconds; one alone stands for both. Raises LoadError."""
    low, dash, high = text.partition("-")
    if dash and low.strip().replace(".", "", 1).isdigit():  # the unit stands behind the second
        low += high.strip().lstrip("0123456789.")
    return seconds_of(name, low), seconds_of(name, high if dash else low)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """One load run. Raises LoadError when a value is out of bounds."""

    url: str
    connections: int = 1
    rate: float = 500.0
    """New connections a second."""
    channels: tuple[str, ...] = ("BTC.trade",)
    channels_each: int = 1
    """Channels of one client; clients take them from the list in turn."""
    check: bool = False
    """Verify `seq` and `prev` of every message."""
    open_timeout: float = 10.0
    """Seconds for each of: connect with handshake, then the acknowledgement."""
    reconnect: bool = True
    """Come back after a close or a failed open."""
    resume: bool = False
    """Go on where the last connection ended, instead of with what is live."""
    churn: tuple[float, float] | None = None
    """Cut each connection at random after so many seconds, between these two; None cuts none."""
    retry_longest: float = LONGEST_SECONDS
    """Upper bound of the jitter after a failed open, in seconds."""
    heartbeat: float = 0.0
    """Seconds between a client's heartbeats; 0 sends none."""
    silence: float = 60.0
    """Seconds without a byte after which a client that was greeted takes its node for dead; 0 is never."""
    marks: tuple[int, ...] = ()
    """Counts of open connections whose first crossing is noted with its time."""

    ca: str = ""
    """PEM file with the authorities trusted under wss://; empty trusts the system's."""
    insecure: bool = False
    """Any certificate will do under wss://."""

    def __post_init__(self) -> None:
        if parse_url(self.url).secure or self.ca or self.insecure:
            try:
                client_context(self.ca, insecure=self.insecure)
            except TrustError as exc:
                raise LoadError(str(exc)) from exc
        _within("connections", self.connections, 0, MAX_CONNECTIONS)
        _within("rate", self.rate, 0.1, MAX_RATE)
        _within("open timeout", self.open_timeout, 0.1, 600)
        _within("longest retry delay", self.retry_longest, 0.01, 3600)
        _within("heartbeat", self.heartbeat, 0, 86_400)
        _within("silence", self.silence, 0, 86_400)
        if self.churn is not None:
            _within("churn", self.churn[0], 0.01, 86_400)
            _within("churn", self.churn[1], self.churn[0], 86_400)
        if not self.channels:
            raise LoadError("channels: at least one is needed")
        _within("channels each", self.channels_each, 1, len(self.channels))
        for mark in self.marks:
            _within("mark", mark, 1, MAX_CONNECTIONS)

    @property
    def target(self) -> Target:
        """The URL, taken apart."""
        return parse_url(self.url)


def _within(name: str, value: float, low: float, high: float) -> None:
    # Written so that NaN is refused too.
    if not low <= value <= high:
        raise LoadError(f"{name} {value:g}: must be between {low:g} and {high:g}")


def raise_descriptor_limit(connections: int) -> int:
    """Let this process open `connections` sockets; the limit in force after it. Raises LoadError.

    The soft limit may be raised up to the hard one by anybody, the hard one by root alone.
    """
    needed = connections + _SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _holds(soft, needed):
        return soft
    # As high as allowed: the process may have other descriptors than the clients'.
    for ceiling in (hard, max(hard, 2 * needed)):
        if not _holds(ceiling, needed):
            continue
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, ceiling))
        except (ValueError, OSError):
            continue
        return ceiling
    raise LoadError(
        f"connections {connections}: {needed} file descriptors are needed and this process may open {hard}"
        f" (RLIMIT_NOFILE); raise it, for instance with `ulimit -Hn {needed}` as root, or ask for less"
    )


def _holds(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed


def check_local_ports(connections: int) -> None:
    """One source address has only so many ports towards one target. Raises LoadError."""
    try:
        low, high = (int(word) for word in _PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        return
    if connections > high - low + 1:
        raise LoadError(
            f"connections {connections}: one source address has {high - low + 1} ports towards one target"
            " (net.ipv4.ip_local_port_range); widen the range or run from several machines"
        )
