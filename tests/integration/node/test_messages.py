"""From NATS to a client's socket: what is promised of the messages themselves."""

from __future__ import annotations

import asyncio
import time

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    WsClient,
    client_frame,
    request,
    subscribe,
    text_frame,
)


async def test_a_message_reaches_its_subscribers_with_its_place_in_the_stream(
    nats_server: NatsServer,
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port)
        assert client.hello == {
            "type": "hello",
            "node": "node-a",
            "epoch": node.feed.epoch,
            "head": 0,
            "oldest": 1,
        }
        assert await client.ask(subscribe("BTC.trade", "ETH.trade", "BTC.trade")) == {
            "type": "subscription_ack",
            "subscribed": ["BTC.trade", "ETH.trade"],
            "count": 2,
            "seq": 0,
        }
        await nats_server.publish(
            ("BTC.trade", b'{"price": 1.50}'), ("DOGE.trade", b"1"), ("ETH.trade", b"[1, 2]")
        )
        await nats_server.publish(("BTC.trade", b'"x"'), headers={"Ws-Type": "trade:done"})
        got = await client.messages(3)
        for message in got:
            assert abs(message.pop("ts") - time.time() * 1000) < 60_000
        assert got == [
            {"seq": 1, "type": "price:update", "channel": "BTC.trade", "prev": 0, "data": {"price": 1.5}},
            {"seq": 3, "type": "price:update", "channel": "ETH.trade", "prev": 0, "data": [1, 2]},
            {"seq": 4, "type": "trade:done", "channel": "BTC.trade", "prev": 1, "data": "x"},
        ]
        assert node.counters.messages_in == 4
        assert node.counters.messages_out == 3
        await client.close()
        await until(lambda: node.connections == 0)


