"""What a nats-server in operator mode wants: operator, account and user as signed tokens.

Source: NATS documentation, "JSON Web Tokens": three base64url parts, signed by the issuer's nkey.
"""

from __future__ import annotations

import base64
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

_KINDS = {"operator": 14, "account": 0, "user": 20}  # the first letter of the public key: O, A, U
_SEED = 18


def _checksum(data: bytes) -> bytes:
    """CRC-16/XMODEM, low byte first."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    return (crc & 0xFFFF).to_bytes(2, "little")


def _text(data: bytes) -> str:
    return base64.b32encode(data + _checksum(data)).decode().rstrip("=")


@dataclass(frozen=True)
class Party:
    """One who signs or is signed for."""

    kind: str
    key: bytes

    @classmethod
    def new(cls, kind: str) -> Party:
        """With a key of its own."""
        return cls(kind, os.urandom(32))

    @property
    def public(self) -> str:
        """The public key as NATS writes it."""
        return _text(bytes([_KINDS[self.kind] << 3]) + bytes(SigningKey(self.key).verify_key))

    @property
    def seed(self) -> str:
        """The secret key as NATS writes it."""
        kind = _KINDS[self.kind] << 3
        return _text(bytes([(_SEED << 3) | (kind >> 5), (kind & 31) << 3]) + self.key)

    def token(self, subject: Party, **claims: Any) -> str:
        """What this party says of another, signed."""
        now = int(time.time())
        body = {"iat": now, "iss": self.public, "sub": subject.public, "name": subject.kind, "jti": str(now)}
        body["nats"] = {"type": subject.kind, "version": 2} | claims
        parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, body]
        signed = ".".join(_url(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{_url(SigningKey(self.key).sign(signed.encode()).signature)}"


def _url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def operator_mode(directory: Path) -> tuple[str, str]:
    """Configuration lines of a server that takes one user only, and that user's credentials file."""
    operator, account, user = Party.new("operator"), Party.new("account"), Party.new("user")
    unlimited = {"subs": -1, "data": -1, "payload": -1}
    limits = {"conn": -1, "leaf": -1, "imports": -1, "exports": -1, "mem_storage": -1, "disk_storage": -1}
    limits |= {"streams": -1, "consumer": -1, "wildcards": True}
    system = Party.new("account")
    accounts = ((account, unlimited | limits), (system, unlimited))
    said = "\n".join(f"  {one.public}: {operator.token(one, limits=what)}" for one, what in accounts)
    lines = (
        f"operator: {operator.token(operator)}\nsystem_account: {system.public}\nresolver: MEMORY\n"
        f"resolver_preload: {{\n{said}\n}}\n"
    )
    path = directory / "user.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{account.token(user, **unlimited)}\n"
        "------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    return lines, str(path)
