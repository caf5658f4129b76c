"""Which certificates a client trusts: the options --ca and --insecure of all commands that connect."""

from __future__ import annotations

import ssl
from pathlib import Path


class TrustError(ValueError):
    """The options can't be used; the message is one line for the user."""


def client_context(ca: str = "", *, insecure: bool = False) -> ssl.SSLContext:
    """What a client speaks TLS with.

    Args:
        ca: PEM file with the authorities that are trusted, or the node's own certificate; empty for
            the system's authorities.
        insecure: any certificate will do, of whatever name: for tests.

    Raises:
        TrustError: the file can't be used.
    """
    if ca and insecure:
        raise TrustError("ca and insecure: name one, not both")
    if ca and not Path(ca).is_file():
        raise TrustError(f"ca {ca!r}: no such file")
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (ssl.SSLError, OSError) as exc:
        raise TrustError(f"ca {ca!r}: holds no certificate in PEM form") from exc
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
