"""What a validation run is going to do: the test, its load, and what is expected of this node. Pure.

The tests and their ranges are those of `wsnode.config.expectations`; here they meet the wishes of the
user and the settings that the node reports.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from wsnode.config import Settings
from wsnode.config.expectations import TestName, ValidationTest, validation_tests

SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 86_400.0
_HIGHEST_RATE = 1_000.0


class ValidateError(ValueError):
    """The run can't be made as asked; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for. None takes the document's value.

    Attributes:
        connections: clients, instead of the test's.
        duration_seconds: time that they are held once all are open.
        ramp_per_second: new connections a second.
        message_rate: messages a second for each connection (seed: 2, at the peak twice that).
        channels, channels_each: names in all, and how many of them one client has.
    """

    connections: int | None = None
    duration_seconds: float | None = None
    ramp_per_second: float = 200.0
    message_rate: float = 2.0
    channels: tuple[str, ...] = ("BTC.trade",)
    channels_each: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, fixed before the first connection is opened.

    Attributes:
        test: the expectations, for the run's number of connections.
        settings: the node's; the document's machine where the node told none.
        settings_known: whether they are the node's own.
        document_connections, document_seconds: how many the document opens in this test on a node
            with these settings, and how long it holds them.
    """

    test: ValidationTest
    settings: Settings
    settings_known: bool
    duration_seconds: float
    ramp_per_second: float
    message_rate: float
    channels: tuple[str, ...]
    channels_each: int
    document_connections: int
    document_seconds: int

    @property
    def ramp_seconds(self) -> float:
        """Time until the last connection is due."""
        return self.test.connections / self.ramp_per_second

    @property
    def subscribers_per_message(self) -> float:
        """Clients that get one message, where all are connected."""
        return self.test.connections * self.channels_each / len(self.channels)

    @property
    def published_per_second(self) -> float:
        """Messages a second into the stream so that each client gets `message_rate` of them."""
        return self.message_rate * len(self.channels) / self.channels_each

    @property
    def reduced(self) -> bool:
        """Whether fewer connections are opened than in the document's test."""
        return self.test.connections < self.document_connections

    @property
    def refuses(self) -> bool:
        """Whether the node is expected to refuse some of the clients."""
        return self.test.name is TestName.OVERLOAD


def test_name(text: str) -> TestName:
    """The test of this name. Raises ValidateError."""
    try:
        return TestName(text)
    except ValueError as exc:
        raise ValidateError(f"test {text!r}: must be one of {', '.join(TestName)}") from exc


def make_plan(name: TestName, wishes: Wishes, settings: Settings | None) -> Plan:
    """The run for a node with these settings; None is a node that told none. Raises ValidateError."""
    _check(wishes)
    known = settings if settings is not None else Settings()
    document = _expected(name, known, wishes.message_rate)
    test = document if wishes.connections is None else _at(document, known, wishes)
    if settings is not None:
        _check_against_limit(test, settings)
    duration = wishes.duration_seconds
    return Plan(
        test=test,
        settings=known,
        settings_known=settings is not None,
        duration_seconds=float(document.duration_seconds) if duration is None else duration,
        ramp_per_second=wishes.ramp_per_second,
        message_rate=wishes.message_rate,
        channels=wishes.channels,
        channels_each=wishes.channels_each,
        document_connections=document.connections,
        document_seconds=document.duration_seconds,
    )


def _expected(name: TestName, settings: Settings, message_rate: float) -> ValidationTest:
    tests = validation_tests(settings, message_rate=message_rate, peak_message_rate=2 * message_rate)
    return next(test for test in tests if test.name is name)


def _at(document: ValidationTest, settings: Settings, wishes: Wishes) -> ValidationTest:
    """The same test with another number of connections.

    All of its ranges follow from the connections, and these are a fixed share of WS_MAX_CONNECTIONS:
    so they are the ranges of a node whose limit makes the test as large as asked.
    """
    assert wishes.connections is not None
    share = _expected(document.name, Settings(), wishes.message_rate).connections / Settings().max_connections
    limit = max(math.floor(wishes.connections / share + 1e-9), 1)
    scaled = _expected(
        document.name, settings.model_copy(update={"max_connections": limit}), wishes.message_rate
    )
    return dataclasses.replace(
        scaled,
        connections=wishes.connections,
        final_connections=min(wishes.connections, settings.max_connections),
    )


def _check(wishes: Wishes) -> None:
    # Written so that NaN is refused too.
    if wishes.connections is not None and not 1 <= wishes.connections <= 1_000_000:
        raise ValidateError(f"connections {wishes.connections}: must be between 1 and 1000000")
    duration = wishes.duration_seconds
    if duration is not None and not SHORTEST_SECONDS <= duration <= LONGEST_SECONDS:
        raise ValidateError(
            f"duration {duration:g} s: must be between {SHORTEST_SECONDS:g} and {LONGEST_SECONDS:g} seconds"
        )
    if not 0 < wishes.message_rate <= _HIGHEST_RATE:
        raise ValidateError(
            f"message rate {wishes.message_rate:g}: must be above 0, at most {_HIGHEST_RATE:g}"
        )


def _check_against_limit(test: ValidationTest, settings: Settings) -> None:
    limit = settings.max_connections
    if test.name is TestName.OVERLOAD and test.connections <= limit:
        raise ValidateError(
            f"connections {test.connections}: not above the node's limit of {limit} (WS_MAX_CONNECTIONS),"
            " so there is nothing to refuse"
        )
    if test.name is not TestName.OVERLOAD and test.connections > limit:
        raise ValidateError(
            f"connections {test.connections}: above the node's limit of {limit} (WS_MAX_CONNECTIONS);"
            " that is the overload test"
        )
