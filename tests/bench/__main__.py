"""`python -m tests.bench`: runs the chosen cases on the chosen servers and prints what they reach."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import TypeVar

from tests.bench.cases import CASES, OWN, Case
from tests.bench.figures import Results, from_json, to_json
from tests.bench.machine import machine, named
from tests.bench.processes import BenchError
from tests.bench.provide import UnavailableError
from tests.bench.rounds import Cores, NotOfferedError, offers, run_group
from tests.bench.servers import Server, all_servers
from tests.bench.table import markdown, ratios_table, render, servers_table, skipped_lines

_STARTED = time.monotonic()
_T = TypeVar("_T")


def main() -> int:
    """0 when the run came to its end, whatever the figures; 2 for a wrong choice."""
    options = _options()
    if options.read:
        saved = json.loads(Path(options.read).read_text())
        _report(options.output, from_json(saved), saved["machine"])
        return 0
    signal.signal(signal.SIGTERM, _stop)
    servers = _chosen("server", options.servers, {server.name: server for server in all_servers()})
    cases = _chosen("case", options.cases, {case.name: case for case in CASES})
    cores, facts = _cores(), machine()
    say(f"{named(facts)}; load {facts['load']}")
    say(f"server on core {cores.server}, clients, publisher and broker on core {cores.others}")
    facts |= {
        "runs": str(options.runs),
        "window_seconds": f"{options.seconds:g}",
        "scale": f"{options.scale:g}",
    }
    results = Results(
        titles={server.name: server.title for server in servers},
        go={server.name for server in servers if server.go},
    )
    ready = _prepared(servers, results)
    try:
        cases = [case for case in cases if _offered(case, ready, cores, results)]
        for number in range(options.runs):
            for server in ready:
                _one_run(server, cases, cores, options, results, f"{number + 1}/{options.runs}")
    except KeyboardInterrupt:
        say("stopped; what was measured until now:")
    _report(options.output, results, facts)
    return 0


def say(message: str) -> None:
    """Progress, apart from the results."""
    print(f"[{time.monotonic() - _STARTED:6.1f}s] {message}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    env = os.environ.get
    case_names = ",".join(case.name for case in CASES)
    server_names = ",".join(server.name for server in all_servers())
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    add = parser.add_argument
    add("--runs", type=int, default=int(env("BENCH_RUNS") or 3), help="median of so many (BENCH_RUNS, 3)")
    add("--seconds", type=float, default=float(env("BENCH_SECONDS") or 10), help="window (BENCH_SECONDS, 10)")
    add("--cases", default=env("BENCH_CASES") or "", help=f"of {case_names} (BENCH_CASES, all)")
    add("--servers", default=env("BENCH_SERVERS") or "", help=f"of {server_names} (BENCH_SERVERS, all)")
    add("--scale", type=float, default=float(env("BENCH_SCALE") or 1), help="of connections (BENCH_SCALE, 1)")
    add("-o", dest="output", choices=("text", "json", "markdown"), default=env("BENCH_OUTPUT") or "text")
    add("--read", metavar="FILE", help="show the results that -o json has written, without a run")
    return parser.parse_args()


def _chosen(what: str, text: str, known: dict[str, _T]) -> list[_T]:
    names = [name for name in text.split(",") if name] or list(known)
    for name in names:
        if name not in known:
            print(f"{what} {name!r}: choose from {', '.join(known)}", file=sys.stderr)
            raise SystemExit(2)
    return [value for name, value in known.items() if name in names]


def _cores() -> Cores:
    """The first two cores that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        say("one core only: server and clients share it, and the figures say little")
    return Cores(usable[0], usable[min(1, len(usable) - 1)])


def _prepared(servers: list[Server], results: Results) -> list[Server]:
    ready = []
    for server in servers:
        try:
            server.prepare(say)
            ready.append(server)
        except UnavailableError as error:
            say(f"{server.title} left out: {error}")
            results.skipped[server.name, "*"] = str(error)
    return ready


def _offered(case: Case, servers: list[Server], cores: Cores, results: Results) -> bool:
    """False when the case needs what the node does not have, or the node was not chosen."""
    if not case.own:
        return True
    for server in servers:
        if server.name == OWN:
            try:
                offers(server, case, cores)
                return True
            except (NotOfferedError, BenchError) as error:
                say(f"{case.name} left out: {error}")
                results.skipped[OWN, case.name] = str(error)
    return False


def _one_run(
    server: Server,
    cases: list[Case],
    cores: Cores,
    options: argparse.Namespace,
    results: Results,
    number: str,
) -> None:
    """All cases on one server. What fails is noted and does not stop the rest."""
    wanted = [case for case in cases if server.name == OWN or not case.own]
    for _, members in groupby(wanted, key=lambda case: case.group):
        group = list(members)

        def progress(what: str) -> None:
            say(f"{number} {server.title}: {what}")

        try:
            samples = run_group(
                server, group, cores, seconds=options.seconds, scale=options.scale, progress=progress
            )
        except (BenchError, OSError, AssertionError) as error:
            say(f"{server.title}, {group[0].group}: {error}")
            for case in group:
                results.skipped[server.name, case.name] = str(error)
            continue
        for warning in samples.warnings:
            say(f"{server.title}: {warning}")
            results.warnings.append(f"{server.title}: {warning}")
        for name, figures in samples.figures.items():
            results.samples.setdefault((server.name, name), []).append(figures)
        if samples.steps:
            results.steps.setdefault(server.name, []).append(samples.steps)


def _report(output: str, results: Results, facts: dict[str, str]) -> None:
    if output == "json":
        print(json.dumps({"machine": facts, **to_json(results)}, indent=1))
        return
    draw = markdown if output == "markdown" else render
    print(f"\n{named(facts)}; median of {facts['runs']}, windows of {facts['window_seconds']} s")
    if facts["scale"] != "1":
        print(f"A trial: {facts['scale']} of the connections that the cases name; no figure for comparison.")
    for case in CASES:
        if rows := servers_table(case, results):
            print(f"\n{case.name}: {case.title}\n\n{draw(rows)}")
    ratios = ratios_table(results)
    if len(ratios) > 1:
        print(f"\nAgainst the targets\n\n{draw(ratios)}")
    for line in [*skipped_lines(results), *results.warnings]:
        print(f"- {line}")


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
