"""Bringing a fleet to a new shape: surge one, wait Ready, drain an old one, shrink, go on."""

from __future__ import annotations

from wsfleet.scaling.policy import RolloutPolicy
from wsfleet.scaling.world import Step, World


def is_rolling(world: World, policy: RolloutPolicy) -> bool:
    """Whether pods are being replaced: of another shape, or on a machine that is being emptied."""
    raise NotImplementedError


def next_rollout_step(world: World, policy: RolloutPolicy) -> Step:
    """The one next step of bringing all nodes to the target shape and growing the fleet to its size."""
    raise NotImplementedError


def next_fleet_step(world: World, policy: RolloutPolicy) -> Step:
    """Rollout, growth and scale-in in one: what the reconcile loop calls; never two of them at once."""
    raise NotImplementedError
