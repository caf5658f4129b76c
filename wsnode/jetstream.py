"""The few requests of NATS JetStream's API that a reader needs, as plain JSON.

Not the library's manager: it hides the exact creation time of a stream, and its pull consumer has
no byte limit. Source: the JetStream wire API reference (NATS documentation).

    JetStreamError          the server refused a request; `code` is its error code
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from wsnode.config import Settings
from wsnode.protocol.envelope import MAX_SEQUENCE
from wsnode.view import StreamLimits

if TYPE_CHECKING:
    from nats.aio.client import Client

STREAM_NOT_FOUND = 10059
_NOT_ENABLED = 503
NOT_ENABLED = frozenset({_NOT_ENABLED, 10039, 10076})
"""What says that there is no JetStream: nobody answers, the account has none, the server has none."""
REQUEST_TIMEOUT_SECONDS = 3.0
INACTIVE_SECONDS = 5.0
"""An orphaned consumer, whose node is gone, is deleted by the server after this time."""
_NANOSECONDS = 1_000_000_000


class JetStreamError(Exception):
    """The server refused a request."""

    def __init__(self, request: str, code: int, description: str) -> None:
        self.code, self.description = code, description
        super().__init__(f"{request}: {description} ({code})")


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream as the server describes it. `created` is kept as the text that the server says."""

    created: str
    first_seq: int
    last_seq: int
    messages: int
    config: Mapping[str, Any]


class JetStreamApi:
    """Requests about one stream over a connection that the caller owns."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client, self._stream = client, stream

    async def stream_info(self) -> StreamInfo | None:
        """The stream, None where there is none."""
        answer = await self.stream_answer()
        return _stream(answer) if answer is not None else None

    async def stream_answer(self) -> dict[str, Any] | None:
        """All that the server says of the stream, None where there is none."""
        try:
            return await self._request(f"STREAM.INFO.{self._stream}", {})
        except JetStreamError as error:
            if error.code == STREAM_NOT_FOUND:
                return None
            raise

    async def create_stream(self, config: Mapping[str, Any]) -> StreamInfo:
        """Creates the stream; one that is there with the same configuration is as good."""
        return _stream(await self._request(f"STREAM.CREATE.{self._stream}", config))

    async def update_stream(self, config: Mapping[str, Any]) -> None:
        """Gives a stream another configuration; only `wsnode stream apply` does."""
        await self._request(f"STREAM.UPDATE.{self._stream}", config)

    async def create_consumer(self, name: str, start_seq: int) -> int:
        """An ephemeral consumer in the server's memory that reads all from `start_seq` on.

        Returns how many messages wait for it.
        """
        config = {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": start_seq,
            "ack_policy": "none",
            "replay_policy": "instant",
            "num_replicas": 1,
            "mem_storage": True,
            "inactive_threshold": int(INACTIVE_SECONDS * _NANOSECONDS),
        }
        request = {"stream_name": self._stream, "config": config, "action": "create"}
        answer = await self._request(f"CONSUMER.CREATE.{self._stream}.{name}", request)
        return int(answer.get("num_pending", 0))

    async def pending(self, name: str) -> int:
        """How many messages wait for a consumer."""
        answer = await self._request(f"CONSUMER.INFO.{self._stream}.{name}", {})
        return int(answer.get("num_pending", 0))

    async def forget_consumer(self, name: str) -> None:
        """Lets a consumer go before its time, without waiting for an answer."""
        nobody = f"_INBOX.{secrets.token_hex(11)}"  # the server wants to be told whom to answer
        await self._client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}", reply=nobody)

    async def _request(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        from nats.errors import NoRespondersError

        try:
            message = await self._client.request(
                f"$JS.API.{what}", orjson.dumps(body) if body else b"", timeout=REQUEST_TIMEOUT_SECONDS
            )
        except NoRespondersError as silent:
            raise JetStreamError(what, _NOT_ENABLED, "JetStream is not enabled (nats-server -js)") from silent
        answer: dict[str, Any] = orjson.loads(message.data)
        if error := answer.get("error"):
            code = int(error.get("err_code", error.get("code", 0)))
            raise JetStreamError(what, code, str(error.get("description", "")))
        return answer


def _stream(answer: Mapping[str, Any]) -> StreamInfo:
    state = answer["state"]
    return StreamInfo(
        created=str(answer["created"]),
        first_seq=int(state["first_seq"]),
        last_seq=int(state["last_seq"]),
        messages=int(state["messages"]),
        config=answer["config"],
    )


def wanted_stream(settings: Settings) -> dict[str, Any]:
    """The stream that the node creates where there is none (seed, "JetStream config")."""
    wanted: dict[str, Any] = {
        "name": settings.js_stream_name,
        "subjects": list(settings.js_stream_subjects),
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": int(settings.js_stream_max_age * _NANOSECONDS),
        "max_msgs": settings.js_stream_max_msgs,
        "max_bytes": settings.js_stream_max_bytes,
        "num_replicas": settings.js_stream_replicas,
        # The server refuses a duplicate window that is longer than the stream remembers.
        "duplicate_window": int(min(settings.js_stream_max_age, 120) * _NANOSECONDS),
    }
    if settings.republish_subject:
        # All of it, or the gaps that other messages leave could not be told from lost ones.
        wanted["republish"] = {"src": ">", "dest": settings.republish_subject}
    return wanted


def stream_problem(info: StreamInfo, settings: Settings) -> str | None:
    """Why a stream can't be read with the promises the node makes; None when it can."""
    config = info.config
    for key, wanted in (("storage", "file"), ("retention", "limits"), ("discard", "old")):
        if config.get(key, wanted) != wanted:
            return f"stream {settings.js_stream_name} has {key} {config[key]}, {wanted} is needed"
    if info.last_seq >= MAX_SEQUENCE:
        return (
            f"stream {settings.js_stream_name} stands at sequence {info.last_seq}: JavaScript can't tell "
            f"sequences from {MAX_SEQUENCE + 1} apart; publish to a fresh stream"
        )
    subjects = config.get("subjects") or []
    for wanted in settings.js_stream_subjects:
        if not fed_otherwise(config) and not any(covers(subject, wanted) for subject in subjects):
            return f"stream {settings.js_stream_name} does not take {wanted}, only {', '.join(subjects)}"
    return None


