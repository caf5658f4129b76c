"""The admin port over real sockets: probes, shapes, and who may change what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.support.node_view import Figures
from wsnode.admin import AdminServer
from wsnode.config import Settings
from wsnode.metrics import METRICS
from wsnode.view import DrainStatus, FeedStatus, InvalidArgumentError


class Port:
    """A client of one admin port."""

    def __init__(self, view: Figures, session: aiohttp.ClientSession, port: int, tokens: Path) -> None:
        self.view, self.tokens = view, tokens
        self._session, self._base = session, f"http://127.0.0.1:{port}"

    async def text(self, method: str, path: str, **options: Any) -> tuple[int, str, str]:
        async with self._session.request(method, self._base + path, **options) as answer:
            return answer.status, answer.headers["Content-Type"], await answer.text()

    async def get(self, path: str) -> tuple[int, Any]:
        status, kind, text = await self.text("GET", path)
        assert kind == "application/json"
        return status, json.loads(text)

    async def change(
        self, method: str, path: str, body: Any = None, *, token: str | None = "one", term: str | None = None
    ) -> tuple[int, Any]:
        headers = {"X-Wsfleet-Token": token, "X-Wsfleet-Term": term}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {name: value for name, value in headers.items() if value is not None}
        status, kind, text = await self.text(method, path, data=data, headers=sent)
        assert kind == "application/json"
        return status, json.loads(text)


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    tokens = tmp_path / "tokens"
    tokens.write_text("one\n\n two \n")
    settings = Settings(admin_addr="127.0.0.1:0", admin_token_file=str(tokens), node_name="node-1")
    view = Figures(settings=settings, connections=812)
    server = AdminServer(view)
    await server.start()
    async with aiohttp.ClientSession() as session:
        yield Port(view, session, server.port, tokens)
    await server.stop()


async def test_liveness_depends_on_nothing(port: Port) -> None:
    port.view.ready, port.view.healthy, port.view.feed = False, False, FeedStatus()
    port.view.drain = DrainStatus("drained")
    assert await port.get("/livez") == (200, {"alive": True})


async def test_readiness_tells_why_not(port: Port) -> None:
    assert await port.get("/readyz") == (200, {"ready": True})
    port.view.ready, port.view.not_ready_reason = False, "waiting for NATS"
    assert await port.get("/readyz") == (503, {"ready": False, "reason": "waiting for NATS"})


async def test_status_has_the_shape_that_the_operator_reads(port: Port) -> None:
    view = port.view
    view.counters.connections_rejected["cpu"] = 3
    view.counters.messages_in, view.counters.messages_out, view.counters.bytes_out = 5, 40, 4000
    view.counters.messages_replayed = 7
    view.settings_hash, view.settings_error = "0123456789abcdef", "WS_X is not a setting of this node"
    status, body = await port.get("/status")
    assert status == 200
    assert body.pop("uptime_seconds") >= 0
    assert body["settings"].pop("values")["WS_MAX_CONNECTIONS"] == "10000"
    assert body == {
        "node": "node-1",
        "version": "0.1.0",
        "ready": True,
        "not_ready_reason": None,
        "connections": {"current": 812, "max": 10_000},
        "cpu": {"percent": 1.5, "limit_cores": 1.8},
        "memory": {"bytes": 52_428_800, "limit_bytes": 1_879_048_192},
        "goroutines": {"current": 260, "limit": 25_000},
        "rejections": {
            "connections": 0,
            "cpu": 3,
            "memory": 0,
            "goroutines": 0,
            "handshakes": 0,
            "descriptors": 0,
            "address": 0,
            "draining": 0,
            "loop_lag": 0,
            "origin": 0,
        },
        "feed": {
            "connected": True,
            "paused": False,
            "seeded": True,
            "position": 7,
            "lag": 0,
            "epoch": "e",
            "problem": None,
            "trouble": None,
            "stream": None,
        },
        "drain": {"state": "none", "remaining": 0, "rate_per_second": 0.0, "seconds_left": 0.0},
        "shed": {"remaining": 0},
        "tls": {"enabled": False, "certificate_ends": None, "error": None},
        "settings": {"hash": "0123456789abcdef", "error": "WS_X is not a setting of this node"},
        "messages": {"in": 5, "out": 40, "bytes_out": 4000},
        "costs": {
            "cpu_seconds_total": 2.25,
            "deliveries_total": 40,
            "replayed_total": 7,
            "messages_in_total": 5,
            "feed_readers": 1,
            "memory_bytes_per_connection": 900,
            "memory_over_connections": 800,
        },
    }


async def test_health_has_the_shape_that_dashboards_read(port: Port) -> None:
    status, body = await port.get("/health")
    assert status == 200
    assert body.pop("uptime") >= 0
    assert body == {
        "status": "healthy",
        "healthy": True,
        "checks": {
            "nats": {"status": "connected", "healthy": True},
            "capacity": {"current": 812, "max": 10_000, "percentage": 8.12, "healthy": True},
            "goroutines": {"current": 260, "limit": 25_000, "percentage": 1.04, "healthy": True},
            "memory": {"used_mb": 50.0, "limit_mb": 1792.0, "percentage": 2.79, "healthy": True},
            "cpu": {"percentage": 1.5, "threshold": 75.0, "healthy": True},
            "limits": {
                "max_connections": 10_000,
                "max_goroutines": 25_000,
                "max_nats_rate": 0.0,
                "max_broadcast_rate": 0.0,
                "worker_pool_size": 256,
                "worker_queue_size": 25_600,
                "cpu_reject_threshold": 75.0,
                "cpu_pause_threshold": 80.0,
            },
        },
        "warnings": [],
        "errors": [],
    }


async def test_health_degrades_near_a_limit_and_fails_at_it(port: Port) -> None:
    port.view.connections, port.view.cpu_percent = 9_001, 80.0
    status, body = await port.get("/health")
    assert (status, body["status"], body["healthy"]) == (200, "degraded", True)
    assert body["warnings"] == [
        "connections at 90.0 % of the limit",
        "CPU at 80.0 %, above 75 %: new connections are refused",
    ]
    port.view.connections = 10_000
    status, body = await port.get("/health")
    assert (status, body["status"], body["healthy"]) == (503, "unhealthy", False)
    assert body["errors"] == ["connections at 100.0 % of the limit: new connections are refused"]
    assert body["checks"]["capacity"]["healthy"] is False


async def test_health_without_nats(port: Port) -> None:
    port.view.feed = FeedStatus(connected=False)
    status, body = await port.get("/health")
    assert (status, body["checks"]["nats"]) == (503, {"status": "disconnected", "healthy": False})
    port.view.feed = FeedStatus(connected=True, paused=True)
    status, body = await port.get("/health")
    assert (status, body["checks"]["nats"]) == (200, {"status": "paused", "healthy": True})


async def test_drain_is_started_shown_and_cancelled(port: Port) -> None:
    shown = {"drain": {"state": "delay", "remaining": 812, "rate_per_second": 50.0, "seconds_left": 300.0}}
    assert await port.change("PUT", "/drain", {"rate": 50}) == (200, shown)
    assert (await port.get("/status"))[1]["drain"] == shown["drain"]
    status, body = await port.change("DELETE", "/drain")
    assert (status, body["drain"]["state"]) == (200, "none")
    assert (await port.change("PUT", "/drain"))[0] == 200
    assert (await port.change("PUT", "/drain", {"rate": None}))[0] == 200
    assert port.view.asked == [("drain", 50.0), ("cancel",), ("drain", None), ("drain", None)]


async def test_a_stopping_node_s_drain_cannot_be_cancelled(port: Port) -> None:
    port.view.stopping = True
    assert await port.change("DELETE", "/drain") == (409, {"error": "the node is stopping"})


async def test_shed_answers_what_it_does(port: Port) -> None:
    body = {"id": "rebalance-7", "target": 800, "rate": 2.5}
    shown = {"shed": {"id": "rebalance-7", "target": 800, "remaining": 12, "rate_per_second": 2.5}}
    assert await port.change("PUT", "/shed", body) == (200, shown)
    assert (await port.change("PUT", "/shed", {"id": "x", "target": 0}))[1]["shed"][
        "rate_per_second"
    ] == 100.0


RATE = "a number above 0, at most 100000"
TARGET = "an integer from 0 to 1000000"
SHED_ID = "a text of 1 to 128 printable characters"


@pytest.mark.parametrize(
    ("path", "body", "field", "value", "allowed"),
    [
        ("/drain", {"rate": 0}, "rate", 0, RATE),
        ("/drain", {"rate": -1}, "rate", -1, RATE),
        ("/drain", {"rate": 1e6}, "rate", 1e6, RATE),
        ("/drain", {"rate": True}, "rate", True, RATE),
        ("/drain", {"rate": "10"}, "rate", "10", RATE),
        ("/drain", {"rate": [1, 2, 3]}, "rate", [1, 2, 3], RATE),
        ("/drain", {"speed": 1}, "speed", 1, "left out; known: rate"),
        ("/shed", {"target": 1}, "id", None, SHED_ID),
        ("/shed", {"id": "", "target": 1}, "id", "", SHED_ID),
        ("/shed", {"id": "a\n", "target": 1}, "id", "a\n", SHED_ID),
        ("/shed", {"id": {"a": 1}, "target": 1}, "id", {"a": 1}, SHED_ID),
        ("/shed", {"id": "a"}, "target", None, TARGET),
        ("/shed", {"id": "a", "target": -1}, "target", -1, TARGET),
        ("/shed", {"id": "a", "target": 1.5}, "target", 1.5, TARGET),
        ("/shed", {"id": "a", "target": False}, "target", False, TARGET),
    ],
)
async def test_a_bad_value_is_answered_with_field_value_and_what_is_allowed(
    port: Port, path: str, body: Any, field: str, value: Any, allowed: str
) -> None:
    status, answer = await port.change("PUT", path, body)
    text = str(InvalidArgumentError(field, value, allowed))
    assert (status, answer) == (400, {"error": text, "field": field, "value": value, "allowed": allowed})
    assert port.view.asked == []


@pytest.mark.parametrize(
    "body", [b"{", b"null", b"[1,2,3]", b'"x"', b'{"rate":NaN}', b"\xff", b'{"rate":1e999}']
)
async def test_a_body_that_is_no_json_object_is_refused(port: Port, body: bytes) -> None:
    status, answer = await port.change("PUT", "/drain", body)
    assert status == 400
    assert "error" in answer
    assert port.view.asked == []


async def test_a_body_without_end_is_cut_off(port: Port) -> None:
    status, answer = await port.change("PUT", "/drain", b" " * 20_000)
    assert status == 413
    assert "error" in answer


@pytest.mark.parametrize(("method", "path"), [("PUT", "/drain"), ("DELETE", "/drain"), ("PUT", "/shed")])
@pytest.mark.parametrize(
    ("token", "status"),
    [(None, 401), ("", 401), ("three", 403), ("on", 403), ("one\ttwo", 403), ("ünö", 403)],
)
async def test_without_one_of_the_fleet_s_tokens_nothing_changes(
    port: Port, method: str, path: str, token: str | None, status: int
) -> None:
    assert (await port.change(method, path, {}, token=token))[0] == status
    assert port.view.asked == []


async def test_each_line_of_the_token_file_counts_and_a_change_counts_at_once(port: Port) -> None:
    for token in ("one", "two"):
        assert (await port.change("PUT", "/drain", token=token))[0] == 200
    port.tokens.write_text("three")
    assert (await port.change("PUT", "/drain", token="one"))[0] == 403
    assert (await port.change("PUT", "/drain", token="three"))[0] == 200
    port.tokens.write_text("\n\n")
    assert (await port.change("PUT", "/drain", token="three"))[0] == 403
    port.tokens.unlink()
    status, answer = await port.change("PUT", "/drain", token="three")
    assert (status, answer) == (403, {"error": "the token file can't be read: No such file or directory"})


async def test_without_a_token_file_nobody_may_change_anything(tmp_path: Path) -> None:
    server = AdminServer(Figures(settings=Settings(admin_addr="127.0.0.1:0")))
    await server.start()
    async with aiohttp.ClientSession() as session:
        port = Port(Figures(), session, server.port, tmp_path)
        status, answer = await port.change("PUT", "/drain")
    await server.stop()
    assert status == 403
    assert answer == {"error": "nobody may change this node: WS_ADMIN_TOKEN_FILE is not set"}


async def test_a_deposed_operator_is_refused(port: Port) -> None:
    assert (await port.change("PUT", "/drain"))[0] == 200  # no term is 0
    assert (await port.change("PUT", "/drain", term="4"))[0] == 200
    for term in ("3", "0", None):
        status, answer = await port.change("PUT", "/shed", {"id": "a", "target": 1}, term=term)
        assert status == 409
        assert answer["error"].endswith("an operator with the later term 4 was here")
    assert (await port.change("DELETE", "/drain", term="4"))[0] == 200
    assert (await port.change("DELETE", "/drain", term="5"))[0] == 200


async def test_a_term_counts_only_with_a_token(port: Port) -> None:
    assert (await port.change("PUT", "/drain", token="wrong", term="99"))[0] == 403
    assert (await port.change("PUT", "/drain", term="1"))[0] == 200


@pytest.mark.parametrize("term", ["-1", "x", "1.5", "", "9" * 30])
async def test_a_term_that_is_no_integer_is_refused(port: Port, term: str) -> None:
    assert (await port.change("PUT", "/drain", term=term))[0] == 400
    assert port.view.asked == []


async def test_unknown_paths_and_methods_are_answered_in_json(port: Port) -> None:
    assert await port.get("/nothing") == (404, {"error": "Not Found"})
    status, kind, text = await port.text("POST", "/drain")
    assert (status, kind, json.loads(text)) == (405, "application/json", {"error": "Method Not Allowed"})


async def test_a_failing_node_is_answered_with_500_and_no_details(
    port: Port, caplog: pytest.LogCaptureFixture
) -> None:
    port.view.memory_bytes = "broken"  # type: ignore[assignment]  # what a bug might do
    status, answer = await port.get("/health")
    assert (status, answer) == (500, {"error": "the node failed to answer; its log says why"})
    assert "an admin request failed" in caplog.text


async def test_a_taken_port_is_an_error(port: Port) -> None:
    taken = port._base.rpartition(":")[2]
    server = AdminServer(Figures(settings=Settings(admin_addr=f"127.0.0.1:{taken}")))
    with pytest.raises(OSError, match="address already in use"):
        await server.start()
    await server.stop()


async def test_metrics_read_plain_counters_at_scrape(port: Port) -> None:
    counters = port.view.counters
    counters.connections_rejected["cpu"] = 2
    counters.connections_closed["slow"] = 1
    for seconds in (0.0004, 0.003, 0.003, 99.0):
        counters.observe_fanout(seconds)
    status, kind, text = await port.text("GET", "/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["ws_connections_current",] == 812
    assert samples["ws_cpu_percent",] == 1.5
    assert samples["ws_connections_rejected_total", "cpu"] == 2
    assert samples["ws_connections_rejected_total", "connections"] == 0
    assert samples["ws_connections_closed_total", "slow"] == 1
    assert samples["ws_feed_connected",] == 1
    assert samples["ws_settings_error",] == 0
    assert samples["ws_drain_state", "none"] == 1
    assert samples["ws_build_info", "0.1.0"] == 1
    assert samples["ws_fanout_latency_seconds_bucket", "0.001"] == 1
    assert samples["ws_fanout_latency_seconds_bucket", "0.005"] == 3
    assert samples["ws_fanout_latency_seconds_bucket", "30.0"] == 3
    assert samples["ws_fanout_latency_seconds_bucket", "+Inf"] == 4
    assert samples["ws_fanout_latency_seconds_count",] == 4
    assert samples["ws_fanout_latency_seconds_sum",] == pytest.approx(99.0064)
    assert samples["process_open_fds",] > 0


async def test_every_metric_of_the_table_is_scraped_in_both_forms(port: Port) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    _, kind, text = await port.text("GET", "/metrics", headers=accept)
    assert kind.startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics(text)}  # type: ignore[no-untyped-call]
    assert {metric.name.removesuffix("_total") for metric in METRICS} <= names
    _, _, plain = await port.text("GET", "/metrics")
    assert {metric.name for metric in METRICS} <= {
        line.split()[2] for line in plain.splitlines() if line.startswith("# TYPE")
    }


async def test_many_scrapes_at_once_are_answered(port: Port) -> None:
    answers = await asyncio.gather(*(port.text("GET", "/metrics") for _ in range(50)))
    assert {status for status, _, _ in answers} == {200}
