"""The same fleet under the seed's costs and under measured ones: connections a node, nodes, money.

Source: the design's "Honesty of the costs": measured costs always show, with the saving.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wsfleet.sizing.errors import SizingError
from wsfleet.sizing.inputs import Costs, Inputs
from wsfleet.sizing.plan import Plan, make_plan


@dataclass(frozen=True)
class Size:
    """What the rules give under some costs. Money in cents a month, None where no price is known."""

    costs: Costs
    connections: int
    nodes: int
    cents_a_month: int | None

    @classmethod
    def of(cls, plan: Plan) -> Size:
        """The size of a plan's fleet, for the users that it expects."""
        whole = plan.cost_for(plan.inputs.load.users)
        return cls(plan.inputs.costs, plan.settings.max_connections, whole.nodes, whole.cents_a_month)


@dataclass(frozen=True)
class Comparison:
    """Sizes for `users`. `measured` and `in_force` are None where there are no such costs."""

    users: int
    machine: str
    seed: Size
    measured: Size | None = None
    in_force: Size | None = None

    @property
    def saving_cents(self) -> int | None:
        """What measured costs would save a month; negative where they are above the seed's."""
        if self.measured is None or self.measured.cents_a_month is None or self.seed.cents_a_month is None:
            return None
        return self.seed.cents_a_month - self.measured.cents_a_month


def compare(
    inputs: Inputs, overrides: Mapping[str, Any], measured: Costs | None, in_force: Costs | None = None
) -> Comparison:
    """Size one fleet under each of the costs; costs under which no fleet stands are left out.

    Raises:
        SizingError: no plan can be made even with the seed's costs.
    """

    def size(costs: Costs | None) -> Size | None:
        if costs is None:
            return None
        try:
            return Size.of(make_plan(replace(inputs, costs=costs), overrides))
        except SizingError:
            return None

    return Comparison(
        users=inputs.load.users,
        machine=inputs.machine.name,
        seed=Size.of(make_plan(replace(inputs, costs=Costs()), overrides)),
        measured=size(measured),
        in_force=size(in_force),
    )
