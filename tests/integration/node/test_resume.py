"""Resume: what was missed comes in order, once, and what can't come is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.nats import STREAM, NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.slowclient import (
    BIG,
    FILLING,
    data_of,
    hear,
    hear_until,
    open_slow,
    publish_numbers,
    seqs_of,
    subscribing,
)
from tests.support.sseclient import SseClient
from tests.support.wsclient import WsClient, subscribe


async def test_what_was_missed_comes_before_what_is_new(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 5)
        await publish_numbers(nats_server, "C.d", 6, 6)
        await until(lambda: node.feed.position == 6)
        client = await WsClient.open(node.port)
        resume = {"epoch": node.feed.epoch, "seq": 2, "channels": {"C.d": 6}}
        assert await client.ask(subscribing("A.b", "C.d", resume=resume)) == {
            "type": "subscription_ack",
            "subscribed": ["A.b", "C.d"],
            "count": 2,
            "seq": 6,
            "channels": {"A.b": {"recovered": True}, "C.d": {"recovered": True}},
        }
        got = await hear(client, 5)
        assert got[0] == {"type": "caught_up", "channel": "C.d", "seq": 6}
        assert [(m["seq"], m["prev"]) for m in got[1:4]] == [(3, 2), (4, 3), (5, 4)]
        assert got[4] == {"type": "caught_up", "channel": "A.b", "seq": 6}
        await publish_numbers(nats_server, "A.b", 7, 7)
        assert [(m["seq"], m["prev"]) for m in await hear(client, 1)] == [(7, 5)]
        await client.close()


async def test_one_sequence_for_several_channels_gives_them_in_the_streams_order(
    nats_server: NatsServer,
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        for number in range(1, 10):
            await publish_numbers(nats_server, ["A.b", "C.d", "E.f"][number % 3], number, number)
        await until(lambda: node.feed.position == 9)
        epoch = node.feed.epoch
        client = await WsClient.open(node.port, path=f"/ws?channels=A.b,C.d&epoch={epoch}&seq=2")
        ack = await client.message()
        assert ack["channels"] == {"A.b": {"recovered": True}, "C.d": {"recovered": True}}
        heard = await hear(client, 6)
        assert seqs_of(heard) == [3, 4, 6, 7, 9][: len(seqs_of(heard))]
        assert [m["seq"] for m in data_of(heard)] == sorted(seqs_of(heard))
        await client.close()


async def test_the_url_may_say_when_its_sequence_was_published(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        guest = await WsClient.open(node.port, "A.b")
        await publish_numbers(nats_server, "A.b", 1, 3)
        _, second, _ = await guest.messages(3)
        path = f"/ws?channels=A.b&epoch={node.feed.epoch}&seq=2&ts="
        for ts, recovered in ((second["ts"], True), (second["ts"] + 1, False)):
            client = await WsClient.open(node.port, path=path + str(ts))
            assert (await client.message())["channels"] == {"A.b": {"recovered": recovered}}
            await publish_numbers(nats_server, "A.b", 4, 4)
            heard = await hear(client, 3 if recovered else 1)
            assert seqs_of(heard)[0] == (3 if recovered else 5)
            await client.close()
        await guest.close()


async def test_another_epoch_recovers_nothing(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 3)
        await until(lambda: node.feed.position == 3)
        client = await WsClient.open(node.port)
        for resume in ({"epoch": "other", "seq": 1}, {"epoch": node.feed.epoch, "seq": 1, "ts": 5}):
            ack = await client.ask(subscribing("A.b", resume=resume))
            assert (ack["seq"], ack["channels"]) == (3, {"A.b": {"recovered": False}})
        await publish_numbers(nats_server, "A.b", 4, 4)
        assert [m["seq"] for m in await hear(client, 1)] == [4]
        await client.close()


async def test_what_the_stream_no_longer_has_is_told_as_a_range(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, js_stream_max_msgs=4)
    async with running_node(settings) as node:
        await publish_numbers(nats_server, "A.b", 1, 8)
        await publish_numbers(nats_server, "C.d", 9, 9)
        await until(lambda: node.feed.position == 9)
        client = await WsClient.open(node.port)
        resume = {"epoch": node.feed.epoch, "seq": 2, "channels": {"A.*": 7}}
        ack = await client.ask(subscribing("A.b", "C.d", "A.*", "E.*", resume=resume))
        assert ack["channels"] == {
            "A.b": {"recovered": False, "missing": [3, 5]},
            "C.d": {"recovered": True},
            "A.*": {"recovered": True},
            # Of a pattern nobody knows which channels there were.
            "E.*": {"recovered": False, "missing": [3, 5]},
        }
        heard = await hear(client, 8)
        assert [(m["seq"], m["prev"]) for m in data_of(heard)] == [(6, 5), (7, 6), (8, 7), (9, 0)]
        told = {m["channel"]: (m["seq"], m.get("missing")) for m in heard if m["type"] == "caught_up"}
        assert told == {
            "A.b": (9, [3, 5]),
            "C.d": (9, None),
            "A.*": (9, None),
            "E.*": (9, [3, 5]),
        }
        await client.close()


async def test_who_is_ahead_of_its_node_is_given_nothing_again(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 3)
        await until(lambda: node.feed.position == 3)
        node.feed_reader.pause(True)
        await asyncio.sleep(0.1)
        await publish_numbers(nats_server, "A.b", 4, 7)
        client = await WsClient.open(node.port)
        resume = {"epoch": node.feed.epoch, "seq": 6}
        ack = await client.ask(subscribing("A.b", resume=resume))
        assert (ack["seq"], ack["channels"]) == (3, {"A.b": {"recovered": True}})
        assert await client.message() == {"type": "caught_up", "channel": "A.b", "seq": 6}
        node.feed_reader.pause(False)
        assert [(m["seq"], m["prev"]) for m in await hear(client, 1)] == [(7, 6)]
        await client.close()


async def test_who_is_ahead_of_its_node_keeps_its_place_when_a_loss_is_told(nats_server: NatsServer) -> None:
    """An event's id may not fall: who hopped then would be given again what it has."""
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 3)
        await until(lambda: node.feed.position == 3)
        node.feed_reader.pause(True)
        node._fanout.note_loss(2)
        headers = {"Last_Event_ID": f"{node.feed.epoch}-6"}
        client = await SseClient.open(node.port, "/sse?channels=A.b", **headers)
        heard = [await client.event() for _ in range(4)]
        told = {event.message["type"]: event.id for event in heard if event is not None}
        assert told == {"hello": "", "subscription_ack": "", "position": "", "caught_up": ""}
        await client.close()


