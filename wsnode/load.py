"""`wsnode load`: ten thousand clients from one process, and whether each of them got everything.

`LoadClient` is the same for tests and tools: it runs beside its user, in a thread or in a process of
its own, and hands out its figures as one value at a time.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from types import FrameType, TracebackType
from typing import Annotated, Any, Protocol, Self

import typer

from wsnode.load_engine import Engine
from wsnode.load_figures import Snapshot
from wsnode.load_options import LoadError, LoadOptions, expand_channels, seconds_of, span_of
from wsnode.load_report import progress_line, summary
from wsnode.terminal import CaOption, InsecureOption

_POLL_SECONDS = 0.1
_STOP_SECONDS = 15.0
_SETTLE_SECONDS = 35.0  # above the longest wait before a reconnect


class _Runner(Protocol):
    def ramp(self, connections: int, rate: float | None) -> None: ...
    def calm(self) -> None: ...
    def snapshot(self) -> Snapshot: ...
    def stop(self) -> Snapshot: ...


class LoadClient:
    """Many clients, somewhere beside the caller.

    A thread shares the caller's interpreter and is cheap to start; a process of its own (`process=True`)
    leaves the caller's loop alone and has its own limit of descriptors. Raises LoadError.
    """

    def __init__(self, options: LoadOptions, *, process: bool = False) -> None:
        self.options = options
        self._process = process
        self._runner: _Runner | None = None

    def start(self) -> None:
        """Begin to open connections. Raises LoadError."""
        if self._runner is not None:
            raise RuntimeError("already started")
        self._runner = _InProcess(self.options) if self._process else _InThread(self.options)

    def ramp(self, connections: int, rate: float | None = None) -> None:
        """Another number of connections, opened at `rate` a second; fewer closes the last ones.

        Raises LoadError.
        """
        self._running().ramp(connections, rate)

    def calm(self) -> None:
        """Cut no more connections (`churn`). Raises LoadError."""
        self._running().calm()

    def snapshot(self) -> Snapshot:
        """The figures now. Raises LoadError when the run has broken down."""
        shot = self._running().snapshot()
        if shot.error is not None:
            raise LoadError(shot.error)
        return shot

    def wait_for(self, condition: Callable[[Snapshot], bool], timeout: float, what: str = "") -> Snapshot:
        """Block until the figures satisfy the condition. Raises TimeoutError with the last figures."""
        until = time.monotonic() + timeout
        while not condition(shot := self.snapshot()):
            if time.monotonic() > until:
                raise TimeoutError(f"not within {timeout:g} s: {what or condition}; {progress_line(shot)}")
            time.sleep(_POLL_SECONDS)
        return shot

    def stop(self) -> Snapshot:
        """Close all connections politely; the last figures, taken before it."""
        return self._running().stop()

    def _running(self) -> _Runner:
        if self._runner is None:
            raise RuntimeError("not started")
        return self._runner

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()


class _InThread:
    def __init__(self, options: LoadOptions) -> None:
        self._engine = Engine(options)
        self._last: Snapshot | None = None
        self._thread = threading.Thread(target=self._run, name="wsnode-load", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._engine.run()
        except Exception as exc:  # told by the next snapshot; a thread's traceback would only be printed
            self._engine.error = f"the load client broke down: {exc!r}"

    def ramp(self, connections: int, rate: float | None) -> None:
        self._engine.ramp(connections, rate)

    def calm(self) -> None:
        self._engine.calm()

    def snapshot(self) -> Snapshot:
        return self._last or self._engine.snapshot()

    def stop(self) -> Snapshot:
        if self._last is None:
            self._last = self._engine.snapshot()
            self._engine.stop()
            self._thread.join(_STOP_SECONDS)
        return self._last


class _InProcess:
    """Speaks JSON lines with `wsnode.load_process`: one request, one answer."""

    def __init__(self, options: LoadOptions) -> None:
        self._last: Snapshot | None = None
        self._lock = threading.Lock()
        # A session of its own: Ctrl-C is for the caller, who then asks for the figures.
        self._child = subprocess.Popen(
            [sys.executable, "-m", "wsnode.load_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        try:
            self._ask({"verb": "start", "options": asdict(options)})
        except LoadError:
            self._end()
            raise

    def ramp(self, connections: int, rate: float | None) -> None:
        self._ask({"verb": "ramp", "connections": connections, "rate": rate})

    def calm(self) -> None:
        self._ask({"verb": "calm"})

    def snapshot(self) -> Snapshot:
        return self._last or Snapshot.from_dict(self._ask({"verb": "snapshot"}))

    def stop(self) -> Snapshot:
        if self._last is None:
            try:
                self._last = Snapshot.from_dict(self._ask({"verb": "stop"}))
            finally:
                self._end()
        return self._last

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with self._lock:
            try:
                self._child.stdin.write(json.dumps(request) + "\n")
                self._child.stdin.flush()
                answer = json.loads(self._child.stdout.readline() or "{}")
            except (OSError, ValueError) as exc:
                raise LoadError(f"the load client's process is gone: {exc}") from exc
        if "result" not in answer:
            raise LoadError(answer.get("error", "the load client's process is gone"))
        result: dict[str, Any] = answer["result"]
        return result

    def _end(self) -> None:
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def load_command(
    url: Annotated[str, typer.Argument(help="ws://HOST[:PORT]/PATH of a node or of a fleet's Service")],
    connections: Annotated[int, typer.Option("-c", "--connections", help="clients to hold open")] = 100,
    rate: Annotated[float, typer.Option("-r", "--rate", help="new connections a second")] = 500.0,
    hold: Annotated[
        str | None,
        typer.Option(
            "--hold",
            "--duration",
            help="time to stay once all are open or the ramp is over, as 30s; else until Ctrl-C",
        ),
    ] = None,
    channels: Annotated[
        str, typer.Option(help="comma-separated; S{0..99}.trade stands for a hundred")
    ] = "BTC.trade",
    channels_each: Annotated[
        int, typer.Option(help="channels of one client, taken from the list in turn")
    ] = 1,
    check: Annotated[
        bool, typer.Option("--check", help="verify seq and prev of every message; exit 1 when any is wrong")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on where the last connection ended, with what was missed")
    ] = False,
    churn: Annotated[
        str | None, typer.Option(help="cut each client at random after such a time, as 5-15s, and resume")
    ] = None,
    mark: Annotated[
        str, typer.Option(help="comma-separated counts of open connections whose crossing is timed")
    ] = "",
    open_timeout: Annotated[float, typer.Option(help="seconds for connect and handshake")] = 10.0,
    reconnect: Annotated[bool, typer.Option(help="come back after a close or a failed open")] = True,
    heartbeat: Annotated[float, typer.Option(help="seconds between a client's heartbeats; 0 is none")] = 0.0,
    ca: CaOption = "",
    insecure: InsecureOption = False,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json")] = "table",
) -> None:
    """Open many clients and report what they got: latency, losses, closes, nodes."""
    try:
        options = LoadOptions(
            url,
            connections,
            rate,
            expand_channels(channels),
            channels_each,
            check=check,
            resume=resume or churn is not None,
            churn=None if churn is None else span_of("churn", churn),
            open_timeout=open_timeout,
            reconnect=reconnect,
            heartbeat=heartbeat,
            marks=_marks(mark),
            ca=ca,
            insecure=insecure,
        )
        if output not in ("table", "json"):
            raise LoadError(f"output {output!r}: must be table or json")
        shot = _watch(LoadClient(options), None if hold is None else seconds_of("hold", hold))
    except LoadError as exc:
        typer.echo(f"wsnode load: {exc}", err=True)
        raise typer.Exit(2) from exc
    typer.echo(json.dumps(shot.to_dict(), indent=2) if output == "json" else summary(shot))
    if connections and not shot.opened_total:
        typer.echo("wsnode load: no connection could be opened", err=True)
        raise typer.Exit(1)
    if shot.broken:
        raise typer.Exit(1)


def _marks(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError as exc:
        raise LoadError(f"mark {text!r}: expected whole numbers, as 8000,8001") from exc


def _watch(client: LoadClient, hold: float | None) -> Snapshot:
    """Run until the hold time is over or the user has had enough; a line a second on stderr."""
    enough = threading.Event()

    def leave(_signal: int, _frame: FrameType | None) -> None:
        enough.set()

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    client.start()
    ramp_ends = (
        time.monotonic() + client.options.connections / client.options.rate + client.options.open_timeout
    )
    until: float | None = None
    end = "\r" if sys.stderr.isatty() else "\n"
    try:
        while not enough.wait(1.0):
            shot, now = client.snapshot(), time.monotonic()
            line = progress_line(shot)
            sys.stderr.write(f"{line:<118}{end}" if end == "\r" else line + end)
            sys.stderr.flush()
            if until is None and hold is not None and (shot.subscribed >= shot.wanted or now >= ramp_ends):
                until = now + hold
            if until is not None and now >= until:
                break
        if client.options.churn is not None:
            _settle(client)
    finally:
        if end == "\r":
            sys.stderr.write("\n")
        last = client.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
    return last


def _settle(client: LoadClient) -> None:
    """Nobody is cut any more: all come back and have what others have, or the figures show who has not."""
    client.calm()
    with contextlib.suppress(TimeoutError):
        client.wait_for(lambda shot: shot.subscribed >= shot.wanted and not shot.behind, _SETTLE_SECONDS)
