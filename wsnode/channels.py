"""Who listens to what: exact names and patterns. A message asks for its subscribers once, as its job starts.

A channel is SYMBOL.EVENT: the symbol is what stands before the first dot. A message looks into four
sets (its own name, `SYMBOL.*`, `*.EVENT`, `*`); nothing is expanded.

Subscribers that are given messages differently (their form, and the options of a subscription) stand
in tables of their own, since each table is written other bytes.

A subscriber is any object; the directory knows nothing of sockets.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Container, Iterable, Set
from typing import Generic, Protocol, TypeVar

# Options of a subscription: the newest message when there is room again, patches in place of data.
CONFLATE, DELTA = 4, 8
_FORM = 3  # the bits of a table's key that are its subscribers' form

EVERYTHING = "*"


class Subscriber(Protocol):
    """What the directory keeps at a subscriber, so that it can be taken out again.

    Attributes:
        channels: the names it subscribed to, patterns among them.
        options: of those names that have any.
        form: in which it gets its messages.
    """

    channels: tuple[str, ...]
    options: dict[str, int] | None
    form: int


S = TypeVar("S", bound=Subscriber)


def matches(name: str, channel: str) -> bool:
    """Whether a subscription's name, which may be a pattern, takes a channel."""
    if name in (channel, EVERYTHING):
        return True
    symbol, _, event = channel.partition(".")
    return bool(event) and name in (f"{symbol}.*", f"*.{event}")


def takers(names: Container[str], channel: str) -> list[str]:
    """Those of the names that take a channel."""
    symbol, _, event = channel.partition(".")
    possible = (channel, f"{symbol}.*", f"*.{event}", EVERYTHING) if event else (channel, EVERYTHING)
    return [name for name in possible if name in names]


def patterns_of(channel: str) -> tuple[str, ...]:
    """The patterns that take a channel, but for `*`, which takes all."""
    symbol, _, event = channel.partition(".")
    return (f"{symbol}.*", f"*.{event}") if event else ()