async def test_all_subscribers_get_the_same_bytes_and_the_publishers_own(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        clients = [await WsClient.open(node.port, "A.b") for _ in range(3)]
        payload = b'{"b":1,  "a": 1.10, "\xc3\xa4": "\\u00e4"}'
        await nats_server.publish(("A.b", payload))
        frames = [await client.frame() for client in clients]
        assert frames[0] == frames[1] == frames[2]
        assert frames[0][1].endswith(b'"prev":0,"data":' + payload + b"}")
        for client in clients:
            await client.close()


async def test_unsubscribed_is_unsubscribed(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b", "C.d")
        assert await client.ask({"type": "unsubscribe", "data": {"channels": ["A.b", "X.y"]}}) == {
            "type": "unsubscription_ack",
            "unsubscribed": ["A.b", "X.y"],
            "count": 1,
        }
        await nats_server.publish(("A.b", b"1"), ("C.d", b"2"))
        assert (await client.message())["data"] == 2
        await client.close()


async def test_a_subscribe_in_the_handshakes_segment_or_url_counts(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.connect(node.port, request(node.port) + text_frame(subscribe("A.b")))
        assert (await client.response())[0] == 101
        assert [m["type"] for m in await client.messages(2)] == ["hello", "subscription_ack"]
        other = await WsClient.connect(node.port, request(node.port, "/ws?channels=A.b,C.d"))
        assert (await other.response())[0] == 101
        hello, ack = await other.messages(2)
        assert (hello["type"], ack["subscribed"]) == ("hello", ["A.b", "C.d"])
        await nats_server.publish(("A.b", b"1"))
        assert (await client.message())["data"] == (await other.message())["data"] == 1
        await client.close()
        await other.close()


async def test_frames_cut_anywhere_and_control_frames_between_fragments(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port)
        data = text_frame(subscribe("A.b"))
        for index in range(len(data)):
            await client.send_bytes(data[index : index + 1])
            await asyncio.sleep(0)
        assert (await client.message())["type"] == "subscription_ack"
        await client.send_bytes(
            client_frame(TEXT, b'{"type":"heart', fin=False)
            + client_frame(PING, b"are you there")
            + client_frame(0, b'beat"}')
        )
        got = dict([await client.frame(), await client.frame()])
        assert got[PONG] == b"are you there"
        assert got[TEXT].startswith(b'{"type":"pong"')
        await client.close()


async def test_what_a_client_may_not_say_is_answered_and_forgiven(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_channels=3)) as node:
        client = await WsClient.open(node.port)
        cases = {
            b"no json": "INVALID_JSON",
            b"": "INVALID_JSON",
            b"null": "INVALID_MESSAGE",
            b"[1,2,3]": "INVALID_MESSAGE",
            b'{"type":{"a":1}}': "INVALID_MESSAGE",
            b"{}": "INVALID_MESSAGE",
            b'{"type":"shout"}': "UNKNOWN_TYPE",
            b'{"type":"subscribe"}': "INVALID_MESSAGE",
            b'{"type":"subscribe","data":{"channels":"A.b"}}': "INVALID_MESSAGE",
            b'{"type":"subscribe","data":{"channels":[1]}}': "INVALID_MESSAGE",
            b'{"type":"subscribe","data":{"channels":["a b"]}}': "INVALID_CHANNEL",
            b'{"type":"subscribe","data":{"channels":["a\\u0007.b"]}}': "INVALID_CHANNEL",
            b'{"type":"subscribe","data":{"channels":["a.>"]}}': "INVALID_CHANNEL",
            b'{"type":"subscribe","data":{"channels":["a.*b"]}}': "INVALID_CHANNEL",
            b'{"type":"subscribe","data":{"channels":[""]}}': "INVALID_CHANNEL",
            b'{"type":"subscribe","data":{"channels":["a.b","c.d","e.f","g.h"]}}': "TOO_MANY_CHANNELS",
            b'{"type":"subscribe","data":{"channels":["a.b"],"resume":{"seq":-1}}}': "INVALID_RESUME",
        }
        for payload, code in cases.items():
            await client.send_bytes(client_frame(TEXT, payload))
            answer = await client.message()
            assert (answer["type"], answer["code"]) == ("error", code), (payload, answer)
            assert answer["message"]
        await client.send_bytes(client_frame(BINARY, b"\x00\x01"))
        assert (await client.message())["code"] == "BINARY_NOT_SUPPORTED"
        assert (await client.ask({"type": "heartbeat"}))["type"] == "pong"
        assert node.counters.client_errors["INVALID_CHANNEL"] == 5
        await client.close()


async def test_breaking_rfc_6455_ends_the_connection_with_the_right_code(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_message_bytes=1024)) as node:
        cases = [
            (client_frame(TEXT, b"x" * 1025), 1009),
            (client_frame(TEXT, b"x" * 1000, fin=False) + client_frame(0, b"y" * 25), 1009),
            (client_frame(TEXT, b"\xff\xfe"), 1007),
            (client_frame(TEXT, b"\xc3", fin=False) + client_frame(0, b"\x28"), 1007),
            (client_frame(TEXT, b"{}", mask=False), 1002),
            (client_frame(TEXT, b"{}", bits=0x40), 1002),
            (client_frame(3, b""), 1002),
            (client_frame(0, b""), 1002),
            (client_frame(TEXT, b"", fin=False) + client_frame(TEXT, b""), 1002),
            (client_frame(PING, b"", fin=False), 1002),
            (client_frame(PING, b"x" * 126), 1002),
            (client_frame(CLOSE, b"\x03"), 1002),
            (client_frame(CLOSE, b"\x03\xed"), 1002),
            (client_frame(CLOSE, b"\x03\xe8\xff"), 1007),
        ]
        for data, code in cases:
            client = await WsClient.open(node.port)
            await client.send_bytes(data)
            assert (await client.closed()).code == code, data
            await client.close()
        assert node.counters.connections_closed["protocol"] == len(cases)
        await until(lambda: node.connections == 0)


async def test_a_clients_goodbye_is_answered_with_its_code(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port)
        await client.send_bytes(client_frame(CLOSE, b"\x0f\xa0bye"))
        assert await client.frame() == (CLOSE, b"\x0f\xa0")
        await client.close()
        await until(lambda: node.counters.connections_closed["client"] == 1)


async def test_more_than_the_burst_is_refused_and_then_allowed_again(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, client_rate_burst=5, client_rate_per_second=20)
    async with running_node(settings) as node:
        client = await WsClient.open(node.port)
        await client.send_bytes(text_frame({"type": "heartbeat"}) * 8)
        answers = await client.messages(8)
        assert [a["type"] for a in answers] == ["pong"] * 5 + ["error"] * 3
        assert {a["code"] for a in answers[5:]} == {"RATE_LIMIT_EXCEEDED"}
        await asyncio.sleep(0.06)
        assert (await client.ask({"type": "heartbeat"}))["type"] == "pong"
        assert node.counters.rate_limited == 3
        await client.close()


async def test_bad_payloads_are_counted_not_sent_and_shown_by_prev(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_message_bytes=1024)) as node:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(
            ("A.b", b"1"),
            ("A.b", b"{broken"),
            ("A.b", b""),
            ("A.b", b'"' + b"x" * 1100 + b'"'),
            ("A.b", b"2"),
        )
        got = await client.messages(2)
        assert [(m["seq"], m["prev"]) for m in got] == [(1, 0), (5, 4)]
        assert node.counters.bad_payloads == {"json": 2, "size": 1}
        await client.close()


async def test_a_message_of_the_brokers_largest_size_does_not_stop_the_feed(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(("A.b", b'"' + b"x" * 1_048_000 + b'"'), ("A.b", b"2"))
        assert (await client.message())["seq"] == 2
        await client.close()


async def test_positions_come_in_order_with_the_data(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, position_interval=1)) as node:
        client = await WsClient.open(node.port, "A.b")
        quiet = await WsClient.open(node.port, "C.d")
        await nats_server.publish(("A.b", b"1"))
        seen = 0
        while True:
            message = await client.any_message()
            if message["type"] == "position" and message["seq"]:
                assert message == {"type": "position", "seq": seen}
                break
            seen = message.get("seq", seen)
        while (await quiet.any_message()) != {"type": "position", "seq": 1}:
            pass
        await client.close()
        await quiet.close()
