"""The certificate: bad files stop the start, renewed ones are taken over, all or none."""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.nats import NatsServer
from tests.support.node_process import SERVE, node, run
from tests.support.several import several
from tests.support.tls import Files, MountedSecret, SecureClient, make_files, trusting
from tests.support.wsclient import request


def _environment(files: Files) -> dict[str, Any]:
    return {"WS_TLS_CERT_FILE": str(files.cert), "WS_TLS_KEY_FILE": str(files.key)}


def _presented(port: int) -> bytes:
    """The certificate that a new connection gets."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10).encode()


def _is(port: int, files: Files) -> bool:
    return _presented(port).strip() == files.cert.read_bytes().strip()


def test_bad_files_stop_the_start_with_one_line(tmp_path: Path) -> None:
    good, other = make_files(tmp_path, "good"), make_files(tmp_path, "other")
    empty = tmp_path / "empty"
    empty.touch()
    cases: list[tuple[dict[str, Any], str]] = [
        (_environment(Files(tmp_path / "none", good.key)), "WS_TLS_CERT_FILE='{}/none': No such file"),
        (_environment(Files(empty, good.key)), "WS_TLS_CERT_FILE='{}/empty': holds no certificate"),
        (_environment(Files(good.cert, empty)), "WS_TLS_KEY_FILE='{}/empty': holds no private key"),
        (_environment(Files(good.cert, other.key)), "WS_TLS_KEY_FILE='{}/other.key': is not the key of"),
        ({"WS_TLS_CERT_FILE": str(good.cert)}, "WS_TLS_KEY_FILE is missing"),
        (
            _environment(good) | {"WS_TLS_MIN_VERSION": "1.1"},
            "WS_TLS_MIN_VERSION='1.1': input should be '1.2'",
        ),
    ]
    for environment, message in cases:
        ended = run("serve", **SERVE | environment)
        (line,) = ended.stderr.decode().splitlines()
        assert line.startswith("wsnode: " + message.format(tmp_path)), line
        assert ended.returncode == 2


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


async def _comes(condition: Any, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.1)


async def test_a_renewed_secret_is_used_for_new_connections_and_a_bad_one_is_not(tmp_path: Path) -> None:
    first, second, third = (make_files(tmp_path, name) for name in ("first", "second", "third"))
    secret = MountedSecret(tmp_path / "mounted", first)
    with node(tmp_path, "--embedded-nats", **SERVE, **_environment(secret.files)) as running:
        started = await asyncio.to_thread(running.logged, "node started")
        port, admin = int(started["port"]), int(started["admin_port"])
        assert _is(port, first)
        # Before that it would greet its clients a second time, once it knows its stream.
        await _comes(lambda: "ws_ready 1.0" in _get(admin, "/metrics"))
        client = await SecureClient.of(trusting(first)).open(port)
        ends = [line for line in _get(admin, "/metrics").splitlines() if line.startswith("ws_tls_cert")]
        assert len(ends) == 1

        secret.put(second)
        await _comes(lambda: _is(port, second))
        assert (await client.ask({"type": "heartbeat"}))["type"] == "pong"

        secret.put(Files(third.cert, first.key))
        await _comes(lambda: "ws_tls_error 1.0" in _get(admin, "/metrics"))
        assert "is not the key of" in _get(admin, "/status")
        assert '"status": "degraded"' in _get(admin, "/health").replace('":"', '": "')
        assert _is(port, second)
        assert (await client.ask({"type": "heartbeat"}))["type"] == "pong"

        secret.put(third)
        await _comes(lambda: _is(port, third))
        assert "ws_tls_error 0.0" in _get(admin, "/metrics")
        assert (await client.ask({"type": "heartbeat"}))["type"] == "pong"
        await client.close()


@pytest.mark.timeout(120)
async def test_all_processes_take_a_renewed_certificate(nats_server: NatsServer, tmp_path: Path) -> None:
    first, second = (make_files(tmp_path, name) for name in ("first", "second"))
    secret = MountedSecret(tmp_path / "mounted", first)
    async with several(tmp_path, nats_server.url, 2, **_environment(secret.files)) as both:
        assert _is(both.port, first)
        client = await SecureClient.of(trusting(first)).open(both.port, "A.b")
        secret.put(second)
        # Either process may answer: so often in a row, and it is both.
        await _comes(lambda: all(_is(both.port, second) for _ in range(20)))
        secret.put(Files(first.cert, second.key))
        await _comes(lambda: both.status()["tls"]["error"] is not None)
        assert both.status()["tls"]["enabled"] is True
        assert both.metrics()["ws_tls_error"] == 1
        await client.close()


async def test_renewing_amid_handshakes_harms_none(tmp_path: Path) -> None:
    pairs = [make_files(tmp_path, f"p{n}") for n in range(3)]
    bundle = tmp_path / "all.crt"
    bundle.write_bytes(b"".join(pair.cert.read_bytes() for pair in pairs))
    context = ssl.create_default_context(cafile=str(bundle))
    secret = MountedSecret(tmp_path / "mounted", pairs[0])
    with node(tmp_path, "--embedded-nats", **SERVE, **_environment(secret.files)) as running:
        port = int((await asyncio.to_thread(running.logged, "node started"))["port"])
        served = set()

        def knock() -> None:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
                context.wrap_socket(raw, server_hostname="localhost") as client,
            ):
                client.sendall(request(port))
                assert client.recv(100).startswith(b"HTTP/1.1 101 ")
                served.add(client.getpeercert(binary_form=True))

        for pair in (pairs[1], pairs[2]):
            secret.put(pair)
            while len(served) < 3 and not await asyncio.to_thread(_is, port, pair):
                await asyncio.to_thread(knock)
            await asyncio.to_thread(knock)
        assert len(served) >= 2