def overlapping(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those of the names for which there can be a channel that one of the others takes too."""
    taken = set(others)
    patterns = {name for name in taken if is_pattern(name)}
    reached = patterns.union(*map(patterns_of, taken - patterns))
    by_event = any(name.startswith("*.") for name in patterns)
    by_symbol = any(name.endswith(".*") for name in patterns)

    def meets(name: str) -> bool:
        if not is_pattern(name):
            return bool(takers(taken, name))
        if EVERYTHING in patterns or name == EVERYTHING:
            return bool(taken)
        # Two patterns have none in common only where they name different symbols, or different events.
        return name in reached or (by_symbol if name.startswith("*.") else by_event)

    return [name for name in names if meets(name)]


def is_pattern(name: str) -> bool:
    """Whether a checked name stands for several channels."""
    return "*" in name


class PatternIndex:
    """Which channels of a set each pattern takes, so that nobody has to look at all of them."""

    def __init__(self) -> None:
        # One channel stands by itself: a dictionary for each of many would take more than they do.
        self._taken: dict[str, str | dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def add(self, channel: str) -> None:
        """A channel that is not there yet."""
        for pattern in patterns_of(channel):
            there = self._taken.get(pattern)
            if there is None:
                self._taken[pattern] = channel
            elif isinstance(there, str):
                self._taken[pattern] = {there: None, channel: None}
            else:
                there[channel] = None

    def discard(self, channel: str) -> None:
        """A channel that is there."""
        for pattern in patterns_of(channel):
            there = self._taken[pattern]
            if isinstance(there, dict) and len(there) > 1:
                del there[channel]
            else:
                del self._taken[pattern]

    def clear(self) -> None:
        """None is left."""
        self._taken.clear()

    def of(self, pattern: str) -> Collection[str]:
        """The channels that a pattern takes; not for `*`."""
        there = self._taken.get(pattern, ())
        return (there,) if isinstance(there, str) else there


class Table(Generic[S]):
    """Subscribers that are given the same bytes."""

    def __init__(self) -> None:
        self._names: dict[str, set[S]] = {}
        self._patterns = 0

    def __len__(self) -> int:
        return len(self._names)

    def add(self, who: S, name: str) -> None:
        """Adds a subscriber under a name."""
        subscribers = self._names.get(name)
        if subscribers is None:
            subscribers = self._names[name] = set()
            self._patterns += is_pattern(name)
        subscribers.add(who)

    def discard(self, who: S, name: str) -> None:
        """Takes a subscriber out, if it is there."""
        subscribers = self._names.get(name)
        if subscribers is None:
            return
        subscribers.discard(who)
        if not subscribers:
            del self._names[name]
            self._patterns -= is_pattern(name)

    def subscribers(self, channel: str) -> list[Set[S]]:
        """Those who get a message of this channel, by the names that take it; some may have several."""
        names = self._names
        exact = names.get(channel)
        if not self._patterns:
            return [exact] if exact else []
        symbol, _, event = channel.partition(".")
        looked = (exact, names.get(f"{symbol}.*"), names.get(f"*.{event}"), names.get(EVERYTHING))
        if not event:
            looked = (exact, None, None, looked[3])
        return [subscribers for subscribers in looked if subscribers]


class Channels(Generic[S]):
    """The directory of subscriptions.

    Attributes:
        compared: subscribers that were looked at one by one so far, to name each once.
    """

    def __init__(self) -> None:
        self.compared = 0
        self._tables: dict[int, Table[S]] = {}
        self._mixed = 0

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def subscribe(self, who: S, names: Iterable[str], options: int = 0, *, held: bool = False) -> None:
        """Adds the subscriber to channels. Those it has already take the options that are asked for now.

        `held`: only noted at the subscriber; it gets nothing until `release`.
        """
        self._count_mixed(who, -1)
        for name in dict.fromkeys(names):
            if name in who.channels:
                self._discard(who, name)
            else:
                # Interned: one string a channel in memory, not one a subscriber.
                who.channels += (sys.intern(name),)
            if options:
                who.options = {**(who.options or {}), name: options}
            elif who.options:
                who.options = {other: own for other, own in who.options.items() if other != name} or None
            if not held:
                self._add(who, name)
        self._count_mixed(who, 1)

    def unsubscribe(self, who: S, names: Iterable[str]) -> None:
        """Takes the subscriber out of channels; those it does not have are passed over."""
        self._count_mixed(who, -1)
        gone = set(names).intersection(who.channels)
        for name in gone:
            self._discard(who, name)
        who.channels = tuple(name for name in who.channels if name not in gone)
        if who.options:
            who.options = {name: own for name, own in who.options.items() if name not in gone} or None
        self._count_mixed(who, 1)

    def leave(self, who: S) -> None:
        """Takes the subscriber out of everything."""
        self.unsubscribe(who, who.channels)

    def hold(self, who: S) -> None:
        """Gives a subscriber no messages for a while; its subscriptions stay noted at it."""
        for name in who.channels:
            self._discard(who, name)

    def release(self, who: S) -> None:
        """Gives it messages again."""
        for name in who.channels:
            self._add(who, name)

    def subscribers(self, channel: str) -> list[tuple[int, int, Set[S]]]:
        """Who gets a message of this channel: form, options and subscribers, each of them once.

        Where a subscriber's names overlap, one that does not conflate counts: nothing is passed over
        that it asked for. Of several sets that overlap the largest is given as it stands, the same for every
        channel: those who listen to `*` are not gone through for each. Do not keep the sets: they change with
        the next subscribe.
        """
        found: list[tuple[int, int, Set[S]]] = []
        for key, table in self._tables.items():
            parts = table.subscribers(channel)
            if len(parts) > 1:
                parts = self._disjoint(parts)
            found += [(key & _FORM, key & ~_FORM, subscribers) for subscribers in parts]
        if self._mixed and len(found) > 1:
            return self._each_once(found)
        return found

    def _disjoint(self, parts: list[Set[S]]) -> list[Set[S]]:
        parts.sort(key=len, reverse=True)
        disjoint = parts[:1]
        for part in parts[1:]:
            for larger in disjoint:
                self.compared += len(part)
                part = part - larger
            if part:
                disjoint.append(part)
        return disjoint

    def _add(self, who: S, name: str) -> None:
        key = who.form | (who.options.get(name, 0) if who.options else 0)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = Table()
        table.add(who, name)

    def _discard(self, who: S, name: str) -> None:
        key = who.form | (who.options.get(name, 0) if who.options else 0)
        table = self._tables.get(key)
        if table is not None:
            table.discard(who, name)
            if not table:
                del self._tables[key]

    def _count_mixed(self, who: S, by: int) -> None:
        """Only subscribers with several kinds of names can stand in more than one table."""
        options = who.options
        if options and (len(options) < len(who.channels) or len(set(options.values())) > 1):
            self._mixed += by

    def _each_once(self, found: list[tuple[int, int, Set[S]]]) -> list[tuple[int, int, Set[S]]]:
        found.sort(key=lambda entry: (entry[1] & CONFLATE, entry[1]))
        rest: list[tuple[int, int, Set[S]]] = []
        seen: Set[S] = frozenset()
        for form, options, subscribers in found:
            self.compared += len(seen) + len(subscribers)
            if not seen.isdisjoint(subscribers):
                subscribers = subscribers - seen
            if subscribers:
                rest.append((form, options, subscribers))
                seen = seen | subscribers
        return rest