def republish_problem(info: StreamInfo, settings: Settings) -> str | None:
    """Why what a stream republishes can't be read in its place; None when it can."""
    name, republish = settings.js_stream_name, info.config.get("republish")
    if not republish:
        return f"stream {name} republishes nothing; `wsnode stream apply` makes it"
    source, target = republish.get("src") or ">", republish.get("dest", "")
    if not covers(settings.republish_subject, target):
        return f"stream {name} republishes on {target}, not on {settings.republish_subject}"
    if republish.get("headers_only"):
        return f"stream {name} republishes headers only"
    subjects = [">"] if fed_otherwise(info.config) else info.config.get("subjects") or [">"]
    if not all(covers(source, subject) for subject in subjects):
        return f"stream {name} republishes {source} only, and takes {', '.join(subjects)}"
    return None


def stream_limits(info: StreamInfo) -> StreamLimits:
    """What the stream keeps and takes."""
    config = info.config
    return StreamLimits(
        max_age_seconds=config.get("max_age", 0) / _NANOSECONDS,
        max_msgs=int(config.get("max_msgs", -1)),
        max_bytes=int(config.get("max_bytes", -1)),
        subjects=tuple(config.get("subjects") or ()),
    )


def fed_otherwise(config: Mapping[str, Any]) -> bool:
    """Whether a stream takes messages from other streams, with whatever subjects they have."""
    return bool(config.get("mirror") or config.get("sources"))


def covers(subject: str, wanted: str) -> bool:
    """Whether all that `wanted` matches is matched by `subject`. `wanted` is literal tokens and `>`."""
    mine, theirs = subject.split("."), wanted.split(".")
    for index, token in enumerate(mine):
        if token == ">":
            return len(theirs) > index
        if index >= len(theirs) or theirs[index] == ">" or (token != "*" and token != theirs[index]):
            return False
    return len(mine) == len(theirs)
