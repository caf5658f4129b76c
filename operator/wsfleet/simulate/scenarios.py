"""The named traces: what fleets meet, each at a size that can be changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from wsfleet.simulate.traffic import (
    Cut,
    Incident,
    NewShape,
    NodesLost,
    Outage,
    Point,
    Silence,
    Trace,
    TraceError,
)

MINUTE, HOUR = 60.0, 3600.0
LEAST_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A trace with its incidents. `step_seconds` is how finely time is cut.

    `cpu_noise` None: as the setup has it.
    """

    name: str
    title: str
    trace: Trace
    incidents: tuple[Incident, ...] = ()
    step_seconds: float = 1.0
    cpu_noise: float | None = None


def _daily_wave(most: int, rate: float, random: Random) -> Scenario:
    low, days = most / 4, 1
    points = []
    for minute in range(0, days * 24 * 60 + 1, 5):
        level = (1 - math.cos(2 * math.pi * minute / 1440)) / 2
        points.append(Point(minute * MINUTE, low + (most - low) * level, rate))
    return Scenario(
        name="daily-wave",
        title=f"a day from {low:,.0f} to {most:,} connections and back",
        trace=Trace(tuple(points)),
        step_seconds=5.0,
    )


def _flash_crowd(most: int, rate: float, random: Random) -> Scenario:
    few = most / 10
    points = (
        Point(0, few, rate),
        Point(10 * MINUTE, few, rate),
        Point(11 * MINUTE, most, rate),
        Point(40 * MINUTE, most, rate),
    )
    return Scenario(name="flash-crowd", title="ten times the connections in a minute", trace=Trace(points))


def _storm(most: int, rate: float, random: Random) -> Scenario:
    return Scenario(
        name="reconnect-storm",
        title=f"{most:,} clients lose their connections at once and come back",
        trace=Trace((Point(0, most, rate), Point(40 * MINUTE, most, rate))),
        incidents=(Cut(10 * MINUTE, most),),
    )


def _node_loss(most: int, rate: float, random: Random) -> Scenario:
    return Scenario(
        name="node-loss",
        title="a third of the nodes is gone",
        trace=Trace((Point(0, most, rate), Point(40 * MINUTE, most, rate))),
        incidents=(NodesLost(10 * MINUTE, 1 / 3),),
    )


def _outage(most: int, rate: float, random: Random) -> Scenario:
    return Scenario(
        name="ingress-outage",
        title="the ingress is out for 20 minutes, then all come back",
        trace=Trace((Point(0, most, rate), Point(75 * MINUTE, most, rate))),
        incidents=(Outage(15 * MINUTE, 35 * MINUTE),),
    )


def _rollout(most: int, rate: float, random: Random) -> Scenario:
    return Scenario(
        name="rollout",
        title="every node is replaced under load",
        trace=Trace((Point(0, most, rate), Point(90 * MINUTE, most, rate))),
        incidents=(NewShape(10 * MINUTE),),
    )


def _drift(most: int, rate: float, random: Random) -> Scenario:
    points = (Point(0, most / 3, rate), Point(12 * HOUR, most, rate))
    return Scenario(
        name="drift",
        title=f"from {most // 3:,} to {most:,} connections in 12 hours",
        trace=Trace(points),
        step_seconds=5.0,
    )


def _noise(most: int, rate: float, random: Random) -> Scenario:
    """Around a level at which a node more or less is just needed."""
    level, points = most * 0.9, [Point(0, most * 0.9, rate)]
    for half_minute in range(1, 6 * 120 + 1):
        wander = 0.9 * (points[-1].connections - level) + random.gauss(0, 0.03) * level
        wander = max(-0.1 * level, min(wander, 0.1 * level))
        points.append(Point(half_minute * MINUTE / 2, level + wander, rate))
    return Scenario(
        name="noise",
        title="connections and figures that wander by 10 % for 6 hours",
        trace=Trace(tuple(points)),
        step_seconds=5.0,
        cpu_noise=0.15,
    )


def _missing(most: int, rate: float, random: Random) -> Scenario:
    return Scenario(
        name="missing-metrics",
        title="a third of the nodes, then all, give no figures while the load grows",
        trace=Trace(
            (
                Point(0, most * 0.7, rate),
                Point(10 * MINUTE, most * 0.7, rate),
                Point(60 * MINUTE, most, rate),
                Point(75 * MINUTE, most, rate),
            )
        ),
        incidents=(Silence(15 * MINUTE, 30 * MINUTE, 0.34), Silence(40 * MINUTE, 45 * MINUTE, 1.0)),
    )


def _message_rate(most: int, rate: float, random: Random) -> Scenario:
    points = (
        Point(0, most, rate),
        Point(10 * MINUTE, most, rate),
        Point(12 * MINUTE, most, 2 * rate),
        Point(60 * MINUTE, most, 2 * rate),
    )
    return Scenario(name="message-rate", title="twice the messages in two minutes", trace=Trace(points))


_MAKERS: dict[str, tuple[Callable[[int, float, Random], Scenario], int]] = {
    "daily-wave": (_daily_wave, 240_000),
    "flash-crowd": (_flash_crowd, 200_000),
    "reconnect-storm": (_storm, 200_000),
    "node-loss": (_node_loss, 120_000),
    "ingress-outage": (_outage, 120_000),
    "rollout": (_rollout, 120_000),
    "drift": (_drift, 150_000),
    "noise": (_noise, 100_000),
    "missing-metrics": (_missing, 120_000),
    "message-rate": (_message_rate, 100_000),
}
SCENARIOS = tuple(_MAKERS)


def make_scenario(name: str, rate: float, connections: int | None = None, seed: int = 1) -> Scenario:
    """A scenario by its name, with so many connections at its highest.

    Raises:
        TraceError: no such scenario, or too few connections.
    """
    if name not in _MAKERS:
        raise TraceError(f"{name!r} must be one of {', '.join(SCENARIOS)}")
    maker, usual = _MAKERS[name]
    most = usual if connections is None else connections
    if most < LEAST_CONNECTIONS:
        raise TraceError(f"{most} connections must be at least {LEAST_CONNECTIONS:,}")
    return maker(most, rate, Random(seed))
