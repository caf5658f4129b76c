"""A local, current copy of the objects of one kind: list, then watch, trimmed to what is used.

kopf's own cache lists every pod of the cluster and keeps whole objects; a fleet operator needs its
own pods only, and of them a tenth of the fields.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Iterable

from wsfleet.kube.client import KubeClient
from wsfleet.kube.errors import ExpiredError, ForbiddenError, KubeError, NotFoundError
from wsfleet.kube.kinds import Kind, Object, name_of, namespace_of

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name."""

_WATCH_SECONDS = (240, 300)  # spread, or all watches of all operators would end together
_BACKOFF_SECONDS = (0.5, 30.0)


class Reflector:
    """Objects of one kind in one namespace (None: all of them), kept current until `run` is cancelled.

    `changed` is called with every object that came, changed or went (its last known form). Objects
    are found by an index value too (`index(obj)`, such as the fleet that a pod belongs to).
    """

    def __init__(
        self,
        client: KubeClient,
        kind: Kind,
        namespace: str | None = None,
        *,
        selector: str = "",
        trim: Callable[[Object], Object] = lambda obj: obj,
        index: Callable[[Object], Key | None] = lambda obj: None,
        changed: Callable[[Object], None] = lambda obj: None,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.synced = asyncio.Event()
        self.tried = asyncio.Event()
        """The first list is complete, or was refused for a reason that only people can mend."""
        self.refused = False
        """The last attempt met a missing right, or a kind that is not served (any more)."""
        self.lists = 0
        self._client = client
        self._selector = selector
        self._trim = trim
        self._index = index
        self._changed = changed
        self._objects: dict[Key, Object] = {}
        self._by_index: dict[Key, dict[Key, Object]] = {}
        self._in_order: dict[Key, list[Object]] = {}
        """The same by name, kept until one of them changes: a look asks several times for 500 pods."""
        self._turned = self._heard = time.monotonic()

    @property
    def silent_seconds(self) -> float:
        """Seconds since the API server last said anything: the age of this copy at worst.

        Infinite before the first list is complete.
        """
        return time.monotonic() - self._heard if self.synced.is_set() else math.inf

    @property
    def stuck_seconds(self) -> float:
        """Seconds since the loop last made a turn, also a failed one: above some minutes it hangs."""
        return time.monotonic() - self._turned

    def get(self, namespace: str, name: str) -> Object | None:
        return self._objects.get((namespace, name))

    def all(self) -> Iterable[Object]:
        return list(self._objects.values())

    def indexed(self, value: Key) -> list[Object]:
        """The objects whose index value this is, by name."""
        found = self._in_order.get(value)
        if found is None:
            if value not in self._by_index:
                return []
            found = [obj for _, obj in sorted(self._by_index[value].items(), key=_key_of_item)]
            self._in_order[value] = found
        return found.copy()

    def put(self, obj: Object) -> None:
        """Take over what a write has just returned, so that the next look does not see an older state."""
        key = (namespace_of(obj), name_of(obj))
        self._store(key, self._trim(obj))

    async def run(self) -> None:
        """List and watch for ever; trouble is logged and retried with growing pauses."""
        pause, version = _BACKOFF_SECONDS[0], ""
        while True:
            try:
                version = version or await self._list()
                version = await self._watch(version)
                pause = _BACKOFF_SECONDS[0]
                continue
            except ExpiredError:
                version = ""
                logger.debug("the watch on %s is too old: listing again", self.kind.plural)
            except KubeError as exc:
                version = ""
                logger.warning("watching %s: %s; again in %.1f s", self.kind.plural, exc, pause)
                if isinstance(exc, ForbiddenError | NotFoundError):
                    self.refused = True
                    self.tried.set()
            except Exception:
                # A copy that is no longer kept current is worse than one made anew.
                version = ""
                logger.exception("watching %s; again in %.1f s", self.kind.plural, pause)
            self._turned = time.monotonic()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _BACKOFF_SECONDS[1])

    async def _list(self) -> str:
        found: dict[Key, Object] = {}
        version = ""
        async for page in self._client.pages(self.kind, self.namespace, selector=self._selector):
            self._note_life()
            version = page.resource_version
            for obj in page.items:
                found[namespace_of(obj), name_of(obj)] = self._trim(obj)
        self.lists += 1
        for key in self._objects.keys() - found.keys():
            self._drop(key)
        for key, obj in found.items():
            self._store(key, obj)
        self.refused = False
        self.synced.set()
        self.tried.set()
        return version

    async def _watch(self, version: str) -> str:
        """Follow changes until the server ends the stream; the version to go on from."""
        async for event in self._client.watch(
            self.kind,
            self.namespace,
            selector=self._selector,
            resource_version=version,
            seconds=random.randint(*_WATCH_SECONDS),
        ):
            self._note_life()
            obj, kind = event["object"], event["type"]
            if kind == "OPENED":
                continue
            if kind == "ERROR":
                message = obj.get("message") or "the watch failed"
                error = ExpiredError if obj.get("code") == 410 else KubeError
                raise error(f"watch {self.kind.plural}", int(obj.get("code") or 0), message)
            version = obj["metadata"]["resourceVersion"]
            if kind == "BOOKMARK":
                continue  # it has a version and nothing else
            key = (namespace_of(obj), name_of(obj))
            if kind == "DELETED":
                self._drop(key)
            else:
                self._store(key, self._trim(obj))
        self._turned = time.monotonic()
        return version

    def _note_life(self) -> None:
        self._turned = self._heard = time.monotonic()

    def _store(self, key: Key, obj: Object) -> None:
        old = self._objects.get(key)
        if old is not None:
            if not _is_newer(obj, old):
                return
            self._unindex(key, old)
        self._objects[key] = obj
        value = self._index(obj)
        if value is not None:
            self._by_index.setdefault(value, {})[key] = obj
            self._in_order.pop(value, None)
        self._changed(obj)

    def _drop(self, key: Key) -> None:
        old = self._objects.pop(key, None)
        if old is not None:
            self._unindex(key, old)
            self._changed(old)

    def _unindex(self, key: Key, obj: Object) -> None:
        value = self._index(obj)
        if value is not None and value in self._by_index:
            self._in_order.pop(value, None)
            self._by_index[value].pop(key, None)
            if not self._by_index[value]:
                del self._by_index[value]


def _key_of_item(item: tuple[Key, Object]) -> Key:
    return item[0]


def _is_newer(obj: Object, old: Object) -> bool:
    """By resourceVersion; versions that are not numbers only tell whether they differ.

    That they are numbers and grow is promised since Kubernetes 1.35, and was so long before.
    """
    one, other = (str(each["metadata"].get("resourceVersion", "")) for each in (obj, old))
    if one.isdigit() and other.isdigit():
        return int(one) > int(other)
    return one != other or not one
