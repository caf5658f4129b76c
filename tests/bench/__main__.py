"""`python -m tests.bench`: runs the chosen cases on the chosen servers and prints what they reach."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TypeVar

from tests.bench import provide, readme
from tests.bench.cases import CASES, USUAL_SECONDS
from tests.bench.figures import Results, from_json, to_json
from tests.bench.machine import machine, named
from tests.bench.plan import Item, items
from tests.bench.processes import BenchError, pinned
from tests.bench.provide import UnavailableError
from tests.bench.rounds import Round, run_group
from tests.bench.servers import Server, all_servers
from tests.bench.session import Cores
from tests.bench.table import markdown, ratios_table, render, servers_table, skipped_lines

_STARTED = time.monotonic()
_QUICK = {"runs": 1, "seconds": 2.0, "scale": 0.05}
_T = TypeVar("_T")


def main() -> int:
    """0 when the run came to its end, whatever the figures; 2 for a wrong choice, 130 when stopped."""
    options = _options()
    if options.read:
        saved = json.loads(Path(options.read).read_text())
        return _report(options, from_json(saved), saved["machine"])
    servers = _chosen("server", options.servers, {server.name: server for server in all_servers()})
    cases = _chosen("case", options.cases, {case.name: case for case in CASES})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    cores, facts = _cores(), machine()
    say(f"{named(facts)}; load {facts['load']}")
    say(f"server on core {_named(cores.server)}, clients, publisher and broker on {_named(cores.others)}")
    facts |= {
        "date": time.strftime("%Y-%m-%d"),
        "runs": str(options.runs),
        "window_seconds": f"{options.seconds:g}",
        "scale": f"{options.scale:g}",
    }
    results = Results(
        titles={server.name: server.title for server in servers},
        go={server.name for server in servers if server.go},
    )
    stopped = 0
    try:
        ready = _prepared(servers, results)
        with pinned(cores.others):
            _run(items(ready, cases, options.runs), cores, options, results, facts)
    except KeyboardInterrupt:
        say("stopped; what was measured until now:")
        stopped = 130
    return _report(options, results, facts) or stopped


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
    add(
        "--seconds",
        type=float,
        default=float(env("BENCH_SECONDS") or USUAL_SECONDS),
        help=f"window (BENCH_SECONDS, {USUAL_SECONDS:g})",
    )
    add("--cases", default=env("BENCH_CASES") or "", help=f"of {case_names} (BENCH_CASES, all)")
    add("--servers", default=env("BENCH_SERVERS") or "", help=f"of {server_names} (BENCH_SERVERS, all)")
    add("--scale", type=float, default=float(env("BENCH_SCALE") or 1), help="of connections (BENCH_SCALE, 1)")
    add("--quick", action="store_true", help="see that all works: one run, few clients, short windows")
    add("-o", dest="output", choices=("text", "json", "markdown"), default=env("BENCH_OUTPUT") or "text")
    add("--save", metavar="FILE", help="results as JSON, kept up to date while it runs (in the user's cache)")
    add("--read", metavar="FILE", help="show results that were saved, without a run")
    add("--readme", action="store_true", help="put the tables into the README, between its two marks")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(_QUICK)
    return options


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
    return Cores(usable[:1], usable[:2][-1:])


def _named(cores: object) -> str:
    return ", ".join(str(core) for core in cores)  # type: ignore[attr-defined]


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


def _run(
    plan: list[Item], cores: Cores, options: argparse.Namespace, results: Results, facts: dict[str, str]
) -> None:
    """All of the plan. What fails is noted and does not stop the rest."""
    save = Path(options.save) if options.save else provide.cache() / "results.json"
    planned = [item.seconds(options.seconds) for item in plan]
    began = time.monotonic()
    for number, item in enumerate(plan):
        # What is left takes as long as planned, or as much longer as what was done took.
        spent, done = time.monotonic() - began, sum(planned[:number])
        pace = max(spent / done, 0.5) if done > 60 else 1.0
        minutes = sum(planned[number:]) * pace / 60
        what = f"{item.server.title}, run {item.run + 1}"
        say(f"{number + 1} of {len(plan)}, about {minutes:.0f} min left: {what}")
        _one(item, cores, options, results)
        save.write_text(json.dumps({"machine": facts, **to_json(results)}, indent=1))
    say(f"results are in {save}")


def _one(item: Item, cores: Cores, options: argparse.Namespace, results: Results) -> None:
    server, names = item.server, [case.name for case in item.cases]
    how = Round(cores, options.seconds, options.scale, lambda what: say(f"  {what}"))
    try:
        samples = run_group(server, list(item.cases), how)
    except (BenchError, UnavailableError, OSError, AssertionError) as error:
        say(f"{server.title}, {', '.join(names)}: {error}")
        for name in names:
            results.skipped[server.name, name] = str(error)
        return
    for warning in samples.warnings:
        say(f"{server.title}: {warning}")
        results.warnings.append(f"{server.title}: {warning}")
    for name, figures in samples.figures.items():
        results.samples.setdefault((server.name, name), []).append(figures)
    if samples.steps:
        results.steps.setdefault(server.name, []).append(samples.steps)


def _report(options: argparse.Namespace, results: Results, facts: dict[str, str]) -> int:
    if options.output == "json":
        print(json.dumps({"machine": facts, **to_json(results)}, indent=1))
    else:
        _print_tables(options.output, results, facts)
    if options.readme:
        try:
            readme.write(results, facts)
        except (BenchError, OSError) as error:
            say(str(error))
            return 1
        say(f"{readme.README} has the tables")
    return 0


def _print_tables(output: str, results: Results, facts: dict[str, str]) -> None:
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
    """Once is enough: what is running is ended in order, and that is not to be interrupted."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
