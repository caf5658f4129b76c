"""What the same machine would get with other choices (seed, "Alternative Configurations" and values)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from wsfleet.sizing import rules
from wsfleet.sizing.capacity import Capacity
from wsfleet.sizing.derive import derive_settings
from wsfleet.sizing.errors import SizingError
from wsfleet.sizing.inputs import Fanout, Inputs, Limits, Profile
from wsnode.config import Settings


@dataclass(frozen=True)
class RateLimits:
    """Limits for production: values of WS_MAX_NATS_RATE and WS_MAX_BROADCAST_RATE, 0 is unlimited.

    `times_published` is the first as a multiple of the publish rate, None without limit or load.
    """

    max_nats_rate: int
    max_broadcast_rate: int
    times_published: int | None


@dataclass(frozen=True)
class Alternatives:
    """Settings by profile (without overrides; a profile that leaves no connection is missing), workers
    by fan-out for the planned connections, and rate limits by name."""

    profiles: Mapping[Profile, Settings]
    workers: Mapping[Fanout, int]
    limits: Mapping[Limits, RateLimits]


def make_alternatives(inputs: Inputs, capacity: Capacity, connections: int) -> Alternatives:
    """The other choices for checked inputs."""
    return Alternatives(
        profiles=_profiles(inputs, capacity),
        workers={
            fanout: rules.worker_pool_size(connections, fanout.connections_per_worker) for fanout in Fanout
        },
        limits={limits: _rate_limits(limits, inputs) for limits in Limits},
    )


def _profiles(inputs: Inputs, capacity: Capacity) -> dict[Profile, Settings]:
    found = {}
    for profile in Profile:
        try:
            found[profile] = derive_settings(replace(inputs, profile=profile), capacity, {}).settings
        except SizingError:
            continue
    return found


def _rate_limits(limits: Limits, inputs: Inputs) -> RateLimits:
    nats, publish = rules.max_nats_rate(limits), inputs.load.publish_rate
    times = int(nats // publish) if nats and publish else None
    return RateLimits(nats, rules.max_broadcast_rate(limits), times)
