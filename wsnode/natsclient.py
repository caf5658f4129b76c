"""The library's client, which no publisher can stop.

A subject or a status line of a message that is not UTF-8 ends the library's reading without a word
(nats-py 2.16, `_read_loop`): the connection hangs, is made again, and hangs at the same message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

NOT_UTF8 = "\ufffd"
"""Stands in a subject for what is not UTF-8."""

if TYPE_CHECKING:
    from nats.aio.client import Client


def make_client() -> Client:
    """A client that is not connected yet. The library is imported only now: it is large."""
    from nats.aio.client import Client

    class Sturdy(Client):
        async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
            try:
                return await super()._process_headers(headers)
            except (ValueError, LookupError):
                return None

        def _build_message(self, sid: int, subject: bytes, *rest: Any) -> Any:
            readable = subject.decode(errors="replace").encode()
            return super()._build_message(sid, readable, *rest)

    return Sturdy()