async def test_who_is_ahead_of_a_stream_that_never_gets_there_is_told_and_joins(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream was another one, which nothing that it said has shown."""
    monkeypatch.setattr("wsnode.joining._PATIENCE_SECONDS", 0.3)
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 3)
        await until(lambda: node.feed.position == 3)
        client = await WsClient.open(node.port)
        resume = {"epoch": node.feed.epoch, "seq": 900, "channels": {"C.d": 2}}
        await client.send(subscribing("A.b", "C.d", resume=resume))
        heard = await hear(client, 4)
        assert {m["channel"] for m in heard[1:3]} == {"A.b", "C.d"}
        assert heard[3] == {
            "type": "subscription_ack",
            "subscribed": ["A.b"],
            "count": 2,
            "seq": 3,
            "channels": {"A.b": {"recovered": False}},
        }
        await publish_numbers(nats_server, "A.b", 4, 4)
        assert [m["seq"] for m in await hear(client, 1)] == [4]
        await client.close()


async def test_a_live_channel_that_is_resumed_begins_anew(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b", "C.d")
        await publish_numbers(nats_server, "A.b", 1, 4)
        await publish_numbers(nats_server, "C.d", 5, 5)
        assert seqs_of(await hear(client, 5)) == [1, 2, 3, 4, 5]
        await client.send(subscribing("A.b", resume={"epoch": node.feed.epoch, "seq": 2}))
        heard = await hear_until(client, "caught_up")
        assert (heard[0]["count"], seqs_of(heard)) == (2, [3, 4])
        await publish_numbers(nats_server, "C.d", 6, 6)
        await publish_numbers(nats_server, "A.b", 7, 7)
        assert seqs_of(await hear(client, 2)) == [6, 7]
        await client.close()


async def test_claims_are_never_above_what_has_come(nats_server: NatsServer) -> None:
    """While a client replays it gets no positions, and a pong claims no more than it was given."""
    async with running_node(node_settings(nats_server.url, position_interval=1)) as node:
        await publish_numbers(nats_server, "A.b", 1, FILLING, BIG)
        await until(lambda: node.feed.position == FILLING)
        client = await open_slow(node.port)
        await client.send(subscribing("A.b", resume={"epoch": node.feed.epoch, "seq": 0}))
        await asyncio.sleep(0.3)
        await client.send({"type": "heartbeat"})
        guest = await WsClient.open(node.port, "A.b")
        assert (await guest.any_message())["type"] == "position"
        heard = await hear_until(client, "caught_up")
        kinds = [m["type"] for m in heard]
        pong = kinds.index("pong")
        assert heard[pong]["seq"] <= max(seqs_of(heard[:pong]), default=0)
        assert "position" not in kinds
        assert seqs_of(heard) == list(range(1, FILLING + 1))
        assert (await hear_until(client, "position"))[-1] == {"type": "position", "seq": FILLING}
        await client.close()
        await guest.close()


async def test_a_replay_waits_for_its_reader_and_delays_nobody(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, client_buffer_bytes=65_536)
    async with running_node(settings) as node:
        await publish_numbers(nats_server, "A.b", 1, 3 * FILLING, BIG)
        await until(lambda: node.feed.position == 3 * FILLING)
        client = await open_slow(node.port)
        await client.send(subscribing("A.b", resume={"epoch": node.feed.epoch, "seq": 0}))
        await until(lambda: node._links.buffered_bytes > 0)
        guest = await WsClient.open(node.port, "A.b")
        for number in range(3 * FILLING + 1, 3 * FILLING + 31):
            await publish_numbers(nats_server, "A.b", number, number)
            assert (await guest.message())["seq"] == number
            # What one step left, and no more, waits for it: it is paced, not buffered.
            assert node._links.buffered_bytes <= 16_384 + 10_000
        heard = await hear_until(client, 3 * FILLING + 30)
        assert seqs_of(heard) == list(range(1, 3 * FILLING + 31))
        told = [m["type"] for m in heard].index("caught_up")
        assert (heard[told - 1]["seq"], heard[told]["seq"]) == (3 * FILLING, 3 * FILLING)
        assert node.counters.slow_clients == 0
        await client.close()
        await guest.close()


async def test_unsubscribing_amid_a_replay_ends_it_for_these_channels(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        for number in range(1, 2 * FILLING, 2):
            await publish_numbers(nats_server, "A.b", number, number, BIG)
            await publish_numbers(nats_server, "C.d", number + 1, number + 1, BIG)
        await until(lambda: node.feed.position == 2 * FILLING)
        client = await open_slow(node.port)
        await client.send(subscribing("A.b", "C.d", resume={"epoch": node.feed.epoch, "seq": 0}))
        await asyncio.sleep(0.2)
        await client.send({"type": "unsubscribe", "data": {"channels": ["A.b"]}})
        before = await hear_until(client, "unsubscription_ack")
        heard = await hear_until(client, "caught_up")
        assert seqs_of(heard, "A.b") == []
        assert heard[-1]["channel"] == "C.d"
        assert seqs_of(before + heard, "C.d") == list(range(2, 2 * FILLING + 1, 2))
        assert seqs_of(before) == list(range(1, len(seqs_of(before)) + 1))
        await publish_numbers(nats_server, "A.b", 1, 1)
        await publish_numbers(nats_server, "C.d", 2, 2)
        assert seqs_of(await hear(client, 1)) == [2 * FILLING + 2]
        await client.close()


async def test_a_resume_amid_another_gives_both_once(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        for number in range(1, 2 * FILLING, 2):
            await publish_numbers(nats_server, "A.b", number, number, BIG)
            await publish_numbers(nats_server, "C.d", number + 1, number + 1, BIG)
        last = 2 * FILLING
        await until(lambda: node.feed.position == last)
        client = await open_slow(node.port)
        await client.send(subscribing("A.b", resume={"epoch": node.feed.epoch, "seq": 10}))
        await asyncio.sleep(0.2)
        await client.send(subscribing("C.d", resume={"epoch": node.feed.epoch, "seq": 4}))
        await publish_numbers(nats_server, "A.b", 1, 1)
        heard = await hear_until(client, last + 1)
        assert [m["seq"] for m in heard if m["type"] == "caught_up"] == [last, last]
        assert seqs_of(heard, "A.b") == [*range(11, last, 2), last + 1]
        assert seqs_of(heard, "C.d") == list(range(6, last + 1, 2))
        await client.close()


async def test_what_leaves_the_ring_amid_a_replay_is_told_before_what_follows_it(
    nats_server: NatsServer,
) -> None:
    settings = node_settings(nats_server.url, js_stream_max_msgs=2 * FILLING)
    async with running_node(settings) as node:
        await publish_numbers(nats_server, "A.b", 1, 2 * FILLING, BIG)
        await until(lambda: node.feed.position == 2 * FILLING)
        client = await open_slow(node.port)
        ack = await client.ask(subscribing("A.b", resume={"epoch": node.feed.epoch, "seq": 0}))
        assert ack["channels"] == {"A.b": {"recovered": True}}
        await until(lambda: node._links.buffered_bytes > 0)
        await publish_numbers(nats_server, "C.d", 1, 2 * FILLING - 10)
        await until(lambda: node.feed.position == 4 * FILLING - 10)
        heard = await hear_until(client, "caught_up")
        had = seqs_of(heard)
        missing = heard[-1]["missing"]
        gone = set(range(1, 2 * FILLING + 1)) - set(had)
        assert gone
        assert missing[0] <= min(gone)
        assert max(gone) <= missing[1]
        after = next(i for i, m in enumerate(heard) if m.get("seq", 0) > max(gone) and "data" in m)
        assert any(m["type"] == "position" and m.get("prev", 0) >= max(gone) for m in heard[:after])
        await client.close()


async def test_a_stream_made_again_amid_a_replay_ends_it(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 2 * FILLING, BIG)
        await until(lambda: node.feed.position == 2 * FILLING)
        epoch = node.feed.epoch
        client = await open_slow(node.port)
        await client.send(subscribing("A.b", resume={"epoch": epoch, "seq": 0}))
        await until(lambda: node._links.buffered_bytes > 0)
        async with nats_server.client() as broker:
            await broker.jetstream().delete_stream(STREAM)
        await nats_server.create_stream()
        await until(lambda: node.feed.epoch != epoch and node.feed.connected)
        await publish_numbers(nats_server, "A.b", 1, 2)
        heard = await hear_until(client, "hello")
        assert seqs_of(heard) == list(range(1, len(seqs_of(heard)) + 1))
        assert heard[-1]["epoch"] == node.feed.epoch
        heard = [m for m in await hear_until(client, 2) if m["type"] not in ("feed", "position")]
        assert heard[0] == {"type": "subscription_ack", "subscribed": ["A.b"], "count": 1, "seq": 0}
        assert [m["seq"] for m in heard[1:]] == [1, 2]
        await client.close()


async def test_messages_deleted_before_they_could_be_read_are_missing_to_a_resume(
    nats_server: NatsServer,
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 2)
        await until(lambda: node.feed.position == 2)
        node.feed_reader.pause(True)
        await asyncio.sleep(0.1)
        await publish_numbers(nats_server, "A.b", 3, 5)
        async with nats_server.client() as broker:
            await broker.jetstream()._jsm.delete_msg(STREAM, 4)
        node.feed_reader.pause(False)
        await until(lambda: node.feed.position == 5)
        client = await WsClient.open(node.port)
        await client.send(subscribing("A.b", "Q.q", resume={"epoch": node.feed.epoch, "seq": 1}))
        heard = await hear_until(client, "subscription_ack")
        # The hole may have been of any channel.
        told = {"recovered": False, "missing": [2, 4]}
        assert heard[-1]["channels"] == {"A.b": told, "Q.q": told}
        assert [(m["seq"], m["prev"]) for m in data_of(await hear(client, 5))] == [(2, 1), (3, 2), (5, 4)]
        await client.close()


async def test_what_the_line_let_go_is_still_there_for_who_resumes(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, worker_queue_size=3, max_broadcast_rate=0.01)
    async with running_node(settings) as node:
        guest = await WsClient.open(node.port, "A.b")
        await publish_numbers(nats_server, "A.b", 1, 20)
        await until(lambda: node.feed.position == 20)
        assert node.counters.dropped_broadcasts > 10
        client = await WsClient.open(node.port)
        ack = await client.ask(subscribing("A.b", resume={"epoch": node.feed.epoch, "seq": 2}))
        assert ack["channels"] == {"A.b": {"recovered": True}}
        heard = [m for m in await hear_until(client, "caught_up") if m["type"] != "position"]
        assert seqs_of(heard) == list(range(3, ack["seq"] + 1))
        await client.close()
        await guest.close()


async def test_a_client_hops_between_nodes_that_read_one_stream(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """The same messages under the same sequences everywhere: each once, and the same `prev`."""
    a, b = (node_settings(nats_server.url, node_name=name) for name in ("node-a", "node-b"))
    async with running_node(a) as one, running_node(b) as other:
        assert one.feed.epoch == other.feed.epoch
        got: list[tuple[int, int]] = []
        number = last = 0
        for turn in range(12):
            node = (one, other)[turn % 2]
            client = await WsClient.open(node.port)
            await client.send(subscribing("A.b", "A.*", resume={"epoch": node.feed.epoch, "seq": last}))
            for _ in range(4):
                number += 1
                await publish_numbers(nats_server, ("A.b", "A.c", "X.y")[number % 3], number, number)
            await until(lambda node=node, number=number: node.feed.position == number)  # type: ignore[misc]
            await client.send({"type": "heartbeat"})
            heard = await hear_until(client, "pong")
            if turn % 3:  # gone amid what came
                heard = heard[: len(heard) // 2]
            got += [(m["seq"], m["prev"]) for m in data_of(heard)]
            last = max([last, *seqs_of(heard)])
            await client.close()
        for node in (one, other):
            client = await WsClient.open(node.port)
            await client.send(subscribing("A.b", "A.*", resume={"epoch": node.feed.epoch, "seq": last}))
            heard = await hear_until(client, "caught_up") + await hear_until(client, "caught_up")
            rest = data_of(heard)
            await client.close()
        got += [(m["seq"], m["prev"]) for m in rest]
        mine = [n for n in range(1, number + 1) if n % 3 != 2]
        assert sorted({seq for seq, _ in got}) == mine[: len({seq for seq, _ in got})]
        assert [seq for seq, _ in got] == mine[: len(got)]


async def test_a_plain_subscription_of_a_new_name_amid_a_replay_begins_where_it_is_said(
    nats_server: NatsServer,
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 2 * FILLING, BIG)
        await until(lambda: node.feed.position == 2 * FILLING)
        client = await open_slow(node.port)
        await client.send(subscribing("A.b", resume={"epoch": node.feed.epoch, "seq": 0}))
        await until(lambda: node._links.buffered_bytes > 0)
        await publish_numbers(nats_server, "C.d", 1, 1)
        await until(lambda: node.feed.position == 2 * FILLING + 1)
        await client.send(subscribe("C.d"))
        await until(lambda: node.counters.client_messages == 2)
        await publish_numbers(nats_server, "C.d", 2, 2)
        heard = await hear_until(client, "subscription_ack")
        heard += await hear_until(client, "subscription_ack")
        assert heard[-1]["seq"] == 2 * FILLING + 1
        heard += await hear_until(client, 2 * FILLING + 2)
        assert seqs_of(heard) == [*range(1, 2 * FILLING + 1), 2 * FILLING + 2]
        await client.close()
