"""How a validation run goes, while it goes: a bar on a terminal, else a line every few seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TextIO

from wsnode.config.expectations import MIB
from wsnode.validate_plan import Plan
from wsnode.validate_samples import Run, Sample, rates

_LINE_SECONDS = 5.0
_BAR_WIDTH = 16
_PERCENT_WIDTH = 7  # `100 %` and the spaces around it


class Progress(Protocol):
    """Shows samples as they come."""

    def show(self, run: Run) -> None:
        """The run so far; its last sample is new."""
        ...

    def end(self) -> None:
        """No more will come."""
        ...


def progress_for(plan: Plan, stream: TextIO) -> Progress:
    """A bar where the stream is a terminal and `rich` is there, else lines."""
    if stream.isatty():
        try:
            return _Bar(plan, stream)
        except ImportError:
            pass
    return _Lines(plan, lambda line: print(line, file=stream, flush=True))


def progress_text(plan: Plan, run: Run) -> str:
    """The last sample in one line."""
    sample = run.samples[-1]
    parts = [
        f"{sample.at_seconds:5.0f} s",
        sample.phase,
        f"{sample.subscribed:,}/{plan.test.connections:,} open",
    ]
    node = sample.node
    if node is not None:
        if node.cpu_percent is not None:
            parts.append(f"CPU {node.cpu_percent:.1f} %")
        if node.memory_bytes is not None:
            parts.append(f"{node.memory_bytes / MIB:,.0f} MB")
        if node.goroutines is not None:
            parts.append(f"{node.goroutines:,} goroutines")
    elif run.before is not None:
        parts.append("the admin port does not answer")
    rate = rates(run.samples[-8:], lambda s: s.deliveries)[-1]
    parts.append(f"{rate or 0:,.0f} msg/s")
    refused = sum(run.rejections().values())
    if refused:
        parts.append(f"{refused:,} refused")
    return "  ".join(parts)


def done_share(plan: Plan, sample: Sample, hold_began: float | None) -> float:
    """How much of the run is over, from 0 to 1: by the clock, and the ramp as far as clients are in."""
    whole = plan.ramp_seconds + plan.duration_seconds
    if hold_began is None:
        done = plan.ramp_seconds * min(sample.subscribed / plan.test.connections, 1.0)
    else:
        done = plan.ramp_seconds + min(sample.at_seconds - hold_began, plan.duration_seconds)
    return min(done / whole, 1.0)


class _Lines:
    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan, self._say = plan, say
        self._phase = ""
        self._next = 0.0

    def show(self, run: Run) -> None:
        sample = run.samples[-1]
        # Samples are taken about each second: half of one early is due.
        if sample.at_seconds < self._next - 0.5 and sample.phase == self._phase:
            return
        self._phase, self._next = sample.phase, sample.at_seconds + _LINE_SECONDS
        self._say(progress_text(self._plan, run))

    def end(self) -> None:
        pass


class _Bar:
    def __init__(self, plan: Plan, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._plan = plan
        self._bar: Any = Progress(
            BarColumn(bar_width=_BAR_WIDTH),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TextColumn("{task.description}", markup=False),
            console=Console(file=stream),
            transient=True,
        )
        self._task = self._bar.add_task(f"{plan.test.name}", total=1.0)
        self._bar.start()

    def show(self, run: Run) -> None:
        hold = run.hold
        share = done_share(self._plan, run.samples[-1], hold[0].at_seconds if hold else None)
        # On a narrow terminal the text loses its end, or the bar would take a second line.
        text = progress_text(self._plan, run)[: self._bar.console.width - _BAR_WIDTH - _PERCENT_WIDTH]
        self._bar.update(self._task, completed=share, description=text)

    def end(self) -> None:
        self._bar.stop()
