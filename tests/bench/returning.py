"""Clients that come: a storm of new ones, all with a past to be given, each again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.bench.cases import LIVE_CLIENTS, RESUMED_EACH, USUAL_SECONDS, Case
from tests.bench.figures import Figures
from tests.bench.processes import BenchError, Child
from tests.bench.session import FLIGHT, Crowd, Session
from tests.bench.window import WARM_SECONDS

_STORM_CHANNEL = "STORM.none"
"""Nobody publishes to it: whoever storms in costs no deliveries."""
_LIVE_CHANNEL, _LIVE_RATE = "LIVE.trade", 10.0
_RESUME_SECONDS = 60.0
_LOOK_SECONDS, _STATUS_SECONDS = 0.05, 0.5
_LEAST_ALONE, _MOST_ALONE, _MOST_AWAY = 5.0, 15.0, 1.0
_REST_SECONDS = 20.0
_SAY_SECONDS = 20.0


def live(on: Session, case: Case) -> Figures:
    """Latency of those who are there already, first quiet, then while the others come."""
    on.crowd.open(on.count(LIVE_CLIENTS), case.subscriptions())
    quiet = _quiet(on, on.publisher, case.rate, on.crowd)
    storm = on.another_crowd(on.server.dialect, compiled=True)
    on.crowd.child.ask(verb="reset")
    before = on.cpu_seconds()
    answer = storm.open(on.count(case.connections), [[_STORM_CHANNEL]])
    spent = on.cpu_seconds() - before
    # The last message of the storm is still to be read.
    time.sleep(1 / case.rate)
    busy = on.crowd.figures()["latency_ms"]
    on.publisher.ask(verb="rate", rate=0)
    return {
        "quiet_p99_ms": quiet,
        "busy_p99_ms": busy.get("p99", 0.0),
        "connects_per_second": storm.opened / answer["seconds"],
        "core_percent": spent / answer["seconds"] * 100,
    }


def resumes(on: Session, case: Case) -> Figures:
    """All come at once, each to be given what it missed on its channel; then one message more for each."""
    on.crowd.open(on.count(LIVE_CLIENTS), [[_LIVE_CHANNEL]])
    live_publisher = on.another_publisher([_LIVE_CHANNEL])
    quiet = _quiet(on, live_publisher, _LIVE_RATE, on.crowd)
    live_publisher.ask(verb="rate", rate=0)
    feed = _read_all(on, _send(on, case.channels))
    first = on.publisher.ask(verb="count")["count"] // case.channels + 1
    _read_all(on, _send(on, RESUMED_EACH * case.channels))
    coming = on.another_crowd(on.server.dialect, compiled=True)
    live_publisher.ask(verb="rate", rate=_LIVE_RATE)
    time.sleep(WARM_SECONDS)
    on.crowd.child.ask(verb="reset")
    resident, cpu, count = on.resident_bytes(), on.cpu_seconds(), on.count(case.connections)
    coming.child.ask(
        verb="launch",
        count=count,
        flight=FLIGHT,
        channels=case.channel_names(),
        epoch=feed["epoch"],
        seq=feed["position"],
        next=first,
    )
    began = time.monotonic()
    peak, paused = _until_given(on, coming, count, first + RESUMED_EACH - 1)
    took, spent = time.monotonic() - began, on.cpu_seconds() - cpu
    busy = on.crowd.figures()["latency_ms"]
    live_publisher.ask(verb="rate", rate=0)
    _send(on, case.channels)
    seen = _rested(coming, first + RESUMED_EACH)
    return {
        "resumed_seconds": took,
        "lost": float(seen["lost_ticks"] + seen["lacking"]),
        "doubled": float(seen["doubled"]),
        "told": float(seen["told"]),
        "refused": float(seen["refused"]),
        "quiet_p99_ms": quiet,
        "busy_p99_ms": busy.get("p99", 0.0),
        "peak_kb": (peak - resident) / count / 1024,
        "paused": float(paused),
        "us_per_connect": spent / count * 1e6,
    }


def drops(on: Session, case: Case, progress: Callable[[str], None]) -> Figures:
    """Clients with one channel are cut without a word, come back within a second, and resume."""
    _read_all(on, _send(on, 1))
    crowd, count = on.crowd, on.count(case.connections)
    crowd.child.ask(verb="launch", count=count, flight=FLIGHT, channels=case.channel_names(), next=2)
    crowd.opened = count
    end = time.monotonic() + _RESUME_SECONDS
    while crowd.figures()["subscribed"] < count:
        if time.monotonic() > end:
            raise BenchError(f"{crowd.figures()['subscribed']} of {count} connections opened")
        time.sleep(_LOOK_SECONDS)
    cpu, began = on.cpu_seconds(), time.monotonic()
    crowd.child.ask(verb="reset")
    on.publisher.ask(verb="rate", rate=case.rate)
    crowd.child.ask(verb="cut", least=_LEAST_ALONE, most=_MOST_ALONE, away=_MOST_AWAY)
    seconds = case.seconds * min(on.seconds / USUAL_SECONDS, 1.0)
    while (left := began + seconds - time.monotonic()) > 0:
        time.sleep(min(left, _SAY_SECONDS))
        progress(f"{case.name}, {crowd.figures()['cuts']:,} cuts")
    last = on.publisher.ask(verb="rate", rate=0)["count"]
    crowd.child.ask(verb="calm")
    spent, span = on.cpu_seconds() - cpu, time.monotonic() - began
    client_cpu = crowd.figures()["cpu_seconds"]
    seen = _rested(crowd, last)
    wanted = count * (last - 1)
    lost = seen["lost_ticks"] + seen["lacking"]
    return {
        "delivered_percent": 100 * (1 - lost / max(wanted, 1)),
        "lost": float(lost),
        "doubled": float(seen["doubled"]),
        "told": float(seen["told"]),
        "refused": float(seen["refused"]),
        "cuts": float(seen["cuts"]),
        "core_percent": spent / span * 100,
        "client_percent": client_cpu / span * 100,
    }


def _quiet(on: Session, publisher: Child, rate: float, crowd: Crowd) -> float:
    """The p99 of a crowd while nothing else happens, in milliseconds; the publisher goes on."""
    publisher.ask(verb="rate", rate=rate)
    time.sleep(WARM_SECONDS)
    crowd.child.ask(verb="reset")
    time.sleep(on.seconds)
    latency: dict[str, float] = crowd.figures()["latency_ms"]
    return latency.get("p99", 0.0)


def _send(on: Session, count: int) -> int:
    """Publishes so many messages at once; returns how many the node had read before."""
    before = int(on.status()["messages"]["in"])
    on.publisher.ask(verb="send", count=count)
    return before + count


def _read_all(on: Session, messages: int) -> dict[str, Any]:
    """The node's feed, once it has read so many. Raises BenchError."""
    end = time.monotonic() + _REST_SECONDS
    while time.monotonic() < end:
        status = on.status()
        if status["messages"]["in"] >= messages:
            feed: dict[str, Any] = status["feed"]
            return feed
        time.sleep(_LOOK_SECONDS)
    raise BenchError("the node does not read what is published")


def _until_given(on: Session, coming: Crowd, count: int, upto: int) -> tuple[int, bool]:
    """Until all have all that they missed, or no more comes: most resident bytes, and whether it paused."""
    end, looked, peak, paused = time.monotonic() + _RESUME_SECONDS, 0.0, 0, False
    while time.monotonic() < end:
        seen = coming.figures(upto=upto)
        peak = max(peak, on.resident_bytes())
        if not seen["behind"] and not seen["waiting"] and seen["subscribed"] == count:
            break
        if time.monotonic() - looked > _STATUS_SECONDS:
            looked = time.monotonic()
            paused = paused or bool(on.status()["feed"]["paused"])
        time.sleep(_LOOK_SECONDS)
    return peak, paused or bool(on.status()["feed"]["paused"])


def _rested(crowd: Crowd, upto: int) -> dict[str, Any]:
    """Figures once all have the ticks up to this number, or the time is up."""
    end = time.monotonic() + _REST_SECONDS
    while (seen := crowd.figures(upto=upto))["behind"] and time.monotonic() < end:
        time.sleep(0.2)
    return seen
