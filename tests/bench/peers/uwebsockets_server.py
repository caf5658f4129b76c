"""A baseline: uWebSockets (C++) through socketify, with its native publish. Usage: uwebsockets_server.py PORT

It runs in a virtual environment of its own. The publisher is a WebSocket client that sends binary frames
`CHANNEL\\nPAYLOAD`, and the library's libuv loop is run as it is: socketify's bridge to asyncio, which a
NATS client would need, polls without pause and would be measured instead of uWebSockets.
"""

import json
import resource
import sys
import time
from typing import Any

from socketify import App, CompressOptions, OpCode  # type: ignore[import-not-found]

_seq = 0
_last: dict[bytes, int] = {}


def main(port: int) -> None:
    """Serves until it is killed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    app = App(lifespan=False)

    def message(ws: Any, data: Any, opcode: int) -> None:
        global _seq
        if opcode == OpCode.BINARY:
            name, payload = data.split(b"\n", 1)
            _seq += 1
            text = b'{"seq":%d,"ts":%d,"type":"price:update","channel":"%b","prev":%d,"data":%b}' % (
                _seq,
                time.time_ns() // 1_000_000,
                name,
                _last.get(name, 0),
                payload,
            )
            _last[name] = _seq
            app.publish(name, text, OpCode.TEXT)
            return
        for name in json.loads(data)["data"]["channels"]:
            ws.subscribe(name)
        ws.send('{"type":"subscription_ack"}', OpCode.TEXT)

    behavior = {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": 65536,
        "max_backpressure": 16 * 2**20,
        "idle_timeout": 120,
        "message": message,
    }
    app.ws("/*", behavior)
    app.listen(port, lambda config: print("listening", config.port, flush=True))
    app.loop.uv_loop.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
