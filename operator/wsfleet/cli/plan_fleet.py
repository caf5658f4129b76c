"""`wsfleet plan --fleet NAME`: a running fleet's size and price under the seed's costs and its own.

The fleet's spec and the costs that its operator measured are read from the cluster; nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from pydantic import ValidationError

from wsfleet.api import CostStatus, CostValues, InvalidFleetError, WsFleet
from wsfleet.cli.render_parts import console, heading, pairs, table
from wsfleet.kube.contexts import namespace_of
from wsfleet.kube.errors import KubeError, NotFoundError
from wsfleet.kube.kinds import WSFLEET
from wsfleet.kube.login import Login, LoginError
from wsfleet.sizing import Comparison, Costs, Size, SizingError, compare
from wsfleet.sizing.document import number
from wsfleet.sizing.from_spec import inputs_from_spec, measured_costs
from wsfleet.sizing.text import count, mb, plain, usd

_NOT_MEASURED = "its operator has measured no costs yet"


@dataclass(frozen=True)
class FleetPlan:
    """A fleet of the cluster, its costs, and what follows from them."""

    name: str
    namespace: str
    told: CostStatus
    sizes: Comparison

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with units in the names."""
        sizes, told = self.sizes, self.told
        saving = sizes.saving_cents
        return {
            "fleet": self.name,
            "namespace": self.namespace,
            "machine": sizes.machine,
            "users": sizes.users,
            "source": told.source,
            "measured": {"sure": told.sure, "intervals": told.intervals, "message": told.message},
            "fixedCpuPercent": told.fixed_cpu_percent,
            "sizes": {
                "seed": _size(sizes.seed),
                "measured": _size(sizes.measured),
                "inForce": _size(sizes.in_force),
            },
            "savingUsdPerMonth": None if saving is None else saving / 100,
        }


def plan_fleet(name: str, namespace: str | None, kubeconfig: str | None, context: str | None) -> FleetPlan:
    """Read the fleet and size it.

    Raises:
        typer.BadParameter: no such fleet, no way to the cluster, or a spec that no plan fits.
    """
    import asyncio

    login = Login(kubeconfig=kubeconfig, context=context)
    try:
        where = namespace or namespace_of(login)
        document = asyncio.run(_read(login, where, name))
    except NotFoundError as error:
        raise typer.BadParameter(f"--fleet {name} is not there in namespace {where}: {error}") from error
    except (LoginError, KubeError) as error:
        raise typer.BadParameter(f"--fleet {name} can't be read: {error}") from error
    return made_from(document)


def made_from(document: Mapping[str, Any]) -> FleetPlan:
    """The plan of a fleet as the API server shows it.

    Raises:
        typer.BadParameter: its spec is not valid, or no plan fits it.
    """
    status = document.get("status") or {}
    told = _costs_of(status.get("costs"))
    try:
        fleet = WsFleet.parse({key: value for key, value in document.items() if key != "status"})
        inputs, overrides = inputs_from_spec(fleet.spec)
        sizes = compare(inputs, overrides, _costs(told.measured), _costs(told.in_force))
    except InvalidFleetError as error:
        raise typer.BadParameter("; ".join(error.problems)) from error
    except SizingError as error:
        raise typer.BadParameter(str(error)) from error
    return FleetPlan(fleet.metadata.name, fleet.metadata.namespace, told, sizes)


async def _read(login: Login, namespace: str, name: str) -> dict[str, Any]:
    client = await login.connect()
    try:
        return await client.get(WSFLEET, namespace, name)
    finally:
        await client.close()


def _costs_of(value: Any) -> CostStatus:
    """The costs of a status; of another release's operator only what can be read."""
    try:
        return CostStatus.model_validate(value)
    except ValidationError:
        return CostStatus(source="Seed", message=_NOT_MEASURED)


def _costs(values: CostValues | None) -> Costs | None:
    return None if values is None else measured_costs(values)


def _size(size: Size | None) -> dict[str, Any] | None:
    if size is None:
        return None
    costs, cents = size.costs, size.cents_a_month
    return {
        "messageCpuMicroseconds": number(costs.message_cpu_us),
        "intakeCpuMicroseconds": number(costs.intake_cpu_us),
        "idleCpuMicrosecondsPerSecond": number(costs.idle_cpu_us),
        "connectionMemoryBytes": number(costs.connection_memory_bytes, 1),
        "connectionsPerNode": size.connections,
        "nodes": size.nodes,
        "monthlyCostUsd": None if cents is None else cents / 100,
    }


def render_fleet_plan(made: FleetPlan) -> None:
    """The comparison as a table for people."""
    screen, sizes, told = console(), made.sizes, made.told
    screen.print(
        heading(
            f"{made.namespace}/{made.name}",
            f"{count(sizes.users)} users on {sizes.machine}; sized by costs: {told.source}",
        )
    )
    rows = [_row("seed", sizes.seed)]
    if sizes.in_force is not None:
        rows.append(_row("in force", sizes.in_force))
    if sizes.measured is not None:
        rows.append(_row("measured", sizes.measured))
    columns = ("costs", ">a message", ">published", ">idle", ">a connection", ">each", ">nodes", ">a month")
    screen.print(table(columns, rows))
    remarks = [("measured", f"{count(told.intervals)} minutes of nodes; {told.message or _NOT_MEASURED}")]
    if told.fixed_cpu_percent is not None:
        share = f"{plain(told.fixed_cpu_percent, 1)} % of a node, whatever it serves"
        remarks.append(("fixed CPU", share))
    if sizes.saving_cents is not None:
        word = "save" if sizes.saving_cents >= 0 else "cost more by"
        remarks.append(("money", f"measured costs would {word} {usd(abs(sizes.saving_cents))} a month"))
    if sizes.measured is not None and not told.sure:
        remarks.append(("careful", "not sure enough yet to size by it"))
    screen.print(pairs(remarks))


def _row(name: str, size: Size) -> tuple[str, ...]:
    costs, cents = size.costs, size.cents_a_month
    return (
        name,
        f"{plain(costs.message_cpu_us, 1)} us",
        f"{plain(costs.intake_cpu_us, 1)} us",
        f"{plain(costs.idle_cpu_us / 1000, 1)} m",
        mb(costs.connection_memory_bytes),
        count(size.connections),
        count(size.nodes),
        "?" if cents is None else usd(cents),
    )
