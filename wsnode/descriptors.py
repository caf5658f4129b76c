"""How many clients the process can hold at all: RLIMIT_NOFILE, raised and checked."""

from __future__ import annotations

import logging
import resource
from pathlib import Path

from wsnode import logs
from wsnode.admission import DESCRIPTORS_KEPT

_log = logging.getLogger(__name__)
_ENDLESS = 1_048_576  # Linux' fs.nr_open; a limit without an end can't be set above it


def raise_descriptor_limit(max_connections: int, clients: int = 0) -> int:
    """Lifts RLIMIT_NOFILE to what the process may have, and returns how many clients it leaves room for.

    `clients` are those that have a descriptor already.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, _ENDLESS)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for_clients = hard - sum(1 for _ in Path("/proc/self/fd").iterdir()) + clients
    if for_clients - DESCRIPTORS_KEPT < max_connections:
        _log.error(
            "too few file descriptors for WS_MAX_CONNECTIONS: raise RLIMIT_NOFILE (ulimit -n)",
            extra=logs.fields(limit=hard, max_connections=max_connections),
        )
    return for_clients
