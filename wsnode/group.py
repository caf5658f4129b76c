"""The processes of one node, as one of them sees the others.

A limit is the node's, so each process has to know what the others hold. Alone there is nobody else, and
nothing is asked of anyone; `processes.member` is what a node of several processes has in its place.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from wsnode.config import Settings

_OPEN_DOOR = contextlib.nullcontext()


class Group:
    """A node of one process.

    Attributes:
        root: the process that all others of the node descend from.
        shares_port: others listen on the client port too.
    """

    shares_port = False

    def __init__(self) -> None:
        self.root = os.getpid()

    def pids(self) -> Sequence[int]:
        """All processes that do the node's work."""
        return (os.getpid(),)

    def open_elsewhere(self) -> int:
        """Open connections of the others."""
        return 0

    def tasks_elsewhere(self) -> int:
        """Tasks of the others, as they counted them last."""
        return 0

    def open_from(self, address: str | None) -> int:
        """Open connections of an address with the others, of those made while addresses are limited."""
        return 0

    def door(self, settings: Settings, own_open: int) -> contextlib.AbstractContextManager[None]:
        """Held from the look at the limits to `claim`, so that no two let the last one in."""
        return _OPEN_DOOR

    def claim(self, own_open: int, address: str | None, from_address: int) -> None:
        """Takes a place for a client that may come in: its own counts, as they will be with it."""

    def entered(self) -> None:
        """The client that a place was claimed for is in. Without this the place is given back."""

    def publish(self, own_open: int) -> None:
        """Tells the others how many connections are open here."""

    def publish_tasks(self, count: int) -> None:
        """Tells the others how many tasks there are here."""

    def publish_address(self, address: str, from_address: int) -> None:
        """Tells the others how many connections of an address are open here."""

    def share(self, settings: Settings, own_open: int) -> Settings:
        """The settings with this process's part of what is the node's: rates and budgets.

        The same object again while nothing changed.
        """
        return settings
