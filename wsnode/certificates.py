"""The certificate of the client port: read, checked, and exchanged while the node runs.

Certificate and key are taken over together or not at all. What was read and checked is what is used:
OpenSSL is given those bytes and never opens the files itself, which may have changed by then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from wsnode.config import Settings
from wsnode.logs import fields
from wsnode.view import TlsStatus

POLL_SECONDS = 1.0
MAX_PEM_BYTES = 1_000_000
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN (?:(\w+) )?PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_CERT_VARIABLE, _KEY_VARIABLE = "WS_TLS_CERT_FILE", "WS_TLS_KEY_FILE"
_log = logging.getLogger(__name__)


class CertificateError(ValueError):
    """The files can't be served from; the message names the variable, the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain, and its key, as PEM: found to belong together.

    Attributes:
        ends_at: when the certificate ends, in seconds since 1970.
    """

    chain: bytes
    key: bytes = field(repr=False)
    ends_at: float


def context_of(pair: Pair, min_version: Literal["1.2", "1.3"]) -> ssl.SSLContext:
    """What new connections are made from.

    Raises:
        ssl.SSLError: the pair can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    # A ticket is good with the process that gave it; in a fleet a client seldom comes back to that one.
    context.num_tickets = 0
    with _as_file(pair.chain) as chain, _as_file(pair.key) as key:
        context.load_cert_chain(chain, key, password="")
    return context


def read_pair(settings: Settings) -> Pair:
    """What the files of the settings hold.

    Raises:
        CertificateError: they can't be served from.
    """
    chain = _read(_CERT_VARIABLE, settings.tls_cert_file)
    return checked_pair(settings, chain, _read(_KEY_VARIABLE, settings.tls_key_file))


def checked_pair(settings: Settings, chain: bytes, key: bytes) -> Pair:
    """The contents of both files as a pair.

    Raises:
        CertificateError: they can't be served from.
    """
    in_chain = f"{_CERT_VARIABLE}={settings.tls_cert_file!r}"
    in_key = f"{_KEY_VARIABLE}={settings.tls_key_file!r}"
    first = _CERTIFICATE.search(chain)
    if first is None:
        raise CertificateError(f"{in_chain}: holds no certificate in PEM form")
    found = _KEY.search(key)
    if found is None:
        raise CertificateError(f"{in_key}: holds no private key in PEM form")
    if found[1] == b"ENCRYPTED" or b"ENCRYPTED" in found[2]:
        raise CertificateError(f"{in_key}: is encrypted, must be a key without a passphrase")
    try:
        ends_at = _ends_at(ssl.PEM_cert_to_DER_cert(first[0].decode("ascii")))
        pair = Pair(chain, key, ends_at)
        context_of(pair, settings.tls_min_version)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{in_key}: is not the key of the certificate in {in_chain}") from error
        said = (error.reason or "not readable").lower().replace("_", " ")
        raise CertificateError(f"{in_chain}, {in_key}: OpenSSL refuses them: {said}") from error
    except (ValueError, IndexError) as error:
        raise CertificateError(f"{in_chain}: the certificate is damaged") from error
    return pair


@dataclass(frozen=True, slots=True)
class Renewal:
    """What came of changed files.

    Attributes:
        pair: to be taken over; None when the files are bad and nothing changes.
        error: what is wrong with them, else None.
    """

    pair: Pair | None
    error: str | None = None


