"""The load client in a process of its own: JSON lines on standard input and output.

Requests: `start` with options, `ramp`, `calm`, `snapshot`, `stop`; each is answered by one line with `result`
or `error`. The end of the input is a stop, so that nothing outlives its caller.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from wsnode.load import LoadClient
from wsnode.load_options import LoadError, LoadOptions


def main() -> None:
    """Serve one caller until `stop` or the end of its input."""
    client: LoadClient | None = None
    try:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                if request["verb"] == "start":
                    client = _started(request["options"])
                result = _answer(client, request)
                answer: dict[str, Any] = {"result": result}
            except LoadError as exc:
                answer = {"error": str(exc)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
            if request["verb"] == "stop":
                client = None
                break
    finally:
        if client is not None:
            client.stop()


def _started(values: dict[str, Any]) -> LoadClient:
    # JSON has no tuples.
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    options = LoadOptions(**fields)
    client = LoadClient(options)
    client.start()
    return client


def _answer(client: LoadClient | None, request: dict[str, Any]) -> dict[str, Any]:
    if client is None:
        raise LoadError("not started")
    if request["verb"] == "ramp":
        client.ramp(request["connections"], request["rate"])
    elif request["verb"] == "calm":
        client.calm()
    elif request["verb"] == "snapshot":
        return client.snapshot().to_dict()
    elif request["verb"] == "stop":
        return client.stop().to_dict()
    return {}


if __name__ == "__main__":
    main()
