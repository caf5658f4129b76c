"""A validation run: clients, publisher and admin port together, one sample a second."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wsnode import publish
from wsnode.config import Settings, SettingsError, settings_from_env
from wsnode.load import LoadClient
from wsnode.load_figures import Snapshot
from wsnode.load_options import LoadOptions, parse_url
from wsnode.validate_plan import Plan, ValidateError
from wsnode.validate_samples import NodeFigures, Phase, Run, Sample

if TYPE_CHECKING:
    import aiohttp

SAMPLE_SECONDS = 1.0
OPEN_TIMEOUT_SECONDS = 10.0
_ADMIN_TIMEOUT_SECONDS = 3.0
_PAYLOAD_BYTES = 300
"""Of a sample price: with its envelope about the 400 bytes that the document counts on the wire."""


class AdminPort:
    """`GET /status` of a node."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/") + "/status"
        self._session = session

    async def first(self) -> tuple[NodeFigures, Settings | None, str | None]:
        """The node before the run, its settings, and why these are not known. Raises ValidateError."""
        try:
            body = await self._get()
            figures = NodeFigures.from_status(body)
            if figures.ready is False:
                raise ValueError(
                    f"the node is not ready ({body.get('not_ready_reason') or 'no reason told'})"
                )
        except _admin_errors() as exc:
            # aiohttp's own text names its SSL settings too.
            reason = str(getattr(exc, "os_error", exc)) or "no answer"
            raise ValidateError(f"admin port {self.url}: {reason}") from exc
        try:
            return figures, settings_from_env(body["settings"]["values"]), None
        except (KeyError, TypeError, AttributeError, SettingsError) as exc:
            why = f"the node's settings are not understood ({exc}); the document's machine is assumed"
            return figures, None, why

    async def figures(self) -> NodeFigures | None:
        """The node now; None when it does not answer."""
        try:
            return NodeFigures.from_status(await self._get())
        except _admin_errors():
            return None

    async def _get(self) -> Any:
        async with self._session.get(self.url) as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            return await response.json(content_type=None)


