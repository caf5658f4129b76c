"""What a simulated fleet is made of: machines, clients, the policy. Values with their units in the names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from wsfleet.api import WsFleetSpec
from wsfleet.scaling import RebalancePolicy, RolloutPolicy, ScalingPolicy
from wsfleet.scaling.from_spec import (
    policy_from_spec,
    rebalance_policy_from_spec,
    rollout_policy_from_spec,
)
from wsfleet.sizing import make_plan
from wsfleet.sizing.from_spec import inputs_from_spec
from wsfleet.sizing.projections import HOURS_A_MONTH


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeModel:
    """One node. The defaults are those of a node's settings, and of the sizing document's costs.

    `fixed_cpu_percent` is spent whatever is served. `handshake_cpu_us` is CPU a new client;
    `accepts_per_second` bounds them, who waits longer stays in the listener's queue. `cost_spread` is by what
    share (one standard deviation) a message's CPU differs from node to node: machines are not alike.
    `kept_seconds` is how long the stream keeps a message that a node has not read yet. `answer_seconds` is
    the CPU's time for an answer of the admin port.
    """

    max_connections: int = 10_000
    cpus: float = 1.8
    message_cpu_us: float = 100.0
    cost_spread: float = 0.03
    kept_seconds: float = 30.0
    answer_seconds: float = 0.02
    handshake_cpu_us: float = 300.0
    fixed_cpu_percent: float = 3.0
    accepts_per_second: float = 1000.0
    cpu_window_seconds: float = 5.0
    reject_percent: float = 75.0
    pause_percent: float = 80.0
    start_seconds: float = 10.0
    ring_fill_seconds: float = 10.0
    ring_fill_percent: float = 20.0
    drain_delay_seconds: float = 10.0
    drain_timeout_seconds: float = 300.0
    drain_rate: float = 100.0
    """Closes a second of a SIGTERM."""
    price_usd_per_hour: float = 0.0

    def cpu_percent(self, connections: float, rate: float) -> float:
        """CPU % of a node that serves so many connections at `rate` messages/s each."""
        return self.fixed_cpu_percent + connections * rate * self.message_cpu_us / 1e4 / self.cpus


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientModel:
    """How clients behave: mean length of a session, and the first and longest bound of full jitter."""

    session_seconds: float = 1800.0
    first_retry_seconds: float = 1.0
    longest_retry_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What is seen of the nodes: noise of CPU (a share), figures that get lost (a share).

    A round of scrapes begins each `scrape_seconds` and is over after `delay_seconds`. A node that does not
    answer makes it `timeout_seconds`, more of them longer still, as the operator's scraper does it.
    """

    scrape_seconds: float = 5.0
    delay_seconds: float = 1.0
    timeout_seconds: float = 2.0
    round_seconds: float = 4.0
    silent_at_once: int = 4
    cpu_noise: float = 0.03
    missing_share: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """All that stays the same through one simulation."""

    node: NodeModel = field(default_factory=NodeModel)
    clients: ClientModel = field(default_factory=ClientModel)
    watching: Watching = field(default_factory=Watching)
    policy: ScalingPolicy = field(default_factory=lambda: ScalingPolicy(max_connections=10_000))
    rollout: RolloutPolicy = field(default_factory=RolloutPolicy)
    rebalance: RebalancePolicy = field(default_factory=RebalancePolicy)
    closes_per_second: float | None = None
    spec: WsFleetSpec | None = None
    message_rate: float = 1.0
    publish_rate: float = 12.0
    """Messages a second that each process of a node takes in, at `message_rate`."""

    def with_bounds(self, lowest: int, highest: int) -> Setup:
        """With other bounds of the size, as a scenario of another scale needs them."""
        policy = replace(self.policy, min_replicas=min(lowest, highest), max_replicas=highest)
        return replace(self, policy=policy)


def default_spec() -> WsFleetSpec:
    """The fleet that is simulated where none is given: e2-small, 10,000 connections, one message a second."""
    return WsFleetSpec.model_validate(
        {
            "nats": {"url": "nats://nats:4222"},
            "load": {"messagesPerSecond": 1},
            "overrides": {"maxConnections": 10_000},
            "autoscaling": {"minReplicas": 2, "maxReplicas": 1000},
        }
    )


def setup_from_spec(spec: WsFleetSpec, **node: float) -> Setup:
    """A simulation of this fleet: its plan's settings and costs, its policies; `node` over the node's model.

    Raises:
        SizingError: the spec's machine or load can't be planned for.
    """
    inputs, overrides = inputs_from_spec(spec)
    plan = make_plan(inputs, overrides)
    settings = plan.settings
    cents = inputs.machine.monthly_cost_cents or 0
    model = NodeModel(
        max_connections=settings.max_connections,
        cpus=settings.cpu_limit or inputs.machine.cpu_millis / 1000,
        message_cpu_us=float(inputs.costs.message_cpu_us),
        reject_percent=settings.cpu_reject_threshold,
        pause_percent=settings.cpu_pause_threshold,
        drain_delay_seconds=settings.drain_delay,
        drain_rate=settings.drain_rate,
        drain_timeout_seconds=settings.drain_timeout,
        kept_seconds=settings.js_stream_max_age,
        price_usd_per_hour=cents / 100 / HOURS_A_MONTH,
    )
    return Setup(
        node=replace(model, **node),  # type: ignore[arg-type]
        policy=policy_from_spec(spec, plan),
        rollout=rollout_policy_from_spec(spec, plan),
        rebalance=rebalance_policy_from_spec(spec, plan),
        closes_per_second=spec.reconnects.per_second,
        spec=spec,
        message_rate=float(inputs.load.message_rate),
        publish_rate=float(inputs.load.publish_rate),
    )


def spec_from_file(path: Path) -> WsFleetSpec:
    """The spec of the WsFleet in a YAML file.

    Raises:
        ValueError: no WsFleet in it, or a wrong field.
        OSError: the file can't be read.
    """
    import yaml

    try:
        documents = [one for one in yaml.safe_load_all(path.read_text("utf-8")) if isinstance(one, dict)]
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: no YAML: {error}") from error
    fleets = [one for one in documents if one.get("kind") == "WsFleet"]
    if len(fleets) != 1:
        raise ValueError(f"{path}: {len(fleets)} WsFleets in it; must be one")
    return WsFleetSpec.model_validate(fleets[0].get("spec") or {})