class CertificateWatch:
    """Watches both files. Call `poll` now and then.

    A change counts once the same contents were read twice: files that are written one after the other,
    or a Secret's that change by a swap of the symlink `..data` between two reads, are no pair meanwhile.
    """

    def __init__(self, settings: Settings, pair: Pair) -> None:
        """`pair` is what the node started with."""
        self._settings = settings
        self._in_force = pair
        self._judged: tuple[bytes, bytes] | str = (pair.chain, pair.key)
        self._pending: tuple[bytes, bytes] | str | None = None

    def poll(self, now: float) -> Renewal | None:
        """Looks at the files at `now`, in seconds since 1970; None when there is nothing new."""
        settings = self._settings
        found: tuple[bytes, bytes] | str
        try:
            found = (
                _read(_CERT_VARIABLE, settings.tls_cert_file),
                _read(_KEY_VARIABLE, settings.tls_key_file),
            )
        except CertificateError as error:
            found = str(error)
        if found == self._judged:
            self._pending = None
            return None
        if found != self._pending:
            self._pending = found
            return None
        self._judged, self._pending = found, None
        return self._judge(found, now)

    def _judge(self, found: tuple[bytes, bytes] | str, now: float) -> Renewal:
        if isinstance(found, str):
            return Renewal(None, found)
        try:
            pair = checked_pair(self._settings, *found)
        except CertificateError as error:
            return Renewal(None, str(error))
        if pair.ends_at <= now < self._in_force.ends_at:
            at = datetime.fromtimestamp(pair.ends_at, UTC).isoformat()
            return Renewal(None, f"{_CERT_VARIABLE}={self._settings.tls_cert_file!r}: ended at {at}")
        self._in_force = pair
        return Renewal(pair)


class Renewing(Protocol):
    """What takes another certificate over."""

    def renew(self, renewal: Renewal) -> None:
        """Takes a renewed certificate over for new connections, or notes what is wrong with it."""


async def follow_certificates(node: Renewing, settings: Settings, pair: Pair | None) -> None:
    """Hands changes of the files on, for ever; ends at once where there is no TLS."""
    if pair is None:
        return
    watch = CertificateWatch(settings, pair)
    while True:
        await asyncio.sleep(POLL_SECONDS)
        renewal = watch.poll(time.time())
        if renewal is not None:
            node.renew(renewal)


def status_after(renewal: Renewal, before: TlsStatus) -> TlsStatus:
    """What the admin port says after a change of the files; the log says it too."""
    if renewal.pair is None:
        _log.error("certificate not taken over", extra=fields(error=renewal.error))
        return TlsStatus(before.ends_at, renewal.error)
    ends = datetime.fromtimestamp(renewal.pair.ends_at, UTC).isoformat()
    _log.info("certificate taken over", extra=fields(ends=ends))
    return TlsStatus(renewal.pair.ends_at)


def _read(variable: str, path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise CertificateError(f"{variable}={path!r}: {error.strerror or error}") from error
    if len(content) > MAX_PEM_BYTES:
        raise CertificateError(f"{variable}={path!r}: must not be above {MAX_PEM_BYTES} bytes")
    return content


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL finds these bytes; they stay in memory."""
    descriptor = os.memfd_create("pem")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


# The end of a certificate, by the places that RFC 5280, section 4.1, gives it: the `ssl` module tells it
# only of a peer's certificate.


def _ends_at(der: bytes) -> float:
    """`notAfter` in seconds since 1970. ValueError or IndexError: this is no certificate."""
    outer, _, _ = _element(der, 0)
    at, _, _ = _element(der, outer)  # into tbsCertificate
    _, end, tag = _element(der, at)
    if tag == 0xA0:  # the version, which may be left out
        at = end
    for _ in range(3):  # serialNumber, signature, issuer
        _, at, _ = _element(der, at)
    validity, _, _ = _element(der, at)
    _, at, _ = _element(der, validity)  # notBefore
    start, end, tag = _element(der, at)
    text = der[start:end].decode("ascii")
    if tag == 0x17:  # UTCTime: 50 to 99 are of the last century (section 4.1.2.5.1)
        text = ("19" if text >= "5" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Where the contents of the element at a place start and end, and its tag."""
    tag, size = der[at], der[at + 1]
    start = at + 2
    if size & 0x80:
        count = size & 0x7F
        size = int.from_bytes(der[start : start + count], "big")
        start += count
    if start + size > len(der):
        raise ValueError("cut off")
    return start, start + size, tag
