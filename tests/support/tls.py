"""Certificates made for tests, and clients that speak TLS with nodes."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.support.wsclient import TIMEOUT_SECONDS, WsClient

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
EC = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("rsa:2048",)


@dataclass(frozen=True)
class Files:
    """A certificate and its key on disk."""

    cert: Path
    key: Path

    @property
    def settings(self) -> dict[str, Any]:
        """The node's settings for it."""
        return {"tls_cert_file": str(self.cert), "tls_key_file": str(self.key)}


def make_files(directory: Path, name: str = "tls", kind: tuple[str, ...] = EC, days: str = "30") -> Files:
    """A self-signed certificate for localhost."""
    directory.mkdir(parents=True, exist_ok=True)
    files = Files(directory / f"{name}.crt", directory / f"{name}.key")
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", *kind, "-subj", f"/CN={name}"]
    command += ["-addext", NAMES, "-days", days, "-keyout", str(files.key), "-out", str(files.cert)]
    subprocess.run(command, check=True, capture_output=True)
    return files


class MountedSecret:
    """A Secret as the kubelet mounts it: names that lead through `..data` to a directory that is swapped."""

    def __init__(self, directory: Path, files: Files) -> None:
        self._directory, self._version = directory, 0
        directory.mkdir()
        self.put(files)
        for name in ("tls.crt", "tls.key"):
            (directory / name).symlink_to(f"..data/{name}")
        self.files = Files(directory / "tls.crt", directory / "tls.key")

    def put(self, files: Files) -> None:
        """The Secret now holds these."""
        self._version += 1
        fresh = self._directory / f"..{self._version}"
        fresh.mkdir()
        (fresh / "tls.crt").write_bytes(files.cert.read_bytes())
        (fresh / "tls.key").write_bytes(files.key.read_bytes())
        link = self._directory / "..data_tmp"
        link.symlink_to(fresh.name)
        link.replace(self._directory / "..data")


def trusting(files: Files, **versions: ssl.TLSVersion) -> ssl.SSLContext:
    """What a client needs to trust this certificate."""
    context = ssl.create_default_context(cafile=str(files.cert))
    for name, version in versions.items():
        setattr(context, name, version)
    return context


class SecureClient(WsClient):
    """`WsClient` over TLS; the certificate is checked."""

    context: ssl.SSLContext

    @classmethod
    def of(cls, context: ssl.SSLContext) -> type[Self]:
        """Clients with this context."""
        return type("SecureClient", (cls,), {"context": context})

    @classmethod
    async def connect(cls, port: int, first: bytes) -> Self:
        import asyncio

        opening = asyncio.open_connection("127.0.0.1", port, ssl=cls.context)
        client = cls(*await asyncio.wait_for(opening, TIMEOUT_SECONDS))
        await client.send_bytes(first)
        return client


class Peer:
    """A client's end of TLS without a socket: a test cuts its bytes as it likes."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.done = False  # the handshake
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def hello(self) -> bytes:
        """What a client says first."""
        try:
            self.tls.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def took(self, data: bytes) -> bytes:
        """Takes bytes of the handshake in; what has to be answered."""
        self.incoming.write(data)
        return self.hello()

    def sealed(self, data: bytes) -> bytes:
        """Records with this data."""
        self.tls.write(data)
        return self.outgoing.read()

    def plain(self, data: bytes = b"") -> bytes:
        """What these bytes, and those before, say."""
        self.incoming.write(data)
        parts = []
        try:
            while part := self.tls.read(65_536):
                parts.append(part)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return b"".join(parts)
