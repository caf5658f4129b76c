"""Figures of a load run in words: one line while it goes, a table at its end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from wsnode.load_figures import Snapshot


def progress_line(shot: Snapshot) -> str:
    """What a person wants to see each second, in one line."""
    parts = [
        f"{shot.taken_at - shot.started_at:5.0f} s",
        f"{shot.open}/{shot.wanted} open",
        f"{shot.deliveries_per_second:,.0f} deliveries/s",
    ]
    if shot.waiting:
        most = max(shot.failed_opens.items(), key=lambda item: item[1], default=None)
        why = f" (failed opens, most: {most[0]}, {most[1]})" if most else ""
        parts.append(f"{shot.waiting} waiting to retry{why}")
    if shot.latency_ms:
        parts.append(f"p99 {shot.latency_ms['p99']:g} ms")
    if shot.checked:
        parts.append(f"lost {shot.lost}")
        if shot.broken > shot.lost:
            parts.append(f"other faults {shot.broken - shot.lost}")
    if shot.resumed:
        parts.append(f"{shot.resumed} resumes, told {shot.told}")
    if shot.missed_while_away:
        parts.append(f"missed while away {shot.missed_while_away}")
    nodes = [f"{name} {int(node['open'])}" for name, node in sorted(shot.nodes.items()) if node["open"]]
    if nodes:
        parts.append(", ".join(nodes[:4]) + (f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""))
    return "  ".join(parts)


def summary(shot: Snapshot) -> str:
    """The table at the end."""
    rows: list[tuple[str, str]] = [
        ("connections", f"{shot.open} open of {shot.wanted} wanted, {shot.subscribed} subscribed"),
        ("opened", f"{shot.opened_total} in all, {shot.reconnects} of them reconnects"),
        ("failed opens", _counts(shot.failed_opens)),
        ("closes", _counts(shot.closes)),
        ("connect", _percentiles(shot.connect_ms)),
        ("messages", f"{shot.messages:,} ({shot.messages_per_second:,.1f}/s lately)"),
        ("deliveries", f"{shot.deliveries:,} ({shot.deliveries_per_second:,.0f}/s lately)"),
        ("received", f"{shot.bytes_in / 1e6:,.1f} MB, {shot.positions:,} positions, {shot.pings:,} pings"),
        ("latency", _percentiles(shot.latency_ms)),
    ]
    if shot.errors:
        rows.append(("errors told", _counts(shot.errors)))
    if shot.feed_losses:
        rows.append(("feed lost", f"told {shot.feed_losses} times"))
    if shot.checked:
        faults = (
            f"lost {shot.lost}, doubled {shot.doubled}, reordered {shot.reordered}, unasked {shot.unasked}"
        )
        rows.append(("check", ("OK: " if not shot.broken else "BROKEN: ") + faults))
        if not shot.resumed:
            rows.append(
                ("missed while away", f"{shot.missed_while_away} (between a close and the reconnect)")
            )
        rows.append(("behind", f"{shot.behind} (have not yet what others had)"))
    if shot.resumed or shot.unrecovered:
        told = f"{shot.told} ranges told as missing, {shot.unrecovered} not recovered"
        rows.append(("resumes", f"{shot.resumed:,}, {told}"))
        rows.append(("caught up", _percentiles(shot.catch_up_ms)))
    for name, node in sorted(shot.nodes.items()):
        rows.append((f"node {name}", f"{int(node['open'])} open, first seen {_clock(node['first_seen'])}"))
    for mark, when in sorted(shot.marks.items(), key=lambda item: int(item[0])):
        rows.append((f"{mark} open at", f"{_clock(when)} ({when - shot.started_at:.1f} s after the start)"))
    took = f"{shot.cpu_seconds:.1f} s of CPU, {shot.memory_bytes / 1e6:.0f} MB of memory"
    rows.append(("this process", f"{took}, in {shot.taken_at - shot.started_at:.1f} s"))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {text}" for name, text in rows]
    return "\n".join([*lines, *(f"  {note}" for note in shot.notes)])


def _counts(counts: Mapping[str, int]) -> str:
    if not counts:
        return "none"
    return ", ".join(f"{name}: {n}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))


def _percentiles(values: Mapping[str, float]) -> str:
    if not values:
        return "-"
    return ", ".join(f"{name} {value:g} ms" for name, value in values.items() if name != "count")


def _clock(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%H:%M:%S.%f")[:-3] + "Z"
