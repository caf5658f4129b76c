"""The operator's own metrics, in Prometheus' form."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters of one operator process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Histogram(
            "wsfleet_reconcile_seconds", "looks at a fleet", registry=self.registry, buckets=_SECONDS
        )
        self.errors = Counter(
            "wsfleet_reconcile_errors", "looks that failed, by error", ["error"], registry=self.registry
        )
        self.scrapes = Histogram(
            "wsfleet_scrape_seconds",
            "rounds over the nodes of a fleet",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.missing = Counter(
            "wsfleet_scrape_missing", "nodes that gave no figures in a round", registry=self.registry
        )
        self.decisions = Counter(
            "wsfleet_decisions",
            "decisions that changed the wish, by trigger",
            ["trigger"],
            registry=self.registry,
        )
        self.status_writes = Counter("wsfleet_status_writes", "writes of a status", registry=self.registry)
        self.api_writes = Gauge(
            "wsfleet_api_writes", "writes to the API server since the start", registry=self.registry
        )
        self.leads = Gauge(
            "wsfleet_leads", "1 in the operator that acts, 0 in those that stand by", registry=self.registry
        )
        self.loop_late = Gauge(
            "wsfleet_loop_late_seconds",
            "longest time in the last one to two minutes for which the loop could not turn",
            registry=self.registry,
        )
        self.fleets = Gauge("wsfleet_fleets", "fleets that are looked after", registry=self.registry)
        labels = ["namespace", "fleet"]
        self.desired = Gauge(
            "wsfleet_fleet_desired_nodes", "nodes wished for", labels, registry=self.registry
        )
        self.ready = Gauge(
            "wsfleet_fleet_ready_nodes", "nodes that are ready", labels, registry=self.registry
        )
        self.connections = Gauge(
            "wsfleet_fleet_connections", "connections of a fleet", labels, registry=self.registry
        )

    def forget(self, namespace: str, fleet: str) -> None:
        """A fleet is gone: its series too."""
        for gauge in (self.desired, self.ready, self.connections):
            try:
                gauge.remove(namespace, fleet)
            except KeyError:
                pass  # it never had one

    def text(self) -> bytes:
        return generate_latest(self.registry)


class MetricsServer:
    """Serves /metrics until it is stopped."""

    def __init__(self, metrics: Metrics, port: int) -> None:
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        self._metrics = metrics
        self._port = port
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
