"""What the validation tests of a node expect: connections, seconds, ranges, and when a test passes.

Source: the seed, "Validation Tests". Its four tests are 20, 50, 100 and 120 % of WS_MAX_CONNECTIONS;
its ranges are the ones that this module gives for its machine. They rest on the seed's measured test
(0.00012 vCPU and 0.1 MB a connection), not on what this node costs: a node that needs less passes.
A MB here is 2**20 bytes, as in the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from wsnode.config.settings import Settings

MIB = 2**20

# Seed, "From Testing Data": 2,000 connections took 0.24 vCPU (of 1.8) and 200 MB.
TESTED_CPU_CORES = Fraction("0.00012")
TESTED_MEMORY_MB = Fraction("0.1")


class TestName(StrEnum):
    """The seed's four tests, in their order."""

    LIGHT = "light"
    TARGET = "target"
    CAPACITY = "capacity"
    OVERLOAD = "overload"

    __test__ = False  # not a test case of pytest


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included; None is open."""

    low: float
    high: float | None

    def verdict(self, value: float) -> str:
        """`below`, `within` or `above`."""
        if value < self.low:
            return "below"
        return "above" if self.high is not None and value > self.high else "within"


@dataclass(frozen=True)
class PassCriteria:
    """When a test has passed.

    `drops_below_percent` bounds lost messages (None: not asked), `errors_allowed` and
    `rejections_allowed` say whether errors and refused connections fail it. `text` says it in words.
    """

    text: str
    errors_allowed: bool
    rejections_allowed: bool
    cpu_rejections_allowed: bool
    drops_below_percent: float | None


@dataclass(frozen=True)
class ValidationTest:
    """One test and its expected ranges. CPU is percent of WS_CPU_LIMIT, message rates are of the node."""

    name: TestName
    connections: int
    duration_seconds: int
    cpu_percent: Range
    memory_bytes: Range | None
    goroutines: int | None
    messages_per_second: Range | None
    final_connections: int
    criteria: PassCriteria

    def memory_percent(self, limit_bytes: int) -> Range | None:
        """The memory range in percent of a limit, rounded to whole percents."""
        if self.memory_bytes is None or self.memory_bytes.high is None:
            return None
        low, high = (
            round(Fraction(edge) * 100 / limit_bytes)
            for edge in (self.memory_bytes.low, self.memory_bytes.high)
        )
        return Range(low, high)


@dataclass(frozen=True)
class _Shape:
    """How the seed made one test: its share of the connections and the width of its ranges.

    CPU edges are factors of connections x 0.00012 vCPU (0.75 and 1.5 of 13.3 % give 10-20), the
    memory edge one of connections x 0.1 MB, the rates count the usual and the peak rate a connection.
    """

    percent: int
    seconds: int
    cpu: tuple[Fraction, Fraction | None]
    memory: Fraction | None
    criteria: PassCriteria


_SHAPES = {
    TestName.LIGHT: _Shape(
        20,
        300,
        (Fraction("0.75"), Fraction("1.5")),
        Fraction("1.5"),
        PassCriteria("stable for 5 minutes, no errors", False, False, False, None),
    ),
    TestName.TARGET: _Shape(
        50,
        600,
        (Fraction("0.75"), Fraction("1.05")),
        Fraction("1.4"),
        PassCriteria("stable for 10 minutes, less than 1 % of messages dropped", True, False, False, 1.0),
    ),
    TestName.CAPACITY: _Shape(
        100,
        600,
        (Fraction("0.9"), Fraction("1.2")),
        Fraction("1.2"),
        PassCriteria("stable for 10 minutes, CPU rejection threshold not hit", True, False, False, None),
    ),
    TestName.OVERLOAD: _Shape(
        120,
        300,
        (Fraction(15, 16), None),
        None,
        PassCriteria("server stable, excess load refused in good order", True, True, True, None),
    ),
}


def validation_tests(
    settings: Settings,
    *,
    message_rate: Fraction | float = 2,
    peak_message_rate: Fraction | float = 4,
) -> tuple[ValidationTest, ...]:
    """The four tests for a node with these settings, at a load of so many messages a second a user."""
    rates = (Fraction(message_rate), Fraction(peak_message_rate))
    return tuple(_test(name, shape, settings, rates) for name, shape in _SHAPES.items())


def _test(
    name: TestName, shape: _Shape, settings: Settings, rates: tuple[Fraction, Fraction]
) -> ValidationTest:
    connections = -(-settings.max_connections * shape.percent // 100)
    overload = name is TestName.OVERLOAD
    memory = connections * TESTED_MEMORY_MB * MIB
    return ValidationTest(
        name=name,
        connections=connections,
        duration_seconds=shape.seconds,
        cpu_percent=_cpu_range(shape, connections, settings, overload),
        memory_bytes=None if shape.memory is None else Range(round(memory), round(memory * shape.memory)),
        goroutines=None if overload else _goroutines(connections, settings.worker_pool_size),
        messages_per_second=_message_range(name, connections, *rates),
        final_connections=min(connections, settings.max_connections),
        criteria=shape.criteria,
    )


def _cpu_range(shape: _Shape, connections: int, settings: Settings, overload: bool) -> Range:
    expected = connections * TESTED_CPU_CORES * 100 / Fraction(str(settings.cpu_limit))
    low, high = shape.cpu
    if overload:
        return Range(min(round(expected * low), settings.cpu_reject_threshold), None)
    return Range(round(expected * low), None if high is None else round(expected * high))


def _goroutines(connections: int, workers: int) -> int:
    return -(-(2 * connections + workers) // 500) * 500


def _message_range(name: TestName, connections: int, usual: Fraction, peak: Fraction) -> Range | None:
    """Half the usual rate to the usual one in the smaller tests, the usual to the peak at capacity."""
    if name is TestName.OVERLOAD:
        return None
    low, high = (usual, peak) if name is TestName.CAPACITY else (usual / 2, usual)
    return Range(float(connections * low), float(connections * high))
