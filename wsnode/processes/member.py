"""What one worker knows of the node that it is part of: `Group`, over the shared memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from wsnode.config import Settings
from wsnode.group import Group
from wsnode.processes.table import Table

_PLACES_LEFT = 64
"""So many free places a process are given away without a lock: each has at most one client in hand."""
_SHARE_STEP = 0.02
"""A share that moved less is kept: every change refills the rate's burst."""
_OPEN_DOOR = contextlib.nullcontext()


class Member(Group):
    """The worker of one row of the table."""

    shares_port = True

    def __init__(
        self, table: Table, row: int, parent: int, soon: Callable[[Callable[[], None]], object]
    ) -> None:
        """`soon` calls a function behind what the event loop is at."""
        super().__init__()
        self.root = parent
        self._table, self._row = table, row
        self._workers = table.rows - 1
        self._soon = soon
        self._claimed: tuple[int, int | None, int] | None = None
        self._addresses: dict[int, int] = {}
        self._shared: Settings | None = None
        self._whole: Settings | None = None
        self._part = 1.0
        table.enter(row, os.getpid())

    def pids(self) -> Sequence[int]:
        return self._table.pids()

    def open_elsewhere(self) -> int:
        return self._table.open_but(self._row)

    def tasks_elsewhere(self) -> int:
        return self._table.tasks_but(self._row)

    def open_from(self, address: str | None) -> int:
        if address is None:
            return 0
        return self._table.addresses_but(self._row, self._table.address_key(address))

    def door(self, settings: Settings, own_open: int) -> contextlib.AbstractContextManager[None]:
        if settings.max_connections_per_address:
            return self._table.lock
        left = settings.max_connections - own_open - self.open_elsewhere()
        # Also where none is left: one that comes free between here and the look would be given away twice.
        return self._table.lock if left <= _PLACES_LEFT * self._workers else _OPEN_DOOR

    def claim(self, own_open: int, address: str | None, from_address: int) -> None:
        self._give_back()
        self._table.set_open(self._row, own_open)
        key = None
        if address is not None:
            key = self._table.address_key(address)
            self._count(key, from_address)
        self._claimed = own_open - 1, key, from_address - 1
        self._soon(self._give_back)

    def entered(self) -> None:
        self._claimed = None

    def publish(self, own_open: int) -> None:
        self._give_back()
        self._table.set_open(self._row, own_open)

    def publish_tasks(self, count: int) -> None:
        self._table.set_tasks(self._row, count)

    def publish_address(self, address: str, from_address: int) -> None:
        self._count(self._table.address_key(address), from_address)

    def share(self, settings: Settings, own_open: int) -> Settings:
        """Rates go by the clients that are here, for so much has to be sent; budgets are cut evenly."""
        part = (own_open + 1) / (own_open + self.open_elsewhere() + self._workers)
        moved = settings.max_broadcast_rate and abs(part - self._part) > _SHARE_STEP
        if self._shared is None or settings is not self._whole or moved:
            self._whole, self._part = settings, part
            self._shared = settings.model_copy(update=self._parts(settings, part))
        return self._shared

    def _parts(self, settings: Settings, part: float) -> dict[str, float | int]:
        budget = max(settings.client_buffer_total_bytes // self._workers, settings.client_buffer_bytes)
        return {
            "max_broadcast_rate": settings.max_broadcast_rate * part,
            "client_buffer_total_bytes": budget,
        }

    def _give_back(self) -> None:
        """A client that could have come in turned out to be none."""
        claimed, self._claimed = self._claimed, None
        if claimed is not None:
            own_open, key, from_address = claimed
            self._table.set_open(self._row, own_open)
            if key is not None:
                self._count(key, from_address)

    def _count(self, key: int, count: int) -> None:
        if count:
            self._addresses[key] = count
        else:
            self._addresses.pop(key, None)
        if not self._table.set_address(self._row, key, count) and 2 * len(self._addresses) <= (
            self._table.capacity
        ):
            # Full of addresses that are gone: only met by a new one, so while a place is claimed, under the
            # lock. Where WS_MAX_CONNECTIONS grew far beyond what it was at the start, some go uncounted.
            self._table.keep_addresses(self._row, self._addresses)
