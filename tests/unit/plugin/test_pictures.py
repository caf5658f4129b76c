"""What a person sees, letter by letter: without colours, in a pipe and at 80 and 100 columns."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest
from rich.console import Console, RenderableType

from tests.support.fleets import fleet_document
from tests.support.seen_fleets import OLD_SHAPE, condition, node_status, seen_fleet, seen_pod
from wsfleet.cli.render_status import fleets_table, status_parts
from wsfleet.cli.render_top import fleets_parts, nodes_parts
from wsfleet.cli.words import age, percent
from wsfleet.plugin.nodes import nodes_from
from wsfleet.plugin.view import FleetView, view_of
from wsfleet.scrape import ScrapeError, parse_status

NOW = 1_764_000_000.0


def printed(parts: Iterable[RenderableType], width: int = 100) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, highlight=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def odin(**status: Any) -> FleetView:
    """Two nodes that serve, an old one that drains, and one that says nothing."""
    pods = [
        seen_pod("aaaaa", now=NOW),
        seen_pod("bbbbb", now=NOW, age=60, serving=False, shape=OLD_SHAPE),
        seen_pod("ccccc", now=NOW, age=100_000),
    ]
    answers: Any = {
        pods[0]["metadata"]["uid"]: parse_status(node_status(), 0.0),
        pods[1]["metadata"]["uid"]: parse_status(node_status(120, "closing", 118), 0.0),
        pods[2]["metadata"]["uid"]: ScrapeError("connection refused"),
    }
    fleet = seen_fleet(now=NOW, **status)
    return view_of(fleet, nodes_from(pods, answers, NOW), NOW)


ROLLING = {
    "phase": "RollingOut",
    "replicas": 3,
    "conditions": [
        condition("Ready", "True", "AllNodesReady", "2 of 2 nodes are ready", now=NOW),
        condition("Progressing", "True", "Moving", "odin-b is drained", 45, now=NOW),
        condition("Degraded", "True", "NatsNotReached", "odin-c has not reached NATS", 20, now=NOW),
        condition("FeedConnected", "Unknown", "NoFigures", "no node has told of its feed", 5, now=NOW),
        condition("Reconciling", "True", "Moving", "odin-b is drained", 45, now=NOW),
    ],
}


def test_the_status_of_a_fleet_that_rolls_out() -> None:
    assert printed(status_parts(odin(**ROLLING), 110), 110) == (
        "odin  namespace games  RollingOut\n"
        "nodes          2 of 2 ready (3 there)\n"
        "connections    8,123 of 20,000 (41 %)\n"
        "CPU            12 % (mean of the ready nodes)\n"
        "settings       in force on 2 of 3: 10,000 connections, 75.0 % CPU rejects\n"
        "last decision  1 to 2 nodes (Connections), 3m ago: 8,123 connections need 2 nodes at 80 % of 10,000\n"
        "rollout        2 of 2 new nodes ready, 1 old left; odin-b is drained\n"
        "\n"
        "Conditions\n"
        "                       for  why\n"
        "────────────────────────────────────────────────────────\n"
        "ready                   5m  2 of 2 nodes are ready\n"
        "moving                 45s  odin-b is drained\n"
        "degraded               20s  odin-c has not reached NATS\n"
        "FeedConnected unknown   5s  no node has told of its feed\n"
        "\n"
        "Nodes\n"
        "pod                    shape  machine     connections   CPU  serving  state                age\n"
        "──────────────────────────────────────────────────────────────────────────────────────────────\n"
        "odin-5c4b7a9f44-bbbbb  old    machine-1    120/10,000  12 %  no       draining (118 left)  60s\n"
        "odin-6f7d9c8b5d-aaaaa  new    machine-1  4,000/10,000  12 %  yes      serving              60m\n"
        "odin-6f7d9c8b5d-ccccc  new    machine-1             -     -  yes      serving              27h\n"
        "! no figures from 1 node; odin-6f7d9c8b5d-ccccc: connection refused"
    )


def test_a_narrow_screen_goes_without_columns_and_cuts_no_name() -> None:
    table = printed(nodes_parts(odin(), "12:00:00", 80), 80)
    assert table == (
        "12:00:00  odin  Running  2/2 nodes  4,120/20,000 connections  CPU 12 %\n"
        "pod                     connections   CPU  serving  state                age\n"
        "────────────────────────────────────────────────────────────────────────────\n"
        "odin-5c4b7a9f44-bbbbb    120/10,000  12 %  no       draining (118 left)  60s\n"
        "odin-6f7d9c8b5d-aaaaa  4,000/10,000  12 %  yes      serving              60m\n"
        "odin-6f7d9c8b5d-ccccc             -     -  yes      serving              27h\n"
        "! no figures from 1 node; odin-6f7d9c8b5d-ccccc: connection refused"
    )


def test_wide_adds_reasons_all_settings_notes_shape_memory_and_versions() -> None:
    shown = printed(status_parts(odin(**ROLLING), None, wide=True), 400)
    for line in (
        "image          registry.example/wsnode:1",
        "Degraded       True     NatsNotReached  20s  odin-c has not reached NATS",
        "Reconciling    True     Moving          45s  odin-b is drained",
        "WS_CPU_REJECT_THRESHOLD  75.0",
        "- one worker a core",
        "odin-6f7d9c8b5d-aaaaa  6f7d9c8b5d  machine-1  4,000/10,000  12 %  yes      serving"
        "              60m  300 MB  0.1.0    abc123",
    ):
        assert line in shown.splitlines()


@pytest.mark.parametrize("wide", [False, True])
def test_a_fleet_that_no_operator_has_seen_says_so(wide: bool) -> None:
    assert printed(status_parts(view_of(fleet_document(), (), NOW), 100, wide=wide)) == (
        "odin  namespace games  not seen\n"
        "operator  none has looked at this fleet yet: does one run, and does it watch this namespace?\n"
        "\n"
        "Nodes\n"
        "none"
    )


def test_an_operator_that_lags_behind_the_spec_is_told() -> None:
    shown = printed(status_parts(odin(observedGeneration=2), 100))
    assert "operator       it has not acted on the last change of the spec yet" in shown.splitlines()


def test_a_half_written_status_is_shown_with_dashes() -> None:
    fleet = fleet_document()
    fleet["status"] = {"phase": "Pending", "connections": float("nan")}
    assert printed(status_parts(view_of(fleet, None, NOW), 100)) == (
        "odin  namespace games  Pending\n"
        "nodes          - ready\n"
        "connections    -\n"
        "CPU            - (mean of the ready nodes)\n"
        "settings       in force on -\n"
        "last decision  none yet"
    )


def test_all_fleets_with_what_holds_them() -> None:
    held = condition("ScalingLimited", "True", "MaxReplicas", "the load asks for 5, maxReplicas allows 2")
    views = [odin(conditions=[held]), view_of(fleet_document("thor"), None, NOW)]
    assert printed(fleets_parts(views, "12:00:00", namespaces=True)) == (
        "12:00:00  2 fleets  8,123 of 20,000 connections\n"
        "fleet       phase     nodes  connections  full   CPU  holds                                      age\n"
        "────────────────────────────────────────────────────────────────────────────────────────────────────\n"
        "games/odin  Running     2/2        8,123  41 %  12 %  the load asks for 5, maxReplicas allows 2   3d\n"
        "games/thor  not seen    -/-            -     -     -                                               -"
    )
    assert "games" not in printed([fleets_table(views, namespaces=False)])


def test_ages_and_percents_as_people_say_them() -> None:
    seconds = (None, 0, 119, 120, 7199, 7200, 172_799, 172_800)
    assert [age(one) for one in seconds] == ["-", "0s", "119s", "2m", "119m", "2h", "47h", "2d"]
    assert [percent(one) for one in (None, 0.0, 9.94, 10.0, 99.6)] == ["-", "0.0 %", "9.9 %", "10 %", "100 %"]
