"""The command `wsnode`: heed SIGTERM first, import the rest afterwards."""

from __future__ import annotations

from wsnode import early_signals


def main() -> None:
    """Entry point of the console script and of `python -m wsnode`."""
    early_signals.install()
    from wsnode.commands import app

    app()
