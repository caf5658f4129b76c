"""Python's cycle collector, set for a process that keeps many objects and makes hardly a cycle."""

from __future__ import annotations

import gc

# Objects made before the collector looks at the youngest, and passes before it looks at older ones. The
# ring and the clients are many objects and hardly a cycle: to go through them is a pause for nothing.
_THRESHOLDS = (10_000, 20, 50)


def relieve_collector() -> None:
    """To be called when all is imported: it stays, and is not looked at any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
