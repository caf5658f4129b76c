"""`python -m wsnode.processes.worker`: one of a node's processes, started by the parent and by nobody else.

Signals that end a node are the parent's to heed, also where they are sent to all processes at once; so
they are ignored before anything large is imported. Only the parent's death ends a worker at once.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Arguments: the parent's number, this one's row in the table, descriptors of line and table."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    parent, row, line_fd, table_fd = (int(word) for word in sys.argv[1:])
    _die_with(parent)
    from wsnode.processes.working import run

    sys.exit(run(parent, row, line_fd, table_fd))


def _die_with(parent: int) -> None:
    """A worker without a parent would serve on, with settings and limits that nobody changes any more.

    Where this is not allowed, the end of the line tells it as well.
    """
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that
        os._exit(1)


if __name__ == "__main__":
    main()
