"""A node of several processes is one node to its clients, its operator and its metrics."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.nats import NatsServer
from tests.support.several import several, until
from tests.support.wsclient import subscribe


async def test_all_figures_are_of_the_node(tmp_path: Path, nats_server: NatsServer) -> None:
    async with several(tmp_path, nats_server.url) as node:
        clients = await node.shared(20, "BTC.trade")
        count = len(clients)
        seqs = await nats_server.publish(*[("BTC.trade", b'{"n":%d}' % n) for n in range(10)])
        for client in clients:
            assert [(await client.message())["seq"] for _ in seqs] == seqs
        await until(lambda: node.status()["messages"]["out"] == 10 * count)
        status, metrics = node.status(), node.metrics()
        assert status["connections"] == {"current": count, "max": 10_000}
        assert status["goroutines"]["current"] >= 2 * count + 256
        # Each process reads the stream; what is in it is counted once.
        assert (status["messages"]["in"], status["costs"]["messages_in_total"]) == (10, 10)
        assert status["costs"]["deliveries_total"] == 10 * count
        assert metrics["ws_bytes_in_total"] == 10 * len(b'{"n":0}')
        assert status["costs"]["cpu_seconds_total"] > 0.5
        assert status["feed"]["position"] == seqs[-1]
        assert (metrics["ws_connections_current"], metrics["ws_connections_opened_total"]) == (count, count)
        assert metrics["ws_fanout_latency_seconds_count"] == 20  # by each process
        assert metrics["ws_client_messages_total"] == count
        by_process = metrics["ws_process_connections"]
        assert sorted(by_process) == ["1", "2"]
        assert sum(by_process.values()) == count
        assert metrics["ws_process_feed_position"] == {"1": seqs[-1], "2": seqs[-1]}
        assert metrics["process_open_fds"] > count
        assert metrics["process_cpu_seconds_total"] > 0.5
        assert metrics["process_resident_memory_bytes"] > 3 * 2**24  # of three processes
        for client in clients[5:]:
            await client.close()
        await until(lambda: node.status()["connections"]["current"] == 5)
        await until(lambda: node.metrics().get("ws_connections_closed_total") == {"gone": count - 5})
        assert node.metrics()["ws_drain_state"] == {"none": 1, "delay": 0, "closing": 0, "drained": 0}


async def test_a_client_resumes_with_another_process(tmp_path: Path, nats_server: NatsServer) -> None:
    async with several(tmp_path, nats_server.url) as node:
        first = await node.open("BTC.trade")
        before = await nats_server.publish(*[("BTC.trade", b"%d" % n) for n in range(5)])
        seen = (await first.messages(5))[-1]
        await first.close()
        after = await nats_server.publish(*[("BTC.trade", b"%d" % n) for n in range(5, 9)])
        asked = subscribe("BTC.trade")
        asked["data"]["resume"] = {"epoch": first.hello["epoch"], "seq": seen["seq"], "ts": seen["ts"]}
        for client in await node.shared(8):
            assert client.hello["epoch"] == first.hello["epoch"]
            ack = await client.ask(asked)
            assert ack["channels"] == {"BTC.trade": {"recovered": True}}
            assert [message["seq"] for message in await client.messages(4)] == after
            assert (await client.message())["type"] == "caught_up"
        assert before[-1] == seen["seq"]


async def test_a_node_without_a_broker_is_alive_and_not_ready(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    nats_server.stop()
    async with several(tmp_path, nats_server.url, ready=False) as node:
        assert node.ask("/livez") == (200, {"alive": True})
        code, body = node.ask("/readyz")
        assert (code, body["ready"]) == (503, False)
        # Why, and of which broker, as one process alone says it.
        await until(lambda: "Errno 111" in str(node.status()["feed"]["trouble"]))
        assert nats_server.url in node.status()["not_ready_reason"]
        await node.open()
        await asyncio.to_thread(nats_server.start)
        await until(lambda: node.ask("/readyz")[0] == 200)
        assert node.ask("/health")[1]["status"] == "healthy"
        assert node.status()["feed"]["trouble"] is None
        nats_server.kill()  # as for one process: who was ready stays in the Service
        await until(lambda: node.ask("/health")[1]["checks"]["nats"]["status"] == "disconnected")
        assert node.ask("/readyz")[0] == 200
