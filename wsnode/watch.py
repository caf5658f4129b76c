"""The settings file, watched: a change is taken over whole or not at all.

The file is read anew four times a second rather than watched by inotify: a ConfigMap changes by a swap
of the symlink `..data` two levels up, editors write beside and rename, and a read of a page is
cheaper than to get all of that right. A change counts once the same content was read twice, so
that a half-written file is not taken for a whole one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from wsnode.config import Settings, SettingsError
from wsnode.config.sources import Loaded, file_hash, load_settings, masked_env, read_settings_file

_log = logging.getLogger(__name__)
POLL_SECONDS = 0.25
SETTLE_SECONDS = 0.2
# A file that does not end in a line's end looks cut off; it may also just be written that way.
SETTLE_UNENDED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """What came of a changed file.

    Attributes:
        settings: to be taken over; None when the file is bad and nothing changes.
        file_hash: of the file in force from now on (see `sources.Loaded`).
        error: what is wrong with the file, else None.
    """

    settings: Settings | None
    file_hash: str
    error: str | None


class SettingsWatch:
    """Watches one file over one environment. Time is given to `poll`, so tests need not wait."""

    def __init__(self, path: str, environ: Mapping[str, str], loaded: Loaded) -> None:
        """`loaded` are the settings with which the node starts."""
        self._path = path
        self._environ = dict(environ)
        self._in_force = loaded
        self._judged = loaded.file_hash  # key of the content that was judged last
        self._pending: tuple[str, float] | None = None

    def poll(self, now: float) -> SettingsChange | None:
        """Looks at the file at `now`, in monotonic seconds; None when there is nothing new."""
        content: bytes | SettingsError
        try:
            content = read_settings_file(self._path)
            key = file_hash(content)
        except SettingsError as error:
            content, key = error, str(error)
        if key == self._judged:
            self._pending = None
            return None
        if self._pending is None or self._pending[0] != key:
            self._pending = (key, now)
            return None
        if now - self._pending[1] < _settle_seconds(content):
            return None
        self._judged, self._pending = key, None
        return self._judge(content)

    def _judge(self, content: bytes | SettingsError) -> SettingsChange:
        try:
            if isinstance(content, SettingsError):
                raise content
            self._in_force = load_settings(self._environ, content)
        except SettingsError as error:
            return SettingsChange(None, self._in_force.file_hash, str(error))
        return SettingsChange(self._in_force.settings, self._in_force.file_hash, None)

    async def changes(self) -> AsyncIterator[SettingsChange]:
        """Changes as they come, for ever."""
        while True:
            change = self.poll(time.monotonic())
            if change is not None:
                yield change
            await asyncio.sleep(POLL_SECONDS)


class Follower(Protocol):
    """What takes changed settings over.

    Attributes:
        settings_error: see `view.NodeView`.
    """

    settings_error: str | None

    def apply(self, change: SettingsChange) -> None:
        """Takes a changed settings file over, or notes what is wrong with it."""


async def follow(node: Follower, environ: Mapping[str, str], loaded: Loaded) -> None:
    """Hands changes of the settings file on, for ever; ends at once where no file is watched."""
    path = loaded.settings.settings_file
    if not path:
        return
    async for change in SettingsWatch(path, environ, loaded).changes():
        try:
            node.apply(change)
        except Exception:
            # The next file must have its chance, whatever was wrong with taking this one over.
            _log.exception("settings could not be taken over")
            node.settings_error = "could not be taken over whole; the node's log says why"


def describe_change(before: Settings, after: Settings) -> dict[str, str]:
    """Variable -> `old -> new` of all that differs, secrets masked: for the log."""
    old, new = masked_env(before), masked_env(after)
    return {name: f"{old[name]} -> {new[name]}" for name in new if old[name] != new[name]}


def _settle_seconds(content: bytes | SettingsError) -> float:
    ended = isinstance(content, SettingsError) or content.endswith(b"\n")
    return SETTLE_SECONDS if ended else SETTLE_UNENDED_SECONDS
