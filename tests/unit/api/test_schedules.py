"""Minima by schedule as users write them: what is taken, and what is refused with the field's path."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wsfleet.api import InvalidFleetError, WsFleet
from wsfleet.api.crd import build_crd


def fleet(**entry: Any) -> dict[str, Any]:
    schedules = [{"cron": "0 8 * * 1-5", "minReplicas": 2} | entry]
    return {
        "metadata": {"name": "odin"},
        "spec": {
            "nats": {"url": "nats://nats:4222"},
            "autoscaling": {"maxReplicas": 4, "schedules": schedules},
        },
    }


def pattern(field: str) -> str:
    schema = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    auto = schema["properties"]["spec"]["properties"]["autoscaling"]["properties"]
    return str(auto["schedules"]["items"]["properties"][field]["pattern"])


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *",
        "0 8 * * 1-5",
        "0 8 * * MON-FRI",
        "*/15 0,12 1-7 jan-mar *",
        "59 23 31 12 7",
        "5-55/10 08 * * sun,sat",
    ],
)
def test_times_as_in_crontab(cron: str) -> None:
    assert WsFleet.parse(fleet(cron=cron)).spec.autoscaling is not None


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "0 8 * *",
        "0 8 * * 1-5 7",
        "60 8 * * *",
        "0 24 * * *",
        "0 8 0 * *",
        "0 8 32 * *",
        "0 8 * 13 *",
        "0 8 * * 8",
        "0 8 * * FUN",
        "@daily",
        "0  8 * * *",
        "0 8 * * *\n",
    ],
)
def test_what_is_no_time_is_refused_by_the_schema_itself(cron: str) -> None:
    assert len(cron) < 9 or not re.fullmatch(pattern("cron"), cron)
    with pytest.raises(InvalidFleetError) as caught:
        WsFleet.parse(fleet(cron=cron))
    assert caught.value.problems[0].startswith("spec.autoscaling.schedules[0].cron: ")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"cron": "0 8 * * 5-1"}, "schedules[0].cron: '0 8 * * 5-1' is no time: "),
        ({"cron": "0 8 31 2 *"}, "schedules[0].cron: '0 8 31 2 *' is no time: "),
        ({"cron": "*/0 8 * * *"}, "schedules[0].cron: '*/0 8 * * *' is no time: "),
        (
            {"timeZone": "Europe/Atlantis"},
            "schedules[0].timeZone: 'Europe/Atlantis' is no time zone of the IANA",
        ),
        ({"timeZone": "Europe"}, "schedules[0].timeZone: 'Europe' is no time zone of the IANA"),
        ({"timeZone": "../etc/passwd"}, "schedules[0].timeZone: "),
        ({"minReplicas": 0}, "schedules[0].minReplicas: "),
        ({"durationSeconds": 59}, "schedules[0].durationSeconds: "),
        ({"minReplicas": 5}, "schedules: a schedule's minReplicas must not be above maxReplicas"),
    ],
)
def test_what_only_the_operator_sees_is_refused_with_the_fields_path(
    entry: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidFleetError) as caught:
        WsFleet.parse(fleet(**entry))
    assert caught.value.problems[0].startswith(f"spec.autoscaling.{problem}")


def test_the_time_zone_is_utc_unless_another_is_named() -> None:
    auto = WsFleet.parse(fleet()).spec.autoscaling
    assert auto is not None
    assert auto.schedules[0].time_zone == "UTC"
