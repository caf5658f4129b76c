"""Who the broker lets in, and what it lets a node do: what is missing is said by name."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.feeds import REPUBLISH, REPUBLISHED, Way, data, each_way, hold
from tests.support.nats import NatsServer
from tests.support.nats_accounts import operator_mode
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient

# All that a node asks of the broker, and what it listens to.
REQUESTS = [
    "$JS.API.STREAM.INFO.ODIN_TOKENS",
    "$JS.API.STREAM.CREATE.ODIN_TOKENS",
    "$JS.API.CONSUMER.CREATE.ODIN_TOKENS.>",
    "$JS.API.CONSUMER.INFO.ODIN_TOKENS.>",
    "$JS.API.CONSUMER.MSG.NEXT.ODIN_TOKENS.>",
    "$JS.API.CONSUMER.DELETE.ODIN_TOKENS.>",
]


@contextmanager
def _server(directory: Path, config: str) -> Iterator[NatsServer]:
    path = directory / "server.conf"
    path.write_text(config)
    server = NatsServer(directory, "-c", str(path)).start()
    try:
        yield server
    finally:
        server.kill()


def _users(publish: list[str], subscribe: list[str]) -> str:
    """A user `node` who may do so much, and one who may do all, who is taken where none is named."""
    allowed = json.dumps({"publish": publish, "subscribe": subscribe})
    return (
        "authorization { users: [\n"
        f"  {{ user: node, password: secret, permissions: {allowed} }}\n"
        "  { user: all, password: all }\n] }\nno_auth_user: all\n"
    )


def _url(server: NatsServer) -> str:
    return server.url.replace("//", "//node:secret@")


@each_way
async def test_so_much_must_a_node_be_allowed_and_no_more(tmp_path: Path, way: Way) -> None:
    listens = ["_INBOX.>", REPUBLISH] if way.node else ["_INBOX.>"]
    with _server(tmp_path, _users(REQUESTS, listens)) as server:
        async with running_node(way.settings(_url(server))) as node:
            client = await WsClient.open(node.port, "A.b")
            await server.publish(("A.b", b"1"))
            assert (await data(client, 1))[0]["data"] == 1
            await client.close()


@pytest.mark.parametrize("lacking", [*REQUESTS[:3], REQUESTS[4], "_INBOX.>"])
async def test_what_the_broker_forbids_is_named(tmp_path: Path, lacking: str) -> None:
    requests = [subject for subject in REQUESTS if subject != lacking]
    listens = ["_INBOX.other"] if lacking == "_INBOX.>" else ["_INBOX.>"]
    with _server(tmp_path, _users(requests, listens)) as server:
        if "STREAM.CREATE" not in lacking:
            await server.create_stream()
        async with running_node(node_settings(_url(server)), ready=False) as node:
            named = lacking.removesuffix(">").lower()
            await until(lambda: named in (node.not_ready_reason or "").lower())
            assert "permissions violation" in (node.not_ready_reason or "").lower()
            assert not node.ready


async def test_a_stream_that_is_there_needs_no_right_to_make_one(tmp_path: Path) -> None:
    requests = [subject for subject in REQUESTS if "STREAM.CREATE" not in subject]
    with _server(tmp_path, _users(requests, ["_INBOX.>"])) as server:
        await server.create_stream()
        async with running_node(node_settings(_url(server))) as node:
            assert node.feed.problem is None


async def test_a_subject_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    with _server(tmp_path, _users(REQUESTS, ["_INBOX.>"])) as server:
        async with running_node(node_settings(_url(server), feed="core"), ready=False) as node:
            await until(lambda: "permissions violation" in (node.not_ready_reason or "").lower())
            assert not node.ready


async def test_a_republish_subject_that_may_not_be_read_costs_a_consumer_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with _server(tmp_path, _users(REQUESTS, ["_INBOX.>"])) as server:
        async with running_node(REPUBLISHED.settings(_url(server))) as node:
            client = await WsClient.open(node.port, "A.b")
            await server.publish(("A.b", b"1"))
            assert (await data(client, 1))[0]["data"] == 1
            assert _said(caplog, 'permissions violation for subscription to "ws.live.>"')
            await client.close()


async def test_a_broker_without_jetstream_is_told_what_it_lacks(tmp_path: Path) -> None:
    accounts = "accounts { A: { users: [ { user: a, password: a } ] } }\nno_auth_user: a\n"
    with _server(tmp_path, accounts) as server:
        async with running_node(node_settings(server.url), ready=False) as node:
            await until(lambda: "JetStream" in (node.not_ready_reason or ""))
        async with running_node(node_settings(server.url, feed="core")) as node:
            assert node.feed.connected


async def test_a_broker_that_refuses_the_node_is_asked_again_and_nothing_leaks(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, "--auth", "secret").start()
    try:
        async with running_node(node_settings(server.url), ready=False) as node:
            await asyncio.sleep(1.0)
            before = sum(1 for _ in Path("/proc/self/fd").iterdir())
            await asyncio.sleep(1.5)
            assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before + 1
            assert not node.ready
        async with running_node(node_settings(server.url.replace("//", "//secret@"))) as node:
            assert node.ready
    finally:
        server.kill()


async def test_a_credentials_file_lets_the_node_in(tmp_path: Path) -> None:
    lines, path = operator_mode(tmp_path)
    with _server(tmp_path, lines) as server:
        async with running_node(node_settings(server.url, nats_credentials_file=path)) as node:
            assert node.feed.connected
        async with running_node(node_settings(server.url), ready=False) as node:
            await asyncio.sleep(0.5)
            assert not node.feed.connected


async def test_a_credentials_file_that_comes_later_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines, path = operator_mode(tmp_path)
    content = Path(path).read_text()
    Path(path).unlink()
    with _server(tmp_path, lines) as server:
        async with running_node(node_settings(server.url, nats_credentials_file=path), ready=False) as node:
            await until(lambda: _said(caplog, "No such file"))
            Path(path).write_text(content)
            await until(lambda: node.ready)


def _said(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return any(text.lower() in str(getattr(record, "fields", "")).lower() for record in caplog.records)


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=nats", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'
    with _server(tmp_path, tls) as server:
        url = server.url.replace("nats:", "tls:")
        async with running_node(node_settings(url), ready=False) as node:
            await asyncio.sleep(0.5)
            assert not node.feed.connected
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with running_node(node_settings(url)) as node:
            assert node.feed.connected


@pytest.mark.parametrize("resting", [False, True])
@pytest.mark.parametrize("feed", ["jetstream", "core"])
async def test_rights_that_are_taken_away_are_noticed(tmp_path: Path, feed: str, resting: bool) -> None:
    """A subscription that is refused looks like one to which nothing comes."""
    with _server(tmp_path, _users(REQUESTS, ["odin.token.>", "_INBOX.>"])) as server:
        async with running_node(node_settings(_url(server), feed=feed)) as node:
            hold(node, resting)
            (tmp_path / "server.conf").write_text(_users(REQUESTS, ["nothing"]))
            server.reload()
            await asyncio.sleep(0.2)
            hold(node, False)
            await until(lambda: not node.feed.connected)
            await until(lambda: "permissions violation" in (node.feed.problem or "").lower())
            assert node.ready  # what hits all nodes alike takes none out of the Service
