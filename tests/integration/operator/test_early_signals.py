"""An operator told to stop while it starts ends at once: as process 1 it would go on for 30 seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

START_SECONDS = 30.0
END_SECONDS = 10.0

# Stands for kopf, and takes as long to be imported as the test likes.
_SLOW = """
import os, time
open(os.environ["REACHED"], "w").close()
time.sleep(600)
"""


def test_sigterm_while_it_imports_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "kopf.py").write_text(_SLOW)
    reached = tmp_path / "reached"
    argv = [sys.executable, "-c", "from wsfleet.cli import main; main()", "operator"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "REACHED": str(reached)}
    with subprocess.Popen(argv, env=env) as process:
        try:
            end = time.monotonic() + START_SECONDS
            while not reached.exists():
                assert process.poll() is None
                assert time.monotonic() < end, "it does not import kopf"
                time.sleep(0.01)
            process.terminate()
            assert process.wait(END_SECONDS) == 0
        finally:
            process.kill()
