"""How long one decision takes for a large fleet: `python -m tests.bench.decide [nodes]`.

CPU time of the thread, so that a busy machine counts for little: the median and the slowest of 200 decisions
on a fleet that grows, and on one that might shrink.
"""

from __future__ import annotations

import statistics
import sys
import time

from wsfleet.scaling import DrainState, History, NodeSample, ScalingPolicy, Snapshot, decide

PERIOD_SECONDS = 5.0
DECISIONS = 200
MAX_CONNECTIONS = 10_000


def fleet(nodes: int, connections: int) -> tuple[NodeSample, ...]:
    """Ready nodes that have just answered, all about as full."""
    return tuple(
        NodeSample(
            uid=f"uid-{number}",
            name=f"odin-{number}",
            shape="a",
            machine=f"machine-{number}",
            ready=True,
            ready_seconds=5000.0,
            drain=DrainState.NONE,
            connections=connections + number % 7,
            max_connections=MAX_CONNECTIONS,
            cpu_percent=30.0,
            rejections={"cpu": number},
            sample_age_seconds=1.0,
            pod_age_seconds=5020.0,
        )
        for number in range(nodes)
    )


def measure(nodes: int, first: int, more_each_look: int) -> list[float]:
    """CPU milliseconds of each decision; the nodes begin with so many connections each."""
    policy = ScalingPolicy(max_connections=MAX_CONNECTIONS, max_replicas=5 * nodes)
    history, now, taken = History(desired=nodes), 1_800_000_000.0, []
    for look in range(DECISIONS):
        snapshot = Snapshot.of(now, fleet(nodes, first + more_each_look * look), nodes)
        began = time.thread_time()
        _, history = decide(policy, snapshot, history, now)
        taken.append((time.thread_time() - began) * 1000)
        now += PERIOD_SECONDS
    return taken


def main() -> None:
    """Print the figures."""
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for name, first, more in (("growing", 4000, 3), ("quiet", 3000, 0)):
        taken = measure(nodes, first, more)
        middle, worst = statistics.median(taken), max(taken)
        print(f"decide, {nodes:,} nodes, {name}: median {middle:.1f} ms, slowest {worst:.1f} ms of CPU")


if __name__ == "__main__":
    main()
