"""The version of the installed distribution."""

from __future__ import annotations

from functools import cache


@cache
def version() -> str:
    """Such as `0.1.0`; `unknown` where the package runs without being installed."""
    from importlib import metadata  # slow to import, and most commands never ask

    try:
        return metadata.version("wsfleet")
    except metadata.PackageNotFoundError:
        return "unknown"
