"""The oracle: the least node-hours that serve every instant, for one who knows the trace beforehand.

It holds the same targets as the policy (connections and CPU), starts a node so early that it is ready when it
is needed, pays for it from then on, and takes it away without cost the moment it isn't needed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from wsfleet.simulate.setup import Setup
from wsfleet.simulate.traffic import Point


def nodes_needed(setup: Setup, point: Point) -> int:
    """Nodes that serve this instant within the policy's targets and bounds."""
    policy, node = setup.policy, setup.node
    by_connections = point.connections / (policy.max_connections * policy.connections.target_percent / 100)
    each = policy.cpu.target_percent - node.fixed_cpu_percent
    work = node.cpu_percent(point.connections, point.rate) - node.fixed_cpu_percent
    by_cpu = work / each if each > 0 else 0.0
    wanted = max(math.ceil(by_connections - 1e-9), math.ceil(by_cpu - 1e-9), 1)
    return min(max(wanted, policy.min_replicas), policy.max_replicas)


def oracle_nodes(setup: Setup, points: Sequence[Point], step_seconds: float) -> list[int]:
    """Nodes paid for at each of the evenly spaced points: the most needed until a node made now is ready."""
    needed = [nodes_needed(setup, point) for point in points]
    ahead = math.ceil(setup.node.start_seconds / step_seconds)
    paid: list[int] = []
    window: deque[int] = deque()
    following = 0
    for now in range(len(needed)):
        while following < len(needed) and following <= now + ahead:
            while window and needed[window[-1]] <= needed[following]:
                window.pop()
            window.append(following)
            following += 1
        while window[0] < now:
            window.popleft()
        paid.append(needed[window[0]])
    return paid
