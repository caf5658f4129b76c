"""Operators of the working tree as processes, for the scripted API server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.operating import free_port
from tests.support.scripted_api import ScriptedApi

# Imports all that takes long, and then waits for its turn, or for the end of who started it.
_WAITING = """
import os, time
import wsfleet.app, wsfleet.cli.operator, wsfleet.handlers
parent = os.getppid()
while not os.path.exists(os.environ["TURN_FILE"]):
    if os.getppid() != parent:
        raise SystemExit("nobody waits for this process any more")
    time.sleep(0.01)
"""


@dataclass
class Replica:
    """One operator process, known to the API server by its own token."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    turn: Path

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def begin(self) -> None:
        """It is this one's turn (where it was started to wait for that)."""
        self.turn.touch()

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    async def kill(self) -> None:
        """SIGKILL, and gone."""
        if not self.ended:
            self.process.kill()
        await self.process.wait()


async def start_replica(
    api: ScriptedApi, folder: Path, name: str, prelude: str = "", *, waiting: bool = False, **variables: str
) -> Replica:
    """Start an operator that looks after all fleets; `waiting`: it begins when it is told to."""
    kubeconfig = api.kubeconfig(folder, name)
    log, turn = folder / f"{name}.log", folder / f"{name}.turn"
    named = {f"WSFLEET_{key.upper()}": value for key, value in variables.items()}
    env = {
        **os.environ,
        "WSFLEET_ADMIN_VIA_PROXY": "false",
        "WSFLEET_INSTANCE": name,
        "WSFLEET_LOG_FORMAT": "text",
        "WSFLEET_TICK_SECONDS": "0.2",
        "PYTHONWARNINGS": "error",
        "TURN_FILE": str(turn),
        **named,
    }
    first = f"{prelude}\n{_WAITING if waiting else ''}"
    argv = [
        *(sys.executable, "-c", f"{first}\nfrom wsfleet.cli import main; main()", "operator"),
        *("--kubeconfig", str(kubeconfig), "--metrics-port", "0"),
        *("--liveness", f"http://127.0.0.1:{free_port()}/healthz"),
    ]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*argv, stdout=output, stderr=output, env=env)
    return Replica(name, process, log, turn)
