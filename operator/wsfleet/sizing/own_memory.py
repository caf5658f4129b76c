"""What a node takes for itself, beside its connections: its processes, and the ring that each of them holds.

Source: measured (proportional set size of idle processes, x86-64, CPython 3.11); the ring is bounded as
the stream is, since each process keeps the stream's own window.
"""

from __future__ import annotations

from wsnode.config import Settings

_MB = 2**20
ALONE_BYTES = 61 * _MB
SUPERVISOR_BYTES = 40 * _MB
WORKER_BYTES = 30 * _MB
MEMORY_REJECT_PERCENT = 90
"""Of WS_MEMORY_LIMIT: above it a node refuses new connections."""


def own_memory_bytes(settings: Settings, cores: int) -> int:
    """The most that a node without a connection takes on a machine of so many cores: with every ring full."""
    processes = settings.process_count(cores)
    programs = ALONE_BYTES if processes == 1 else SUPERVISOR_BYTES + processes * WORKER_BYTES
    return programs + processes * settings.js_stream_max_bytes
