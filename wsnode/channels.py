"""Who listens to what. Exact names; a message asks for its subscribers once, when its job starts.

A subscriber is any object; the directory knows nothing of sockets. Patterns will be further
directories beside `_exact` that `subscribers` looks into: nothing is expanded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Set
from typing import Generic, Protocol, TypeVar


class Subscriber(Protocol):
    """What the directory keeps at a subscriber: its channels, so that it can be taken out again."""

    channels: tuple[str, ...]


S = TypeVar("S", bound=Subscriber)


class Channels(Generic[S]):
    """The directory of subscriptions, and of all who listen to control messages."""

    def __init__(self) -> None:
        self._exact: dict[str, set[S]] = {}

    def __len__(self) -> int:
        return len(self._exact)

    def subscribe(self, who: S, names: Iterable[str]) -> None:
        """Adds the subscriber to channels; those it has already stay as they are."""
        # Interned: one string a channel in memory, not one a subscriber.
        new = tuple(sys.intern(name) for name in names if name not in who.channels)
        for name in new:
            subscribers = self._exact.get(name)
            if subscribers is None:
                subscribers = self._exact[name] = set()
            subscribers.add(who)
        who.channels += new

    def unsubscribe(self, who: S, names: Iterable[str]) -> None:
        """Takes the subscriber out of channels; those it does not have are passed over."""
        gone = set(names).intersection(who.channels)
        for name in gone:
            self._discard(who, name)
        who.channels = tuple(name for name in who.channels if name not in gone)

    def leave(self, who: S) -> None:
        """Takes the subscriber out of everything."""
        for name in who.channels:
            self._discard(who, name)
        who.channels = ()

    def subscribers(self, channel: str) -> Set[S]:
        """Those who get a message of this channel. Do not keep it: it changes with the next subscribe."""
        return self._exact.get(channel) or frozenset()

    def _discard(self, who: S, name: str) -> None:
        subscribers = self._exact[name]
        subscribers.discard(who)
        if not subscribers:
            del self._exact[name]