@contextlib.asynccontextmanager
async def admin_port(url: str) -> AsyncIterator[AdminPort]:
    """The admin port at this address, as http://HOST:9102. Raises ValidateError."""
    import aiohttp

    if not url.startswith(("http://", "https://")):
        raise ValidateError(f"admin port {url!r}: expected http://HOST:PORT")
    timeout = aiohttp.ClientTimeout(total=_ADMIN_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield AdminPort(url, session)


def _admin_errors() -> tuple[type[Exception], ...]:
    import aiohttp

    # ValueError: not JSON, or not a status.
    return (aiohttp.ClientError, OSError, TimeoutError, ValueError)


async def check_reachable(url: str) -> None:
    """One plain connection, so that a wrong address is told at once. Raises ValidateError."""
    target = parse_url(url)
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(target.host, target.port)
    except (OSError, TimeoutError) as exc:
        reason = str(exc) or "no answer"
        raise ValidateError(f"{url}: can't connect: {reason}") from exc
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@dataclass(slots=True)
class Publisher:
    """Sample prices into the stream while a run goes, at the plan's rate."""

    url: str
    plan: Plan
    tally: publish.Tally = field(default_factory=publish.Tally)
    _task: asyncio.Task[publish.Tally] | None = None

    def start(self) -> None:
        """Begins to publish."""
        plan = self.plan
        prefix = plan.settings.js_stream_subjects[0].removesuffix(">")
        prices = publish.sample_prices(list(plan.channels), prefix, _PAYLOAD_BYTES, seed=1)
        pace = publish.Pace(plan.published_per_second)
        messages = publish.paced(publish.from_samples(prices), pace)
        credentials = os.environ.get("NATS_CREDENTIALS_FILE", "")
        run = publish.publish(self.url, messages, self.tally, credentials=credentials)
        self._task = asyncio.create_task(run)

    async def first_message(self) -> None:
        """Waits until one is in the stream. Raises ValidateError."""
        assert self._task is not None
        while not self.tally.acknowledged:
            if (problem := self.problem()) is not None:
                raise ValidateError(problem)
            await asyncio.wait((self._task,), timeout=0.05)

    def problem(self) -> str | None:
        """Why it ended, when it did."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        error = self._task.exception()
        return str(error) if error is not None else "publishing ended by itself"

    async def stop(self) -> None:
        """Ends it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._task


@dataclass(frozen=True, slots=True)
class Trust:
    """What is trusted under wss://, see `trust.client_context`."""

    ca: str = ""
    insecure: bool = False


@dataclass(slots=True)
class Runner:
    """One run of a plan.

    Attributes:
        before: the node before it; None without an admin port.
        leave: set by the user who does not want to wait.
        show: is handed the run so far after each sample.
    """

    plan: Plan
    url: str
    admin: AdminPort | None
    before: NodeFigures | None
    publisher: Publisher | None
    leave: asyncio.Event
    show: Callable[[Run], None]
    notes: list[str] = field(default_factory=list)
    trust: Trust = Trust()
    _samples: list[Sample] = field(default_factory=list)

    async def run(self) -> Run:
        """Ramp, hold, end. Raises LoadError, and ValidateError where publishing can't begin."""
        client = LoadClient(self._options(), process=True)
        try:
            if self.publisher is not None:
                self.publisher.start()
                await self.publisher.first_message()
            await asyncio.to_thread(client.start)
            try:
                await self._go(client)
            finally:
                last = await asyncio.to_thread(client.stop)
        finally:
            if self.publisher is not None:
                if (problem := self.publisher.problem()) is not None:
                    self.notes.append(f"the run's publisher ended early: {problem}")
                await self.publisher.stop()
        return Run(self.before, tuple(self._samples), last, self.leave.is_set(), tuple(self.notes))

    def _options(self) -> LoadOptions:
        plan = self.plan
        return LoadOptions(
            self.url,
            plan.test.connections,
            plan.ramp_per_second,
            plan.channels,
            plan.channels_each,
            check=True,
            open_timeout=OPEN_TIMEOUT_SECONDS,
            ca=self.trust.ca,
            insecure=self.trust.insecure,
        )

    async def _go(self, client: LoadClient) -> None:
        began = due = time.monotonic()
        ramp_ends = self.plan.ramp_seconds + OPEN_TIMEOUT_SECONDS
        phase: Phase = "ramp"
        hold_ends = math.inf
        while True:
            shot = await self._sample(client, began, phase)
            sample = self._samples[-1]
            if phase == "ramp" and (self._ramped(sample) or sample.at_seconds >= ramp_ends):
                if not shot.subscribed:  # nobody to hold
                    return
                phase, hold_ends = "hold", sample.at_seconds + self.plan.duration_seconds
                # The hold begins with this sample, or its rates would miss the first second.
                self._samples[-1] = sample = dataclasses.replace(sample, phase="hold")
            self.show(Run(self.before, tuple(self._samples), shot))
            if sample.at_seconds >= hold_ends:
                return
            due = max(due + SAMPLE_SECONDS, time.monotonic())
            if await self._left(min(due, began + hold_ends) - time.monotonic()):
                return

    def _ramped(self, sample: Sample) -> bool:
        """All are in; an overload's clients never all are, so there only time tells."""
        if not self.plan.refuses:
            return sample.subscribed >= self.plan.test.connections
        return sample.at_seconds >= self.plan.ramp_seconds + SAMPLE_SECONDS

    async def _sample(self, client: LoadClient, began: float, phase: Phase) -> Snapshot:
        shot, node = await asyncio.gather(asyncio.to_thread(client.snapshot), self._node())
        self._samples.append(
            Sample(
                at_seconds=round(time.monotonic() - began, 3),
                phase=phase,
                open=shot.open,
                subscribed=shot.subscribed,
                messages=shot.messages,
                deliveries=shot.deliveries,
                published=None if self.publisher is None else self.publisher.tally.acknowledged,
                node=node,
            )
        )
        return shot

    async def _node(self) -> NodeFigures | None:
        return None if self.admin is None else await self.admin.figures()

    async def _left(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(seconds, 0.01)):
                await self.leave.wait()
        except TimeoutError:
            return False
        return True
