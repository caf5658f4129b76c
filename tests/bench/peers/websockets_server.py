"""A baseline: the `websockets` library's own asyncio server and its `broadcast`, fed from NATS.

Usage: websockets_server.py PORT NATS_PORT [CERTIFICATE KEY]
"""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import sys
import time
from collections.abc import Sequence

import nats
import uvloop
from nats.aio.msg import Msg
from websockets.asyncio.server import ServerConnection, broadcast, serve

_SUBJECT = "odin.token."


async def main(port: int, nats_port: int, pair: Sequence[str] = ()) -> None:
    """Serves until it is killed; over TLS where a certificate and its key are given."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    channels: dict[str, set[ServerConnection]] = {}
    last: dict[str, int] = {}
    seq = 0

    async def client(connection: ServerConnection) -> None:
        names: list[str] = []
        try:
            async for text in connection:
                message = json.loads(text)
                if message.get("type") == "subscribe":
                    for name in message["data"]["channels"]:
                        channels.setdefault(name, set()).add(connection)
                        names.append(name)
                    await connection.send('{"type":"subscription_ack"}')
        finally:
            for name in names:
                channels[name].discard(connection)

    async def deliver(message: Msg) -> None:
        nonlocal seq
        seq += 1
        name = message.subject[len(_SUBJECT) :]
        text = (
            f'{{"seq":{seq},"ts":{time.time_ns() // 1_000_000},"type":"price:update","channel":"{name}",'
            f'"prev":{last.get(name, 0)},"data":{message.data.decode()}}}'
        )
        last[name] = seq
        broadcast(channels.get(name, ()), text)

    feed = await nats.connect(f"nats://127.0.0.1:{nats_port}")
    await feed.subscribe(f"{_SUBJECT}>", cb=deliver, pending_msgs_limit=-1, pending_bytes_limit=-1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if pair else None
    if context is not None:
        context.load_cert_chain(*pair)
    async with serve(client, "127.0.0.1", port, backlog=4096, compression=None, open_timeout=30, ssl=context):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
