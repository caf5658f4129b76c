"""Who may come in: the limits, against what the node holds at this moment, with all its processes."""

from __future__ import annotations

import time
from collections.abc import Callable

from wsnode.admission import Admission, Figures, Reason
from wsnode.config import Settings
from wsnode.descriptors import raise_descriptor_limit
from wsnode.gauges import Gauges
from wsnode.group import Group
from wsnode.link import Link
from wsnode.links import Links


class Door:
    """The door of one process; the others are heard of through the group.

    Attributes:
        settings: those in force, of the whole node.
        admission: what decides.
        open_from: gives the open connections of an address here.
        descriptors: how many clients the process can hold.
    """

    def __init__(
        self,
        settings: Settings,
        links: Links,
        gauges: Gauges,
        group: Group,
        refusing: Callable[[], bool],
        tasks: Callable[[], int],
    ) -> None:
        """`refusing` says whether new clients are turned away for a drain, `tasks` how many live here."""
        self.settings = settings
        self.admission = Admission(settings)
        self.open_from: Callable[[str | None], int] = lambda address: 0
        self.descriptors = raise_descriptor_limit(settings.max_connections)
        self._links, self._gauges, self._group, self._refusing = links, gauges, group, refusing
        self._count_tasks, self._tasks = tasks, 0

    def update(self, settings: Settings) -> None:
        """Takes new settings over."""
        before, self.settings = self.settings, settings
        self.admission.update(settings)
        if settings.max_connections > before.max_connections:
            self.descriptors = raise_descriptor_limit(settings.max_connections, self._links.total)

    def admit(self, address: str | None) -> Reason | None:
        """Why a client from this address may not come in now; None when it may, and its place is kept."""
        own = self._links.open_count
        with self._group.door(self.settings, own):
            reason = self.refusal(address)
            if reason is None:
                self._group.claim(own + 1, address, self.open_from(address) + 1)
        return reason

    def refusal(self, address: str | None) -> Reason | None:
        """Why a client from this address would be refused now, None when it would not."""
        return self.admission.decide(time.monotonic(), self._figures(address))

    def observe(self, now: float) -> None:
        """Once a second: the figures as they are, in monotonic seconds, and what the others have to know."""
        self._group.publish(self._links.open_count)
        self._tasks = self._count_tasks()  # to count them takes longer the more there are
        self._group.publish_tasks(self._tasks)
        self.admission.observe(now, self._figures(None))

    def left(self, link: Link) -> None:
        """An open link is no longer served."""
        self._group.publish(self._links.open_count)
        if link.address is not None:
            self._group.publish_address(link.address, self.open_from(link.address))

    def open_in_all(self) -> int:
        """Open connections of all processes."""
        return self._links.open_count + self._group.open_elsewhere()

    def descriptors_free(self) -> int:
        """How many this process may still open."""
        return self.descriptors - self._links.total

    def _figures(self, address: str | None) -> Figures:
        connections = self.open_in_all()
        return Figures(
            connections=connections,
            goroutines=2 * connections
            + self.settings.worker_pool_size
            + self._tasks
            + self._group.tasks_elsewhere(),
            cpu_percent=self._gauges.cpu.percent,
            memory_bytes=self._gauges.memory.bytes,
            descriptors_free=self.descriptors_free(),
            loop_lag_seconds=self._gauges.lag.seconds,
            draining=self._refusing(),
            address_connections=self.open_from(address) + self._group.open_from(address),
        )
