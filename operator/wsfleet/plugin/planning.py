"""The plan of a fleet as it is in the cluster."""

from __future__ import annotations

from pydantic import ValidationError

from wsfleet.api import CostStatus, InvalidFleetError, WsFleet
from wsfleet.kube.kinds import Object
from wsfleet.plugin.errors import PluginError
from wsfleet.plugin.reading import at
from wsfleet.sizing import Costs, Plan, SizingError, make_plan
from wsfleet.sizing.from_spec import inputs_from_spec, measured_costs


def plan_of(fleet: Object) -> Plan:
    """What the sizing rules make of a fleet's spec, under the costs that its operator has in force.

    Raises:
        PluginError: the spec can't be planned; the message names the fields.
    """
    try:
        spec = WsFleet.parse({**fleet, "status": {}}).spec
        return make_plan(*inputs_from_spec(spec, _in_force(fleet)))
    except InvalidFleetError as exc:
        raise PluginError("; ".join(exc.problems)) from exc
    except SizingError as exc:
        raise PluginError(f"spec.{exc}") from exc


def _in_force(fleet: Object) -> Costs | None:
    """The measured costs that the fleet is sized by; None where it is sized by others, or none are told."""
    try:
        told = CostStatus.model_validate(at(fleet, "status", "costs"))
    except ValidationError:
        return None
    return None if told.in_force is None else measured_costs(told.in_force)
