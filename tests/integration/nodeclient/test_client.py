"""The asynchronous client and `wsnode tail` against a server that speaks the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from tests.support.protocol_server import ProtocolServer
from wsnode.client import (
    CaughtUp,
    Client,
    ClientError,
    Connected,
    Disconnected,
    Event,
    Message,
    Missed,
    Subscribed,
    Told,
    Why,
)

QUICK = (0.01, 0.05)
"""Seconds before a reconnect, where a test has no point in waiting."""


@contextlib.asynccontextmanager
async def following(client: Client) -> AsyncIterator[asyncio.Queue[Message]]:
    """The client's messages, in a queue."""
    queue: asyncio.Queue[Message] = asyncio.Queue()

    async def follow() -> None:
        async for message in client:
            queue.put_nowait(message)

    task = asyncio.create_task(follow())
    try:
        yield queue
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def subscribed(server: ProtocolServer, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while len(server.clients) < count:
            await asyncio.sleep(0.01)


async def test_messages_come_as_they_were_published() -> None:
    events: list[Event] = []
    async with ProtocolServer() as server:
        client = Client(server.url, ["BTC.trade", "ETH.trade"], on_event=events.append)
        async with following(client) as queue:
            await subscribed(server)
            server.publish("BTC.trade", {"price": 2})
            server.position()
            server.publish("ETH.trade", [1])
            first, second = [await asyncio.wait_for(queue.get(), 5) for _ in range(2)]
    assert (first.channel, first.seq, first.prev, first.data, first.missed) == (
        "BTC.trade",
        101,
        100,
        {"price": 2},
        None,
    )
    assert (second.channel, second.seq, second.data) == ("ETH.trade", 102, [1])
    assert events == [
        Connected(server.url, "node-a", "e1"),
        Subscribed(("BTC.trade", "ETH.trade"), 100, False),
    ]
    assert client.point == {"epoch": "e1", "seq": 102, "ts": second.ts, "channels": {"BTC.trade": 101}}


async def test_a_loss_is_told_with_the_next_message() -> None:
    async with ProtocolServer() as server, following(Client(server.url, ["BTC.trade"])) as queue:
        await subscribed(server)
        server.publish("BTC.trade", skip=list(server.clients))
        server.publish("BTC.trade")
        message = await asyncio.wait_for(queue.get(), 5)
    assert message.missed == Missed("BTC.trade", 101, 101, Why.LOST)


async def test_after_a_drain_it_comes_back_when_told_and_goes_on_where_it_was() -> None:
    events: list[Event] = []
    async with ProtocolServer() as server:
        client = Client(server.url, ["BTC.trade", "ETH.trade"], on_event=events.append)
        async with following(client) as queue:
            await subscribed(server)
            server.publish("BTC.trade")
            server.position()
            await queue.get()
            await server.close_all(1012, "reconnect;after=300")
            server.publish("ETH.trade")
            server.publish("BTC.trade")
            await subscribed(server)
            server.publish("BTC.trade")
            messages = [await asyncio.wait_for(queue.get(), 5) for _ in range(3)]
    assert [(m.channel, m.seq, m.missed) for m in messages] == [
        ("ETH.trade", 102, None),
        ("BTC.trade", 103, None),
        ("BTC.trade", 104, None),
    ]
    assert events[2:] == [
        Disconnected("closed with 1012 (reconnect;after=300)", 1012, 0.3),
        Connected(server.url, "node-a", "e1"),
        Subscribed(("BTC.trade", "ETH.trade"), 103, True),
        CaughtUp("BTC.trade", 103),
        CaughtUp("ETH.trade", 103),
    ]
    ts = json.loads(server.history[0][2])["ts"]
    resume = {"epoch": "e1", "seq": 101, "ts": ts, "channels": {}}
    assert server.received[-1]["data"] == {"channels": ["BTC.trade", "ETH.trade"], "resume": resume}


async def test_what_can_no_longer_be_had_is_told_before_anything_newer() -> None:
    seen: list[Event | int] = []
    async with ProtocolServer() as server:
        client = Client(server.url, ["BTC.trade"], retry=QUICK, on_event=seen.append)
        async with following(client) as queue:
            await subscribed(server)
            server.abort_all()
            for _ in range(5):
                server.publish("BTC.trade")
            server.forgotten = 103
            await subscribed(server)
            for _ in range(2):
                seen.append((await asyncio.wait_for(queue.get(), 5)).seq)
            server.position(lost=109)
            server.seq = 110
            server.publish("BTC.trade")
            seen.append((await asyncio.wait_for(queue.get(), 5)).seq)
    told = [each for each in seen if isinstance(each, (Missed, int))]
    assert told == [
        Missed("BTC.trade", 101, 103, Why.GONE),
        104,
        105,
        Missed("BTC.trade", 106, 109, Why.NODE),
        111,
    ]


async def test_a_server_that_does_not_resume_costs_what_was_published_meanwhile() -> None:
    events: list[Event] = []
    async with (
        ProtocolServer(resumes=False) as server,
        following(Client(server.url, ["BTC.trade"], retry=QUICK, on_event=events.append)) as queue,
    ):
        await subscribed(server)
        server.abort_all()
        server.publish("BTC.trade")
        await subscribed(server)
        server.publish("BTC.trade")
        assert (await asyncio.wait_for(queue.get(), 5)).missed is None
    assert Missed("BTC.trade", 101, 101, Why.UNRECOVERED) in events


async def test_it_hops_from_node_to_node() -> None:
    async with ProtocolServer() as one, ProtocolServer("node-b") as other:
        client = Client([one.url, other.url], ["BTC.trade"], retry=QUICK)
        async with following(client) as queue:
            await subscribed(one)
            one.publish("BTC.trade")
            assert (await asyncio.wait_for(queue.get(), 5)).seq == 101
            other.publish("BTC.trade")
            other.publish("BTC.trade")
            client.hop()
            await subscribed(other)
            assert (await asyncio.wait_for(queue.get(), 5)).seq == 102
            client.hop()
            await subscribed(one)
        assert one.received[-1]["data"]["resume"]["seq"] == 102


async def test_a_node_whose_stream_is_another_one_is_told() -> None:
    events: list[Event] = []
    async with ProtocolServer(seq=5000) as one, ProtocolServer("node-b", "e2", seq=7) as other:
        client = Client([one.url, other.url], ["BTC.trade"], last=True, retry=QUICK, on_event=events.append)
        async with following(client) as queue:
            await subscribed(one)
            client.hop()
            await subscribed(other)
            other.publish("BTC.trade")
            assert (await asyncio.wait_for(queue.get(), 5)).seq == 8
    assert Missed("BTC.trade", 0, 0, Why.OTHER_STREAM) in events
    assert other.received[-1]["data"] == {"channels": ["BTC.trade"], "last": True}


async def test_a_node_that_has_no_stream_yet_is_left_alone() -> None:
    events: list[Event] = []
    async with ProtocolServer() as one, ProtocolServer("new", "") as new:
        client = Client([one.url, new.url], ["BTC.trade"], retry=QUICK, on_event=events.append)
        async with following(client):
            await subscribed(one)
            client.hop()
            async with asyncio.timeout(10):
                while len(one.received) < 2:
                    await asyncio.sleep(0.01)
        assert new.received == []
        assert one.received[-1]["data"]["resume"] == {"epoch": "e1", "seq": 100, "channels": {}}
    assert not [event for event in events if isinstance(event, Missed)]


async def test_silence_ends_a_connection_and_a_sign_of_life_keeps_it() -> None:
    events: list[Event] = []
    async with ProtocolServer() as server:
        client = Client(server.url, ["BTC.trade"], silence=0.4, retry=QUICK, on_event=events.append)
        async with following(client):
            await subscribed(server)
            await asyncio.sleep(1.2)
            assert not [event for event in events if isinstance(event, Disconnected)]
            assert {"type": "heartbeat"} in server.received
            server.answers = False
            async with asyncio.timeout(10):
                while not any(isinstance(event, Disconnected) for event in events):
                    await asyncio.sleep(0.01)
    gone = next(event for event in events if isinstance(event, Disconnected))
    assert gone.why == "silent for 0.4 s"


async def test_a_user_who_takes_his_time_is_no_silence() -> None:
    events: list[Event] = []
    async with ProtocolServer() as server:
        client = Client(server.url, ["BTC.trade"], silence=0.3, on_event=events.append)

        async def slowly() -> list[int]:
            received = []
            async with contextlib.aclosing(aiter(client)) as messages:
                async for message in messages:
                    received.append(message.seq)
                    await asyncio.sleep(0.8)
                    if len(received) == 2:
                        break
            return received

        task = asyncio.create_task(slowly())
        await subscribed(server)
        server.publish("BTC.trade")
        server.publish("BTC.trade")
        assert await asyncio.wait_for(task, 10) == [101, 102]
    assert not [event for event in events if isinstance(event, Disconnected)]


async def test_a_subscribe_that_is_not_acknowledged_is_tried_elsewhere() -> None:
    events: list[Event] = []
    async with ProtocolServer(acknowledge=False) as deaf, ProtocolServer("node-b") as other:
        client = Client(
            [deaf.url, other.url], ["BTC.trade"], open_timeout=0.3, retry=QUICK, on_event=events.append
        )
        async with following(client):
            await subscribed(other)
    assert [event.why for event in events if isinstance(event, Disconnected)] == ["no acknowledgement"]


async def test_options_go_with_the_subscribe_and_skips_are_told() -> None:
    async with ProtocolServer() as server:
        client = Client(server.url, ["BTC.*"], conflate=True, delta=True)
        async with following(client) as queue:
            await subscribed(server)
            options = {"channels": ["BTC.*"], "conflate": True, "delta": True}
            assert server.received[-1]["data"] == options
            head = '{"seq":107,"ts":5,"type":"a:b","channel":"BTC.trade","prev":100,"skipped":6,'
            server.send("BTC.*", head + '"data":{"n":1}}')
            message = await asyncio.wait_for(queue.get(), 5)
    assert (message.skipped, message.data, message.type, message.ts) == (6, {"n": 1}, "a:b", 5)
    assert message.missed is None


def patch(seq: int, prev: int, delta: str) -> str:
    return f'{{"seq":{seq},"ts":5,"type":"a:b","channel":"A.x","prev":{prev},"delta":{delta}}}'


async def test_patches_become_full_messages_whatever_the_user_does_to_them() -> None:
    async with ProtocolServer() as server, following(Client(server.url, ["A.x"], delta=True)) as queue:
        await subscribed(server)
        server.publish("A.x", {"n": 1, "f": 1.0, "deep": {"list": [1, True], "gone": "x"}})
        server.send("A.x", patch(102, 101, '{"n":true,"deep":{"gone":null}}'))
        server.send("A.x", patch(103, 102, '{"f":1}'))
        data = []
        for _ in range(3):
            message = await asyncio.wait_for(queue.get(), 5)
            data.append(json.dumps(message.data))
            message.data.clear()
    assert data[1:] == [
        '{"n": true, "f": 1.0, "deep": {"list": [1, true]}}',
        '{"n": true, "f": 1, "deep": {"list": [1, true]}}',
    ]


async def test_a_patch_without_its_base_is_asked_for_in_full() -> None:
    async with ProtocolServer() as server, following(Client(server.url, ["A.x"], delta=True)) as queue:
        await subscribed(server)
        server.publish("A.x", {"n": 1})
        assert (await asyncio.wait_for(queue.get(), 5)).seq == 101
        server.make("A.x", {"n": 2})
        server.make("A.x", {"n": 3})
        server.send("A.x", patch(103, 102, '{"n":3}'))
        messages = [await asyncio.wait_for(queue.get(), 5) for _ in range(2)]
    assert [(m.seq, m.data, m.missed) for m in messages] == [(102, {"n": 2}, None), (103, {"n": 3}, None)]
    assert len(server.received) == 2


async def test_a_later_client_goes_on_from_the_point_of_an_earlier_one() -> None:
    async with ProtocolServer() as server:
        first = Client(server.url, ["A.x", "B.x"])
        async with following(first) as queue:
            await subscribed(server)
            server.publish("A.x")
            await asyncio.wait_for(queue.get(), 5)
        server.publish("B.x")
        server.publish("A.x")
        point = json.loads(json.dumps(first.point))
        async with following(Client(server.url, ["A.x", "B.x"], resume=point)) as queue:
            messages = [await asyncio.wait_for(queue.get(), 5) for _ in range(2)]
    assert [(m.channel, m.seq, m.missed) for m in messages] == [("B.x", 102, None), ("A.x", 103, None)]


async def test_what_a_server_refuses_for_good_ends_the_client() -> None:
    events: list[Event] = []
    async with ProtocolServer(acknowledge=False) as server:

        async def follow() -> None:
            async for _ in Client(server.url, ["BTC.trade"], on_event=events.append):
                pass

        task = asyncio.create_task(follow())
        async with asyncio.timeout(10):
            while not server.received:
                await asyncio.sleep(0.01)
        error = {
            "type": "error",
            "code": "TOO_MANY_CHANNELS",
            "message": "a client may have 0 channels at once",
        }
        server.say(json.dumps(error))
        with pytest.raises(ClientError, match="refuses: TOO_MANY_CHANNELS: a client may have 0 channels"):
            await asyncio.wait_for(task, 5)
    assert events[-1] == Told("TOO_MANY_CHANNELS", "a client may have 0 channels at once")


async def test_a_refusal_for_now_is_retried_and_one_for_good_is_not() -> None:
    events: list[Event] = []
    async with ProtocolServer() as server:
        server.refuse = (503, "0")
        client = Client(server.url, ["BTC.trade"], on_event=events.append)
        async with following(client) as queue:
            async with asyncio.timeout(10):
                while not events:
                    await asyncio.sleep(0.01)
            server.refuse = None
            await subscribed(server)
            server.publish("BTC.trade")
            await asyncio.wait_for(queue.get(), 5)
        assert isinstance(events[0], Disconnected)
        assert events[0].why == "HTTP 503"
        server.refuse = (404, None)
        with pytest.raises(ClientError, match="answers HTTP 404"):
            async for _ in client:
                pass


async def test_without_reconnect_it_ends_with_the_connection() -> None:
    async with ProtocolServer() as server:
        received: list[int] = []

        async def follow() -> None:
            async for message in Client(server.url, ["BTC.trade"], reconnect=False):
                received.append(message.seq)

        task = asyncio.create_task(follow())
        await subscribed(server)
        server.publish("BTC.trade")
        await server.close_all(1012, "reconnect;after=1")
        await asyncio.wait_for(task, 5)
        assert received == [101]


async def wsnode(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "wsnode",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_tail_prints_lines_as_they_came_and_gaps_apart() -> None:
    async with ProtocolServer() as server:
        process = await wsnode("tail", server.url, "BTC.trade", "-o", "json", "--count", "2")
        await subscribed(server)
        first = server.publish("BTC.trade")
        server.publish("BTC.trade", skip=list(server.clients))
        third = server.publish("BTC.trade")
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert out.decode().splitlines() == [first, third]
    assert "-- gap on BTC.trade: missed something of #102 to #102: it was not delivered" in err.decode()
    assert "-- to go on from here: --resume e1-103" in err.decode()
    assert process.returncode == 0


async def test_tail_goes_on_where_another_ended_and_shows_patches_in_full() -> None:
    async with ProtocolServer() as server:
        first = server.publish("BTC.trade", {"n": 1, "kept": [1]})
        arguments = ("BTC.trade", "--resume", "e1-100", "--delta", "--conflate", "--last")
        process = await wsnode("tail", server.url, *arguments, "-o", "json", "-n", "2")
        await subscribed(server)
        server.send("BTC.trade", patch(102, 101, '{"n":2}').replace("A.x", "BTC.trade"))
        out, err = await asyncio.wait_for(process.communicate(), 20)
    second = '{"seq":102,"ts":5,"type":"a:b","channel":"BTC.trade","prev":101,"data":{"n":2,"kept":[1]}}'
    assert out.decode().splitlines() == [first, second]
    assert "-- resumed BTC.trade; live after #101" in err.decode()
    assert server.received[-1]["data"] == {
        "channels": ["BTC.trade"],
        "resume": {"epoch": "e1", "seq": 100, "channels": {}},
        "conflate": True,
        "delta": True,
    }


async def test_tail_for_people_and_for_a_time() -> None:
    async with ProtocolServer() as server:
        process = await wsnode("tail", server.url, "BTC.trade", "--duration", "1s")
        await subscribed(server)
        server.publish("BTC.trade", {"price": 7})
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert out.decode().rstrip().endswith('BTC.trade #101 {"price":7}')
    assert "-- connected to node-a (epoch e1)" in err.decode()
    assert process.returncode == 0


async def test_load_reports_as_json_and_fails_when_something_was_lost() -> None:
    async with ProtocolServer() as server:
        process = await wsnode("load", server.url, "-c", "3", "--check", "--duration", "1", "-o", "json")
        await subscribed(server, 3)
        server.publish("BTC.trade", skip=[next(iter(server.clients))])
        server.publish("BTC.trade")
        out, _ = await asyncio.wait_for(process.communicate(), 30)
    shot = json.loads(out)
    assert (shot["deliveries"], shot["lost"], shot["messages"]) == (5, 1, 2)
    assert process.returncode == 1


EITHER = "expected ws://HOST[:PORT]/PATH or wss://HOST[:PORT]/PATH"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["load", "http://x"], f"wsnode load: URL 'http://x': {EITHER}"),
        (["load", "ws://x/", "--rate", "0"], "wsnode load: rate 0: must be between 0.1 and 100000"),
        (
            ["load", "ws://x/", "--mark", "many"],
            "wsnode load: mark 'many': expected whole numbers, as 8000,8001",
        ),
        (["load", "ws://x/", "-o", "xml"], "wsnode load: output 'xml': must be table or json"),
        (["tail", "x", "A.b"], f"wsnode tail: URL 'x': {EITHER}"),
        (["tail", "ws://x:port/", "A.b"], f"wsnode tail: URL 'ws://x:port/': {EITHER}"),
        (
            ["tail", "ws://x/", "A.*.b"],
            "wsnode tail: channel 'A.*.b': expected SYMBOL.EVENT without spaces or quotes, "
            "or SYMBOL.*, *.EVENT, *",
        ),
        (["tail", "ws://x/", "A.b", "--resume", "5"], "wsnode tail: resume '5': expected EPOCH-SEQ"),
        (
            ["load", "ws://x/", "--channels", "A.*"],
            "wsnode load: channel 'A.*': expected SYMBOL.EVENT, without spaces, quotes or wildcards",
        ),
    ],
)
async def test_bad_input_is_one_line_and_exit_2(arguments: list[str], line: str) -> None:
    process = await wsnode(*arguments)
    out, err = await process.communicate()
    assert (process.returncode, out.decode(), err.decode()) == (2, "", line + "\n")


def test_the_command_says_by_its_exit_code_that_nobody_was_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}/ws"  # bound and not listening: refused
        argv = [sys.executable, "-m", "wsnode", "tail", url, "A.b", "--no-reconnect"]
        done = subprocess.run(argv, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"not coming back" in done.stderr
