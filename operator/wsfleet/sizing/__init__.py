"""Sizing: from a machine, a load and what traffic costs to a node's settings and a fleet's size.

Pure: values in, values out. `make_plan` is the entrance, `Plan` what comes out; the operator and
`wsfleet plan` use the same. Source of every rule: the seed document on sizing, section by section.
"""

from wsfleet.sizing.comparison import Comparison, Size, compare
from wsfleet.sizing.errors import SizingError
from wsfleet.sizing.inputs import (
    SEED_LOAD,
    USER_RATES,
    Costs,
    CostSource,
    Drain,
    Fanout,
    Inputs,
    Limits,
    Load,
    Profile,
    Reserved,
    StreamLimits,
    Triggers,
    choose_machine,
    exact,
    mixed_rates,
)
from wsfleet.sizing.machines import MACHINES, Machine, machine_by_hand, machine_with
from wsfleet.sizing.plan import SEED_FIELDS, Plan, PodResources, make_plan

__all__ = [
    "MACHINES",
    "SEED_FIELDS",
    "SEED_LOAD",
    "USER_RATES",
    "Comparison",
    "CostSource",
    "Costs",
    "Drain",
    "Fanout",
    "Inputs",
    "Limits",
    "Load",
    "Machine",
    "Plan",
    "PodResources",
    "Profile",
    "Reserved",
    "Size",
    "SizingError",
    "StreamLimits",
    "Triggers",
    "choose_machine",
    "compare",
    "exact",
    "machine_by_hand",
    "machine_with",
    "make_plan",
    "mixed_rates",
]
