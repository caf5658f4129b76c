"""One operator process: what it starts, in which order, and how it ends. The floor below kopf."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

from wsfleet.api.crd import build_crd
from wsfleet.health import HealthServer
from wsfleet.kube.apply import Applier
from wsfleet.kube.cache import MOST_WATCHES, Cache
from wsfleet.kube.client import KubeClient
from wsfleet.kube.discovery import is_served, missing_fields
from wsfleet.kube.errors import KubeError
from wsfleet.kube.events import EventRecorder
from wsfleet.kube.kinds import PODMONITOR, PROMETHEUSRULE, WSFLEET, Kind, Object, name_of, namespace_of
from wsfleet.kube.login import Login
from wsfleet.kube.reflector import Key
from wsfleet.lateness import Lateness
from wsfleet.leadership import Leadership
from wsfleet.metrics import Metrics, MetricsServer
from wsfleet.options import OperatorOptions
from wsfleet.reconcile.context import Context
from wsfleet.reconcile.fleet import FleetReconciler
from wsfleet.scrape import DirectTransport, NodeAdmin, ProxyTransport
from wsfleet.workers import Workers, schedule

logger = logging.getLogger(__name__)

_CRD_PAUSE_SECONDS = 5.0
_SETTLE_SECONDS = 2.0  # for answers to writes, before another operator may begin


class Operator:
    """Holds the fleets and their workers.

    `stand_by` first; `start` when it leads and before the first `noticed`; `stop` at the end.
    """

    def __init__(self, options: OperatorOptions, login: Login) -> None:
        self.options = options
        self.login = login
        self.metrics = Metrics()
        self._client: KubeClient | None = None
        self._context: Context | None = None
        self._reconciler: FleetReconciler | None = None
        self._workers: Workers | None = None
        self._server: MetricsServer | None = None
        self._scheduler: asyncio.Task[None] | None = None
        self._lateness = Lateness()
        self._watch: asyncio.Task[None] | None = None
        self._health: HealthServer | None = None
        self.leadership: Leadership | None = None
        if options.lease:
            self.leadership = Leadership(
                login,
                options.operator_namespace,
                options.lease,
                options.instance,
                seconds=options.lease_seconds,
            )

    async def stand_by(self) -> None:
        """Answer probes and scrapes, and with a lease begin to contend for it. No copy of anything is kept:

        to list it all at a takeover takes less time than the lease does to run out.
        """
        self.metrics.loop_late.set_function(self._lateness.longest)
        self._watch = asyncio.create_task(self._lateness.watch(), name="lateness")
        self.metrics.leads.set_function(lambda: float(self.term() > 0 or self.leadership is None))
        if self.options.metrics_port:
            self._server = MetricsServer(self.metrics, self.options.metrics_port)
            await self._server.start()
        if self.options.liveness:
            self._health = HealthServer(self.options.liveness, self.ails, self.unready)
            await self._health.start()
        if self.leadership is not None:
            await self.leadership.start()

    async def lead(self) -> None:
        """Return once this process may act; at once where there is no lease."""
        if self.leadership is not None:
            logger.info("standing by for lease %s as %s", self.options.lease, self.leadership.identity)
            await self.leadership.wait()

    def term(self) -> int:
        """The number that nodes refuse lower ones of: the lease's transitions, 0 where there is no lease."""
        return self.leadership.term if self.leadership is not None else 0

    async def start(self) -> None:
        """Connect, check the CRD, fill the cache, and begin to look after fleets."""
        watches = MOST_WATCHES * max(1, len(self.options.namespaces))
        client = self._client = await self.login.connect(watches, self._guard)
        self.metrics.api_writes.set_function(lambda: client.writes)
        await self._wait_for_crd(client)
        optional = await _optional_kinds(client)
        cache = Cache(client, self.options.namespaces, self._poke, extra=tuple(optional))
        await cache.start()
        # What was listed stays: the collector need not walk through ten thousand pods again and again.
        gc.collect()
        gc.freeze()
        self._context = Context(
            client=client,
            cache=cache,
            applier=Applier(client),
            admin=self._node_admin(client),
            events=EventRecorder(client, self.options.instance),
            metrics=self.metrics,
            options=self.options,
            optional_kinds=optional,
        )
        self._reconciler = FleetReconciler(self._context, self._vanished)
        self._reconciler.restore()
        self._workers = Workers(
            self._reconciler.look, self.options.reconcile_seconds, self._reconciler.failed
        )
        self._scheduler = asyncio.create_task(
            schedule(self._workers, self.options.tick_seconds), name="scheduler"
        )
        scope = ", ".join(self.options.namespaces) or "all namespaces"
        logger.info("looking after the fleets of %s; node image %s", scope, self.options.node_image)

    async def stop(self) -> None:
        """End looks first, and let another operator go on; then what they use."""
        if self._scheduler is not None:
            self._scheduler.cancel()
        if self._workers is not None:
            await self._workers.close()
        if self._client is not None:
            await self._client.settle(_SETTLE_SECONDS)
        if self.leadership is not None:
            await self.leadership.release()
        if self._server is not None:
            await self._server.stop()
        if self._health is not None:
            await self._health.stop()
        if self._watch is not None:
            self._watch.cancel()
        if self._context is not None:
            await self._context.cache.stop()
            await self._context.admin.close()
        if self._client is not None:
            await self._client.close()

    def noticed(self, event: str | None, fleet: Object) -> None:
        """kopf saw a fleet come, change or go."""
        if self._reconciler is None or self._workers is None:
            return
        key = (namespace_of(fleet), name_of(fleet))
        if event == "DELETED":
            # Events of two fleets that had one name after the other come in no sure order.
            if self._reconciler.holds(fleet):
                self._workers.remove(key)
                self._reconciler.gone(key)
        elif self._reconciler.take(fleet):
            self._workers.add(key)
        self.metrics.fleets.set(len(self._workers.keys()))

    def ails(self) -> str:
        """Why this process should be restarted, empty if it should not."""
        if self._context is None:
            return ""  # standing by, also where the API server is away: a restart would not bring it back
        stuck = self._context.cache.stuck()
        if self._scheduler is not None and self._scheduler.done():
            stuck.append("the scheduler")
        if self._workers is not None:
            stuck += self._workers.dead()
        return "no turn for minutes: " + ", ".join(stuck) if stuck else ""

    def unready(self) -> str:
        """Why this process could not take over now, empty if it could, or acts already."""
        if self.leadership is None or self.leadership.standing_by:
            return ""
        return f"lease {self.options.lease} could not be read lately"

    def _vanished(self, key: Key) -> None:
        """A look found that its fleet is gone."""
        if self._workers is not None and self._reconciler is not None:
            # After the look that asks for it: it would be cancelled with its worker.
            asyncio.get_running_loop().call_soon(self._workers.remove, key)
            self._reconciler.gone(key)

    def _poke(self, key: Key) -> None:
        if self._workers is not None:
            self._workers.poke(key)

    def _guard(self) -> None:
        if self.leadership is not None:
            self.leadership.check()

    def _doubt(self) -> None:
        if self.leadership is not None:
            self.leadership.doubt()

    def _node_admin(self, client: KubeClient) -> NodeAdmin:
        proxy = self.options.admin_via_proxy
        return NodeAdmin(
            ProxyTransport(client) if proxy else DirectTransport(guard=self._guard),
            timeout=self.options.scrape_timeout_seconds,
            round_seconds=self.options.scrape_round_seconds,
            term=self.term,
            outdated=self._doubt,
        )

    async def _wait_for_crd(self, client: KubeClient) -> None:
        """Until the API server serves WsFleets; then name what the installed schema lacks."""
        told = False
        while True:
            try:
                if await is_served(client, WSFLEET):
                    break
                if not told:
                    logger.warning("the CRD of WsFleet is not installed: waiting for it")
                told = True
            except KubeError as exc:
                logger.warning("waiting for the API server: %s", exc)
            await asyncio.sleep(_CRD_PAUSE_SECONDS)
        try:
            lacking = await missing_fields(client, _schema())
        except KubeError as exc:
            logger.warning("the CRD's schema could not be checked: %s", exc)
            return
        if lacking:
            logger.error(
                "the installed CRD lacks %s: the API server drops these fields; apply this release's CRD",
                ", ".join(lacking[:20]),
            )


def _schema() -> Object:
    schema: dict[str, Any] = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


async def _optional_kinds(client: KubeClient) -> frozenset[Kind]:
    """Which of others' kinds are there: looked at once, at the start."""
    found = set()
    for kind in (PODMONITOR, PROMETHEUSRULE):
        try:
            if await is_served(client, kind):
                found.add(kind)
        except KubeError as exc:
            logger.warning("looking for %s: %s", kind.plural, exc)
    return frozenset(found)
