"""One connection to the broker, without the library's own reconnecting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from wsnode.config import Settings
from wsnode.credentials import credentials_options
from wsnode.natsclient import make_client

if TYPE_CHECKING:
    from nats.aio.client import Client

_CONNECT_SECONDS = 2
_CLOSE_SECONDS = 1.0
_PING_SECONDS = 5


@contextlib.asynccontextmanager
async def connected(
    settings: Settings, on_trouble: Callable[[Exception], None], on_closed: Callable[[], None]
) -> AsyncIterator[Client]:
    """A connection to one of the servers in NATS_URL, each tried twice.

    Connecting again is the caller's own: after an interruption a consumer has to be made anew anyway.

    Args:
        on_trouble: told what the library met, besides what it raises.
        on_closed: called when the connection is gone.

    Raises:
        OSError, TimeoutError, nats.errors.Error: no server lets the node in.
    """

    async def trouble(error: Exception) -> None:
        on_trouble(error)

    async def closed() -> None:
        on_closed()

    client = make_client()
    try:
        await client.connect(
            [url.strip() for url in settings.nats_url.split(",")],
            name=f"wsnode {settings.node_name}",
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]
            connect_timeout=_CONNECT_SECONDS,
            ping_interval=_PING_SECONDS,
            max_outstanding_pings=2,
            error_cb=trouble,
            closed_cb=closed,
            **credentials_options(settings.nats_credentials_file),
        )
        yield client
    finally:
        # Also after a connect that failed: the library leaves its socket open. A broker that hangs
        # must not hold up the way to another one.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.close()


def phrase(error: BaseException) -> str:
    """An error in words; some of the library's have none."""
    return str(error) or type(error).__name__
