"""The plan of a fleet as it is in the cluster."""

from __future__ import annotations

from wsfleet.api import InvalidFleetError, WsFleet
from wsfleet.kube.kinds import Object
from wsfleet.plugin.errors import PluginError
from wsfleet.sizing import Plan, SizingError, make_plan
from wsfleet.sizing.from_spec import inputs_from_spec


def plan_of(fleet: Object) -> Plan:
    """What the sizing rules make of a fleet's spec; its status may say anything.

    Raises:
        PluginError: the spec can't be planned; the message names the fields.
    """
    try:
        return make_plan(*inputs_from_spec(WsFleet.parse({**fleet, "status": {}}).spec))
    except InvalidFleetError as exc:
        raise PluginError("; ".join(exc.problems)) from exc
    except SizingError as exc:
        raise PluginError(f"spec.{exc}") from exc
