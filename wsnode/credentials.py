"""A NATS credentials file: a user's token (JWT), and the seed of the key that answers the server's nonce.

Read here and not by the library, whose way needs a package that is not there as a wheel. The file is
read at each connect, so a new one counts from then on. Source: NATS documentation, "Credentials" and
"NKeys" (a seed is base32 of two bytes of kind, 32 of the key and two of a checksum).
"""

from __future__ import annotations

import base64
import binascii
import itertools
from pathlib import Path
from typing import Any

_TOKEN, _SEED = "NATS USER JWT", "USER NKEY SEED"
_SEED_BYTES = 36
_KIND_SEED = 18 << 3


class CredentialsError(ValueError):
    """The file can't be read, or is none of credentials; the message names it."""


def credentials_options(path: str) -> dict[str, Any]:
    """What `connect` of the library has to be told; nothing where `path` is empty.

    Raises:
        CredentialsError: the file is missing or holds no credentials.
    """
    if not path:
        return {}
    try:
        text = Path(path).read_text()
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{path}: {error}") from error
    token, key = _section(path, text, _TOKEN), _key(path, _section(path, text, _SEED))
    return {"user_jwt_cb": token.encode, "signature_cb": lambda nonce: _signed(key, nonce)}


def _section(path: str, text: str, name: str) -> str:
    """The line behind a heading."""
    lines = [line.strip() for line in text.splitlines()]
    for heading, content in itertools.pairwise(lines):
        if heading.startswith("---") and f"BEGIN {name}" in heading and content:
            return content
    raise CredentialsError(f"{path}: no line {name}, as a credentials file has")


def _key(path: str, seed: str) -> bytes:
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except binascii.Error:
        raw = b""
    if len(raw) != _SEED_BYTES or raw[0] & 0xF8 != _KIND_SEED:
        raise CredentialsError(f"{path}: the {_SEED} is none")
    return raw[2:-2]


def _signed(key: bytes, nonce: str) -> bytes:
    from nacl.signing import SigningKey

    return base64.b64encode(SigningKey(key).sign(nonce.encode()).signature)
