"""`wsnode stream` against a real nats-server."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from tests.support.nats import STREAM, NatsServer
from tests.support.node_process import clean_environ, run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A broker without a stream."""
    running = NatsServer(tmp_path)
    yield running.start()
    running.stop()


def add(server: NatsServer, messages: int = 0, **config: Any) -> None:
    """A stream that holds so many messages."""

    async def make() -> None:
        client = await nats.connect(server.url)
        wanted: dict[str, Any] = {"subjects": ["odin.token.>"], "storage": StorageType.FILE} | config
        await client.jetstream().add_stream(StreamConfig(name=STREAM, **wanted))
        for number in range(messages):
            await client.jetstream().publish(f"odin.token.S{number}.trade", b"{}")
        await client.close()

    asyncio.run(make())


def now(server: NatsServer) -> tuple[StreamConfig, int] | None:
    """The stream's configuration and how many messages it holds."""

    async def look() -> tuple[StreamConfig, int] | None:
        client = await nats.connect(server.url)
        try:
            info = await client.jetstream().stream_info(STREAM)
        except NotFoundError:
            return None
        finally:
            await client.close()
        return info.config, info.state.messages

    return asyncio.run(look())


def stream(server: NatsServer, *words: str, **settings: str) -> tuple[int, str, str]:
    done = run("stream", *words, stdin=b"", NATS_URL=server.url, **settings)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def document(server: NatsServer, *words: str, **settings: str) -> tuple[int, dict[str, Any]]:
    code, said, _ = stream(server, *words, "-o", "json", **settings)
    return code, json.loads(said)


def changes(told: dict[str, Any]) -> dict[str, str]:
    return {one["setting"]: one["change"] for one in told["differences"]}


def test_a_missing_stream_is_said_and_created_as_a_node_would(server: NatsServer) -> None:
    code, told = document(server, "show")
    assert (code, told["exists"], told["changed"]) == (3, False, False)
    assert now(server) is None
    code, told = document(server, "apply", JS_STREAM_MAX_AGE="45s")
    assert (code, told["exists"], told["changed"]) == (0, True, True)
    made = now(server)
    assert made is not None
    assert (made[0].max_age, made[0].max_msgs, made[0].storage) == (45, 100_000, "file")
    assert stream(server, "show", JS_STREAM_MAX_AGE="45s") == (
        0,
        "stream ODIN_TOKENS is as the settings ask\n",
        "",
    )


def test_what_loses_nothing_is_changed_unasked_and_the_rest_of_the_stream_stays(server: NatsServer) -> None:
    add(server, 5, max_msg_size=70_000, max_age=3600, subjects=["odin.news.>", "odin.token.>"])
    code, told = document(server, "show")
    possible = dict.fromkeys(["JS_STREAM_MAX_AGE", "JS_STREAM_MAX_MSGS", "JS_STREAM_MAX_BYTES"], "possible")
    assert (code, changes(told)) == (3, possible)
    code, told = document(server, "apply")
    assert (code, told["changed"], changes(told)) == (0, True, possible)
    after = now(server)
    assert after is not None
    assert after[1] == 5
    config = after[0]
    assert (config.max_age, config.max_msgs, config.max_bytes) == (30, 100_000, 52_428_800)
    assert (config.max_msg_size, config.subjects) == (70_000, ["odin.news.>", "odin.token.>"])
    assert config.duplicate_window == 30
    assert document(server, "apply") == (
        0,
        {"stream": STREAM, "exists": True, "changed": False, "differences": []},
    )


LIMITS = {"max_age": 30, "max_msgs": 100_000, "max_bytes": 52_428_800}


def test_what_loses_messages_needs_a_yes(server: NatsServer) -> None:
    add(server, 5, **LIMITS)
    code, _, said = stream(server, "apply", JS_STREAM_MAX_MSGS="2")
    assert (code, said) == (
        3,
        "wsnode: nothing was changed: messages would be lost; --yes agrees to that\n",
    )
    assert (now(server) or (None, 0))[1] == 5
    code, said, _ = stream(server, "apply", "--yes", JS_STREAM_MAX_MSGS="2")
    assert code == 0
    assert "the oldest 3 of 5 messages go" in said
    assert said.endswith("stream ODIN_TOKENS changed\n")
    assert (now(server) or (None, 0))[1] == 2


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 3, 5), (b"\n", 3, 5), (b"y\n", 0, 2)])
def test_at_a_terminal_it_asks(server: NatsServer, answer: bytes, code: int, left: int) -> None:
    add(server, 5, **LIMITS)
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    command = [sys.executable, "-m", "wsnode", "stream", "apply"]
    env = clean_environ(NATS_URL=server.url, JS_STREAM_MAX_MSGS="2")
    done = subprocess.run(command, stdin=theirs, env=env, capture_output=True, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert b"What is lost can't be had back. [y/N]" in done.stdout
    assert (done.returncode, (now(server) or (None, 0))[1]) == (code, left)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"storage": StorageType.MEMORY}, "storage is memory, not file"),
        ({"retention": RetentionPolicy.WORK_QUEUE}, "retention is workqueue, not limits"),
    ],
)
def test_what_jetstream_cant_change_is_refused_whole(
    server: NatsServer, config: dict[str, Any], said: str
) -> None:
    add(server, **config)
    code, _, error = stream(server, "apply", "--yes")
    assert code == 3
    assert f"nothing was changed: {said}: JetStream can't change it: name another stream" in error
    assert (now(server) or (None, 0))[0].max_age == 0  # type: ignore[union-attr]


def test_a_lacking_subject_and_a_republish_are_added(server: NatsServer) -> None:
    add(server, subjects=["odin.news.>"], **LIMITS)
    code, told = document(server, "apply", WS_REPUBLISH_SUBJECT="live.>")
    assert (code, list(changes(told))) == (0, ["JS_STREAM_SUBJECTS", "WS_REPUBLISH_SUBJECT"])
    config, _ = now(server)  # type: ignore[misc]
    assert config.subjects == ["odin.news.>", "odin.token.>"]
    assert config.republish is not None
    assert config.republish.dest == "live.>"
    assert document(server, "show", WS_REPUBLISH_SUBJECT="live.>")[0] == 0


def test_what_the_server_refuses_is_said(server: NatsServer) -> None:
    add(server, **LIMITS)
    code, _, error = stream(server, "apply", JS_STREAM_REPLICAS="3")
    assert code == 1
    assert error.startswith("wsnode: STREAM.UPDATE.ODIN_TOKENS: ")


def test_without_a_broker_it_ends_with_a_line() -> None:
    done = run("stream", "show", NATS_URL="nats://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.decode().startswith("wsnode: no broker at nats://127.0.0.1:1: ")
    assert done.stderr.count(b"\n") == 1


def test_wrong_use_is_told() -> None:
    assert run("stream", "edit").returncode == 2
