"""The load client against a server that speaks the protocol, and breaks it when told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from tests.support.protocol_server import ProtocolServer
from wsnode.load import LoadClient
from wsnode.load_figures import Snapshot
from wsnode.load_options import LoadError, LoadOptions


@contextlib.asynccontextmanager
async def running(options: LoadOptions, *, process: bool = False) -> AsyncIterator[LoadClient]:
    """A load client whose start and stop leave the loop to the server that lives in it."""
    load = LoadClient(options, process=process)
    await asyncio.to_thread(load.start)
    try:
        yield load
    finally:
        await asyncio.to_thread(load.stop)


async def until(load: LoadClient, condition: Callable[[Snapshot], bool], timeout: float = 20) -> Snapshot:
    """As `wait_for`, without blocking the loop that the server lives in."""
    return await asyncio.to_thread(load.wait_for, condition, timeout)


def options(server: ProtocolServer, connections: int = 5, **more: object) -> LoadOptions:
    values: dict[str, object] = {"check": True, "rate": 1000.0, "retry_longest": 0.2, **more}
    return LoadOptions(server.url, connections, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("process", [False, True])
async def test_every_client_gets_every_message(process: bool) -> None:
    async with ProtocolServer() as server:
        load = LoadClient(options(server, 20, marks=(10, 20, 30)), process=process)
        await asyncio.to_thread(load.start)
        await until(load, lambda shot: shot.subscribed == 20)
        for _ in range(50):
            server.publish("BTC.trade")
        server.position()
        shot = await until(load, lambda shot: shot.deliveries == 1000 and shot.positions == 20)
        assert (shot.messages, shot.broken, shot.missed_while_away) == (50, 0, 0)
        assert shot.nodes["node-a"]["open"] == 20
        assert sorted(shot.marks) == ["10", "20"]
        assert shot.started_at <= shot.marks["10"] <= shot.marks["20"] <= shot.taken_at
        assert shot.latency_ms["count"] == 1000
        assert shot.connect_ms["count"] == 20
        await asyncio.to_thread(load.stop)
        await asyncio.wait_for(until_left(server), 5)
        assert server.received_closes == [1000] * 20


async def until_left(server: ProtocolServer) -> None:
    while server.clients or len(server.received_closes) < 20:
        await asyncio.sleep(0.02)


async def test_channels_are_spread_over_the_clients() -> None:
    async with ProtocolServer() as server:
        channels = ("A.x", "B.x", "C.x")
        async with running(options(server, 3, channels=channels, channels_each=2)) as load:
            await until(load, lambda shot: shot.subscribed == 3)
            assert sorted(sorted(names) for names in server.clients.values()) == [
                ["A.x", "B.x"],
                ["A.x", "C.x"],
                ["B.x", "C.x"],
            ]
            for name in channels * 3:
                server.publish(name)
            shot = await until(load, lambda shot: shot.deliveries == 18)
            assert (shot.messages, shot.broken) == (9, 0)


async def test_a_message_that_one_client_did_not_get_is_lost() -> None:
    async with ProtocolServer() as server, running(options(server)) as load:
        await until(load, lambda shot: shot.subscribed == 5)
        server.publish("BTC.trade")
        server.publish("BTC.trade", skip=[next(iter(server.clients))])
        server.publish("BTC.trade")
        shot = await until(load, lambda shot: shot.deliveries == 14)
        assert (shot.lost, shot.doubled, shot.reordered) == (1, 0, 0)
        assert shot.notes[0].endswith("at node-a: lost on BTC.trade: seq 103 says prev 102, had 101")


async def test_doubled_reordered_and_unasked_messages_are_told_apart() -> None:
    async with ProtocolServer() as server, running(options(server, 1)) as load:
        await until(load, lambda shot: shot.subscribed == 1)
        server.send("BTC.trade", server.publish("BTC.trade"))
        first, second = server.make("BTC.trade"), server.make("BTC.trade")
        server.send("BTC.trade", second)
        server.send("BTC.trade", first)
        server.send("BTC.trade", server.make("ETH.trade"))
        late = server.make("BTC.trade")
        server.position()
        server.send("BTC.trade", late)
        shot = await until(load, lambda shot: shot.deliveries == 6)
        assert (shot.lost, shot.doubled, shot.reordered, shot.unasked) == (0, 1, 2, 1)


async def test_after_a_drain_clients_return_when_they_were_told_to() -> None:
    async with ProtocolServer() as server, running(options(server)) as load:
        await until(load, lambda shot: shot.subscribed == 5)
        server.publish("BTC.trade")
        await until(load, lambda shot: shot.deliveries == 5)
        await server.close_all(1012, "reconnect;after=700")
        closed_at = asyncio.get_running_loop().time()
        server.publish("BTC.trade")
        server.publish("BTC.trade")
        shot = await until(load, lambda shot: shot.reconnects == 5 and shot.subscribed == 5)
        assert asyncio.get_running_loop().time() - closed_at >= 0.65
        assert shot.closes == {"1012": 5}
        server.publish("BTC.trade")
        shot = await until(load, lambda shot: shot.deliveries == 10)
        assert (shot.missed_while_away, shot.broken) == (5, 0)


async def test_a_reset_is_an_abnormal_close_and_nothing_is_missed_when_nothing_came() -> None:
    async with ProtocolServer() as server, running(options(server)) as load:
        await until(load, lambda shot: shot.subscribed == 5)
        server.publish("BTC.trade")
        await until(load, lambda shot: shot.deliveries == 5)
        server.abort_all()
        shot = await until(load, lambda shot: shot.reconnects == 5 and shot.subscribed == 5)
        assert shot.closes == {"1006": 5}
        server.publish("BTC.trade")
        shot = await until(load, lambda shot: shot.deliveries == 10)
        assert (shot.missed_while_away, shot.broken) == (0, 0)


async def test_refused_clients_are_counted_by_status_and_come_back() -> None:
    async with ProtocolServer() as server:
        server.refuse = (503, "0")
        async with running(options(server)) as load:
            shot = await until(load, lambda shot: shot.failed_opens.get("http 503", 0) >= 10)
            assert (shot.open, shot.opened_total) == (0, 0)
            server.refuse = None
            shot = await until(load, lambda shot: shot.subscribed == 5)
            assert shot.reconnects == 0


async def test_a_port_where_nobody_listens() -> None:
    async with ProtocolServer() as server:
        url = server.url
    async with running(LoadOptions(url, 3, retry_longest=0.2)) as load:
        shot = await until(load, lambda shot: shot.failed_opens.get("refused", 0) >= 6)
        assert shot.open == 0


async def test_a_server_that_hangs_is_given_up_and_tried_again() -> None:
    # Never accepts: the kernel completes the connects, and nobody answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/ws"
        async with running(LoadOptions(url, 2, open_timeout=0.2, retry_longest=0.1)) as load:
            await until(load, lambda shot: shot.failed_opens.get("timed out: handshake", 0) >= 4)


async def test_a_subscribe_that_is_never_acknowledged_times_out() -> None:
    late = "timed out: acknowledgement"
    async with (
        ProtocolServer(acknowledge=False) as server,
        running(options(server, 2, open_timeout=0.3)) as load,
    ):
        shot = await until(load, lambda shot: shot.failed_opens.get(late, 0) >= 4)
        assert shot.subscribed == 0
        assert shot.closes["no acknowledgement"] >= 4


async def test_connects_that_hang_are_given_up_and_tried_again() -> None:
    # With its queue full, the kernel drops what else would connect: as a Service without endpoints.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        url = f"ws://127.0.0.1:{full.getsockname()[1]}/ws"
        async with running(LoadOptions(url, 6, open_timeout=0.2, retry_longest=0.1)) as load:
            await until(load, lambda shot: shot.failed_opens.get("timed out: connect", 0) >= 4)


async def test_a_node_that_falls_silent_is_left() -> None:
    async with ProtocolServer() as server, running(options(server, 2, silence=1)) as load:
        shot = await until(load, lambda shot: shot.reconnects >= 2)
        assert shot.closes["silent"] >= 2


async def test_no_reconnect_stays_down() -> None:
    async with ProtocolServer() as server, running(options(server, 2, reconnect=False)) as load:
        await until(load, lambda shot: shot.subscribed == 2)
        await server.close_all(1012, "reconnect;after=1")
        await until(load, lambda shot: shot.open == 0)
        await asyncio.sleep(0.3)
        shot = load.snapshot()
        assert (shot.opened_total, shot.waiting) == (2, 0)


async def test_the_ramp_goes_up_and_down() -> None:
    async with ProtocolServer() as server, running(options(server, 3)) as load:
        await until(load, lambda shot: shot.subscribed == 3)
        load.ramp(8, 500)
        await until(load, lambda shot: shot.subscribed == 8)
        load.ramp(2)
        shot = await until(load, lambda shot: shot.open == 2)
        assert shot.closes == {"1000": 6}
        server.publish("BTC.trade")
        load.ramp(4)
        await until(load, lambda shot: shot.subscribed == 4)
        server.publish("BTC.trade")
        shot = await until(load, lambda shot: shot.deliveries == 6)
        assert (shot.broken, shot.missed_while_away) == (0, 0)
        with pytest.raises(LoadError, match=r"^connections -1: must be between 0 and 1e\+06$"):
            load.ramp(-1)


async def test_pings_are_answered_and_heartbeats_sent() -> None:
    async with ProtocolServer() as server, running(options(server, 2, heartbeat=0.2)) as load:
        await until(load, lambda shot: shot.subscribed == 2)
        for client in server.clients:
            assert await asyncio.wait_for(await client.ping(b"are you there"), 5) >= 0
        shot = await until(load, lambda shot: shot.pongs >= 6)
        assert shot.pings == 2


async def test_large_frames_in_pieces_are_read_whole() -> None:
    async with ProtocolServer() as server, running(options(server, 3)) as load:
        await until(load, lambda shot: shot.subscribed == 3)
        for size in (1, 125, 126, 60_000, 70_000, 300_000):
            server.publish("BTC.trade", "x" * size)
        shot = await until(load, lambda shot: shot.deliveries == 18)
        assert shot.broken == 0


async def test_a_node_with_another_stream_starts_the_count_anew() -> None:
    async with ProtocolServer(epoch="e1", seq=5000) as server:
        load = LoadClient(options(server, 2))
        await asyncio.to_thread(load.start)
        await until(load, lambda shot: shot.subscribed == 2)
        server.publish("BTC.trade")
        await until(load, lambda shot: shot.deliveries == 2)
        port = server.port
    async with ProtocolServer(node="node-b", epoch="e2", seq=7, port=port) as server:
        await until(load, lambda shot: shot.subscribed == 2 and shot.nodes.get("node-b", {}).get("open") == 2)
        server.publish("BTC.trade")
        shot = await until(load, lambda shot: shot.deliveries == 4)
        assert (shot.broken, shot.missed_while_away) == (0, 0)
        assert shot.nodes["node-a"]["open"] == 0
        await asyncio.to_thread(load.stop)


async def test_who_resumes_gets_what_was_missed_and_nobody_else_does() -> None:
    async with ProtocolServer() as server:
        channels = ("A.x", "B.x")
        asked = options(server, 3, resume=True, channels=channels, channels_each=2)
        async with running(asked) as load:
            await until(load, lambda shot: shot.subscribed == 3)
            server.publish("A.x")
            server.position()
            server.publish("A.x")
            await until(load, lambda shot: shot.deliveries == 6)
            await server.close_all(1012, "reconnect;after=100")
            for name in channels * 2:
                server.publish(name)
            shot = await until(load, lambda shot: shot.deliveries == 18 and shot.subscribed == 3)
            server.publish("A.x")
            shot = await until(load, lambda shot: shot.deliveries == 21)
        assert (shot.resumed, shot.told, shot.unrecovered, shot.broken, shot.behind) == (3, 0, 0, 0, 0)
        assert shot.catch_up_ms["count"] == 3
        resume = {"epoch": "e1", "seq": 102, "channels": {"B.x": 101}}
        assert all(each["data"]["resume"] == resume for each in server.received[3:])


async def test_what_a_resume_cannot_have_is_told_and_not_lost() -> None:
    async with ProtocolServer() as server, running(options(server, 2, resume=True)) as load:
        await until(load, lambda shot: shot.subscribed == 2)
        await server.close_all(1012, "reconnect;after=100")
        for _ in range(5):
            server.publish("BTC.trade")
        server.forgotten = 103
        await until(load, lambda shot: shot.deliveries == 4)
        server.position(lost=109)
        server.seq = 110
        server.publish("BTC.trade")
        shot = await until(load, lambda shot: shot.deliveries == 6)
        assert (shot.told, shot.broken, shot.missed_while_away) == (4, 0, 0)


async def test_another_stream_recovers_nothing_and_a_node_without_one_is_left() -> None:
    async with ProtocolServer(seq=5000) as server:
        load = LoadClient(options(server, 2, resume=True))
        await asyncio.to_thread(load.start)
        await until(load, lambda shot: shot.subscribed == 2)
        port = server.port
    async with ProtocolServer("new", "", port=port):
        await until(load, lambda shot: shot.closes.get("no stream yet", 0) >= 2)
    async with ProtocolServer(epoch="e2", seq=7, port=port) as server:
        await until(load, lambda shot: shot.subscribed == 2)
        server.publish("BTC.trade")
        shot = await until(load, lambda shot: shot.deliveries == 2)
        assert (shot.unrecovered, shot.told, shot.broken) == (2, 0, 0)
        await asyncio.to_thread(load.stop)


async def test_clients_that_are_cut_at_random_miss_nothing_until_it_is_calm() -> None:
    async with ProtocolServer() as server:
        asked = options(server, 10, resume=True, churn=(0.05, 0.2), retry_longest=0.05)
        async with running(asked) as load:
            while (shot := load.snapshot()).closes.get("cut", 0) < 60:
                server.publish("BTC.trade")
                await asyncio.sleep(0.01)
            load.calm()
            shot = await until(load, lambda shot: shot.subscribed == 10 and not shot.behind)
            assert shot.resumed >= 50
            assert (shot.broken, shot.told, shot.unrecovered) == (0, 0, 0)
            cut = shot.closes["cut"]
            await asyncio.sleep(0.4)
            assert load.snapshot().closes["cut"] == cut
            late = load.snapshot().deliveries
            server.publish("BTC.trade", skip=[next(iter(server.clients))])
            await until(load, lambda shot: shot.deliveries == late + 9)
            assert load.snapshot().behind == 1
