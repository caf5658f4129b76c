"""Taking one node out of a fleet without dropping anyone."""

from __future__ import annotations

from wsfleet.scaling.policy import RetirePolicy
from wsfleet.scaling.world import Step, World


def next_scale_in_step(world: World, policy: RetirePolicy) -> Step:
    """The one next step of bringing the fleet down to `world.desired`, or of giving that up."""
    raise NotImplementedError
