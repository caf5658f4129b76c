"""What comes to a fleet over time: clients that want to be connected, messages, and what goes wrong.

A trace is a list of points between which the figures run in straight lines. Times are seconds from its start.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MOST_SECONDS = 31 * 86_400.0
MOST_CONNECTIONS = 10_000_000
MOST_RATE = 100_000.0
COLUMNS = ("time", "connections", "rate")


class TraceError(ValueError):
    """A trace that can't be used; the text names the file's line."""


class Point(NamedTuple):
    """Clients that want to be connected, and messages a second to each of them, at a time in seconds."""

    seconds: float
    connections: float
    rate: float


@dataclass(frozen=True, slots=True)
class Trace:
    """Points in order of time, at least one."""

    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise TraceError("a trace needs at least one point")

    @property
    def seconds(self) -> float:
        """How long the trace is."""
        return self.points[-1].seconds

    @property
    def most_connections(self) -> float:
        """The highest number of clients."""
        return max(point.connections for point in self.points)

    def at(self, seconds: float) -> Point:
        """The figures at a time; before the first point as there, after the last as there."""
        after = bisect_right(self.points, seconds, key=lambda point: point.seconds)
        if after == 0:
            return self.points[0]
        before = self.points[after - 1]
        if after == len(self.points):
            return before
        following = self.points[after]
        share = (seconds - before.seconds) / (following.seconds - before.seconds)
        return Point(
            seconds,
            before.connections + share * (following.connections - before.connections),
            before.rate + share * (following.rate - before.rate),
        )


@dataclass(frozen=True, slots=True)
class Outage:
    """The way to the nodes is cut: all connections break, none opens, from `start` to `end` (seconds)."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Cut:
    """So many connections break at once and come back by their own back-off."""

    at: float
    connections: int


@dataclass(frozen=True, slots=True)
class NodesLost:
    """A share of the machines is gone without a word."""

    at: float
    share: float


@dataclass(frozen=True, slots=True)
class Silence:
    """A share of the nodes gives no figures, from `start` to `end` (seconds)."""

    start: float
    end: float
    share: float


@dataclass(frozen=True, slots=True)
class NewShape:
    """The pods' template changes: every node has to be replaced."""

    at: float


Incident = Outage | Cut | NodesLost | Silence | NewShape


def read_trace(path: Path, default_rate: float = 1.0) -> Trace:
    """A trace from a CSV file with the columns time (s), connections, and rate (messages/s to each client).

    The rate may be left out. A first line with the columns' names is optional; empty lines and those that
    start with # are passed over.

    Raises:
        TraceError: with the line's number, the value, and what is allowed.
        OSError: the file can't be read.
    """
    points: list[Point] = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file, strict=True)
        try:
            for row in reader:
                if not row or not "".join(row).strip() or row[0].lstrip().startswith("#"):
                    continue
                if not points and row[0].strip().lower() in ("time", "seconds", "t"):
                    continue
                points.append(_point(row, default_rate, points, f"{path}, line {reader.line_num}"))
        except UnicodeDecodeError as error:
            raise TraceError(f"{path}: not text in UTF-8 ({error.reason})") from error
        except csv.Error as error:
            raise TraceError(f"{path}, line {reader.line_num}: {error}") from error
    if len(points) < 2:
        raise TraceError(f"{path}: {len(points)} lines of figures; a trace needs at least 2")
    return Trace(tuple(points))


def _point(row: Sequence[str], default_rate: float, before: Sequence[Point], where: str) -> Point:
    if not 2 <= len(row) <= 3:
        raise TraceError(f"{where}: {len(row)} columns; must be time,connections or time,connections,rate")
    seconds = _number(row[0], "time", MOST_SECONDS, where)
    if before and seconds <= before[-1].seconds:
        last = f"{before[-1].seconds:g}"
        raise TraceError(f"{where}: time {seconds:g} must be above {last}, the time of the line before")
    if not before and seconds != 0:
        raise TraceError(f"{where}: time {seconds:g} must be 0 in the first line")
    connections = _number(row[1], "connections", MOST_CONNECTIONS, where)
    given = row[2].strip() if len(row) == 3 else ""
    rate = _number(given, "rate", MOST_RATE, where) if given else default_rate
    return Point(seconds, connections, rate)


def _number(text: str, name: str, most: float, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise TraceError(f"{where}: {name} {text.strip()!r} must be a number from 0 to {most:,.0f}")
    return value
