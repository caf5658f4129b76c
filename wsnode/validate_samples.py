"""What was seen during a validation run: one sample a second, of the clients and of the node. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from wsnode.load_figures import Snapshot

Phase = Literal["ramp", "hold"]

_RATE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What `GET /status` says; a figure that is missing or makes no sense is None.

    Attributes:
        messages_out: frames sent to clients since the node started.
        rejections: clients refused since then, by reason.
    """

    name: str
    uptime_seconds: float | None = None
    ready: bool | None = None
    connections: int | None = None
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    goroutines: int | None = None
    messages_out: int | None = None
    rejections: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_status(cls, body: Any) -> Self:
        """From the body of `/status`. Raises ValueError where it is not one at all."""
        if not isinstance(body, dict) or "connections" not in body:
            raise ValueError("not the status of a node")
        rejections = body.get("rejections")
        ready = body.get("ready")
        return cls(
            name=str(body.get("node", "")),
            uptime_seconds=_number(body.get("uptime_seconds")),
            ready=ready if isinstance(ready, bool) else None,
            connections=_whole(_at(body, "connections", "current")),
            cpu_percent=_number(_at(body, "cpu", "percent")),
            memory_bytes=_whole(_at(body, "memory", "bytes")),
            goroutines=_whole(_at(body, "goroutines", "current")),
            messages_out=_whole(_at(body, "messages", "out")),
            rejections={
                str(reason): amount
                for reason, value in (rejections.items() if isinstance(rejections, dict) else ())
                if (amount := _whole(value)) is not None
            },
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment. Totals are since the run began.

    Attributes:
        at_seconds: since the run began.
        published: messages of the run's own publisher that are in the stream; None without one.
        node: None without an admin port, and where it did not answer.
    """

    at_seconds: float
    phase: Phase
    open: int
    subscribed: int
    messages: int
    deliveries: int
    published: int | None = None
    node: NodeFigures | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """All that was seen.

    Attributes:
        before: the node before the run; None without an admin port.
        clients: the load client's last figures.
        interrupted: the user did not wait for the end.
        notes: what went wrong on this side, in words.
    """

    before: NodeFigures | None
    samples: tuple[Sample, ...]
    clients: Snapshot
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def hold(self) -> tuple[Sample, ...]:
        """The samples from the moment that all clients were open, or should have been."""
        return tuple(sample for sample in self.samples if sample.phase == "hold")

    @property
    def held_seconds(self) -> float:
        """How long that was."""
        hold = self.hold
        return hold[-1].at_seconds - hold[0].at_seconds if hold else 0.0

    @property
    def nodes(self) -> list[NodeFigures]:
        """The node's figures in order, the one before the run first."""
        seen = [sample.node for sample in self.samples if sample.node is not None]
        return [self.before, *seen] if self.before is not None else seen

    def rejections(self) -> dict[str, int]:
        """Clients that the node refused during the run, by reason; only reasons that occurred."""
        nodes = self.nodes
        if not nodes:
            return {}
        first, last = nodes[0].rejections, nodes[-1].rejections
        counts = {reason: amount - first.get(reason, 0) for reason, amount in last.items()}
        return {reason: amount for reason, amount in counts.items() if amount > 0}

    @property
    def delivered(self) -> Callable[[Sample], int | None]:
        """Reads messages to clients so far from a sample: the node's own figure, or else the clients'."""
        if self.before is None:
            return lambda sample: sample.deliveries
        return lambda sample: None if sample.node is None else sample.node.messages_out

    def longest_silence_seconds(self) -> float:
        """Longest time between two answers of the admin port; 0 without one."""
        if self.before is None or not self.samples:
            return 0.0
        answered = [0.0, *(s.at_seconds for s in self.samples if s.node is not None)]
        ends = [*answered[1:], self.samples[-1].at_seconds]
        return max(end - start for start, end in zip(answered, ends, strict=True))


def rate_over(samples: Sequence[Sample], total: Callable[[Sample], int | None]) -> float | None:
    """Mean growth a second of a total over the samples; None where fewer than two have it."""
    known = [(s.at_seconds, amount) for s in samples if (amount := total(s)) is not None]
    if len(known) < 2 or known[-1][0] <= known[0][0]:
        return None
    return (known[-1][1] - known[0][1]) / (known[-1][0] - known[0][0])


def rates(samples: Sequence[Sample], total: Callable[[Sample], int | None]) -> list[float | None]:
    """Growth a second of a total at each sample, over the last few seconds; None where it is not known.

    A total that falls began anew (a restart): no rate is told across that.
    """
    result: list[float | None] = []
    recent: list[tuple[float, int]] = []
    for sample in samples:
        amount = total(sample)
        if amount is None or (recent and amount < recent[-1][1]):
            recent = []
        if amount is None:
            result.append(None)
            continue
        recent.append((sample.at_seconds, amount))
        while len(recent) > 2 and recent[-1][0] - recent[1][0] >= _RATE_SECONDS:
            recent.pop(0)
        span = recent[-1][0] - recent[0][0]
        result.append((recent[-1][1] - recent[0][1]) / span if span > 0 else None)
    return result


def _at(body: Mapping[str, Any], outer: str, inner: str) -> Any:
    part = body.get(outer)
    return part.get(inner) if isinstance(part, dict) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
