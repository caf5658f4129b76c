"""`python -m tests.bench.operator_scale`: what one operator takes for many fleets, or many nodes.

An operator process on one core, a scripted world on another. Prints CPU and memory, how often each
node was sampled (5 s is the aim), the writes an idle fleet causes (1 a minute is the bound), and the
longest time for which the operator's loop could not turn (at 2.5 s it gives up its lease).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.bench.processes import BenchError, cpu_seconds, resident_bytes

_INSIDE = "WSFLEET_BENCH_INSIDE"
_SETTLE_SECONDS = 240.0
_METRICS_PORT = 18082
_DECIDED = "wsfleet_fleet_desired_nodes"  # has a series of each fleet that was looked at


def main() -> int:
    options = _options()
    if not os.environ.get(_INSIDE) and os.geteuid() == 0:
        _enter_namespace()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "tests.bench.operator_world", folder]
        world = _started([*argv, str(options.fleets), str(options.nodes)], cores[-1], stdout=subprocess.PIPE)
        operator = None
        try:
            assert world.stdout is not None
            told = json.loads(world.stdout.readline() or "{}")
            if not told:
                raise BenchError("the world ended: is port 9102 taken?")
            operator = _operator(told["kubeconfig"], Path(folder) / "operator.log", cores[0])
            began = time.monotonic()
            expected = options.fleets * options.nodes
            settled = _settle(told["port"], operator, expected, began)
            print(f"{options.fleets} fleets of {options.nodes} nodes; all sampled after {settled:.1f} s")
            print(f"longest hold of the loop until then {_late():.2f} s", flush=True)
            time.sleep(options.warm)
            _report(told["port"])
            _measure(operator, told["port"], options.seconds, options.fleets)
            if options.restart:
                operator.kill()
                operator.wait()
                _report(told["port"])
                operator = _operator(told["kubeconfig"], Path(folder) / "again.log", cores[0])
                led, decided, again = _resample(told["port"], operator, expected, options.fleets)
                print(
                    f"a new operator leads after {led:.1f} s, has decided on each fleet after "
                    f"{decided:.1f} s, sampled all nodes after {again:.1f} s; longest hold {_late():.2f} s"
                )
        finally:
            for process in (operator, world):
                if process is not None:
                    process.kill()
                    process.wait()
            if options.log:
                print((Path(folder) / "operator.log").read_text()[-4000:])
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.operator_scale", description=__doc__)
    parser.add_argument("--fleets", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=1, help="nodes a fleet")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured")
    parser.add_argument("--warm", type=float, default=20.0, help="seconds before that")
    parser.add_argument("--restart", action="store_true", help="then kill it, and time a successor")
    parser.add_argument("--log", action="store_true", help="print the end of the operator's log")
    return parser.parse_args()


def _enter_namespace() -> None:
    """Go on in a network namespace, where nobody else has the port; where that can't be, as we are."""
    inner = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-m", __spec__.name]
    try:
        done = subprocess.run(["unshare", "--net", "true"], capture_output=True)
    except OSError:
        return
    if done.returncode == 0:
        os.environ[_INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--net", *inner, *sys.argv[1:]])


def _started(argv: list[str], core: int, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, preexec_fn=lambda: os.sched_setaffinity(0, {core}), **options)


def _operator(kubeconfig: str, log: Path, core: int) -> subprocess.Popen[bytes]:
    profile = os.environ.get("WSFLEET_BENCH_PROFILE")
    main = "from wsfleet.cli import main; main()"
    if profile:
        main = (
            "import cProfile, signal, sys, os\n"
            "p = cProfile.Profile()\n"
            f"def dump(*_): p.disable(); p.dump_stats({profile!r}); os._exit(0)\n"
            "signal.signal(signal.SIGUSR1, lambda *_: p.enable())\n"
            "signal.signal(signal.SIGUSR2, dump)\n"
        ) + main
    argv = [sys.executable, "-c", main, "operator", "--kubeconfig", kubeconfig]
    argv += ["--metrics-port", str(_METRICS_PORT), "--liveness", "http://127.0.0.1:18081/healthz"]
    env = {
        **os.environ,
        "WSFLEET_ADMIN_VIA_PROXY": "false",
        "WSFLEET_LEASE": "wsfleet-operator",
        "WSFLEET_OPERATOR_NAMESPACE": "games",
        "WSFLEET_LOG_LEVEL": "warning",
    }
    with log.open("wb") as output:
        return _started(argv, core, stdout=output, stderr=output, env=env)


def _report(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/report", timeout=60) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def _settle(port: int, operator: subprocess.Popen[bytes], expected: int, began: float) -> float:
    while time.monotonic() - began < _SETTLE_SECONDS:
        if operator.poll() is not None:
            raise BenchError("the operator ended")
        report = _report(port)
        if report["sampled"] >= expected:
            return time.monotonic() - began
        time.sleep(0.5)
    raise BenchError(f"{report['nodes']} pods, {report['sampled']} of {expected} sampled: {report}")


def _resample(
    port: int, operator: subprocess.Popen[bytes], expected: int, fleets: int
) -> tuple[float, float, float]:
    """Seconds until a new operator leads, has decided on each fleet, and has asked all nodes."""
    began, scrapes, led, decided = time.monotonic(), 0, 0.0, 0.0
    while scrapes < expected or not decided:
        if operator.poll() is not None:
            raise BenchError("the operator ended")
        if time.monotonic() - began > _SETTLE_SECONDS:
            raise BenchError(f"{scrapes} of {expected} sampled, {len(_series(_DECIDED))} fleets decided on")
        scrapes += _report(port)["scrapes"]
        if not led and _series("wsfleet_leads") == [1.0]:
            led = time.monotonic() - began
        if not decided and len(_series(_DECIDED)) >= fleets:
            decided = time.monotonic() - began
        time.sleep(0.2)
    return led, decided, time.monotonic() - began


def _series(name: str) -> list[float]:
    """The values of one of the operator's metrics; none while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{_METRICS_PORT}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    except OSError:
        return []
    lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return [float(line.rpartition(" ")[2]) for line in lines]


def _late() -> float:
    return max(_series("wsfleet_loop_late_seconds"), default=float("nan"))


def _measure(operator: subprocess.Popen[bytes], port: int, seconds: float, fleets: int) -> None:
    if os.environ.get("WSFLEET_BENCH_PROFILE"):
        operator.send_signal(signal.SIGUSR1)
    before, began = cpu_seconds(operator.pid), time.monotonic()
    most, end = 0, began + seconds
    while time.monotonic() < end:
        most = max(most, resident_bytes(operator.pid))
        time.sleep(1)
    late = _late()
    report, passed = _report(port), time.monotonic() - began
    cpu = (cpu_seconds(operator.pid) - before) / passed
    if os.environ.get("WSFLEET_BENCH_PROFILE"):
        operator.send_signal(signal.SIGUSR2)
    minutes = passed / 60
    print(f"CPU {100 * cpu:.0f} % of a core, memory {most / 2**20:.0f} MiB; longest hold {late:.2f} s")
    print(
        f"{report['scrapes'] / passed:.0f} samples/s; each node every {report['gap_median']:.2f} s (median), "
        f"{report['gap_p99']:.2f} s (p99), {report['gap_max']:.2f} s (longest)"
    )
    print(f"{report['writes'] / minutes / fleets:.2f} writes a minute and fleet: {report['kinds']}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
