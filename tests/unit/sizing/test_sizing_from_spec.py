"""A WsFleet's spec as inputs of a plan."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from pydantic import ValidationError

from wsfleet.api import CostValues, WsFleetSpec
from wsfleet.api.machine_types import MACHINE_TYPES
from wsfleet.sizing import (
    MACHINES,
    Costs,
    CostSource,
    Inputs,
    Limits,
    Plan,
    Profile,
    SizingError,
    choose_machine,
    make_plan,
)
from wsfleet.sizing.from_spec import inputs_from_spec, measured_costs
from wsfleet.sizing.notes import NoteKind

NATS = {"url": "nats://nats:4222"}


def spec_of(**spec: Any) -> WsFleetSpec:
    return WsFleetSpec.model_validate({"nats": NATS, **spec})


def plan_of(**spec: Any) -> Plan:
    inputs, overrides = inputs_from_spec(spec_of(**spec))
    return make_plan(inputs, overrides)


def test_the_smallest_fleet_gets_the_seeds_settings() -> None:
    plan = plan_of()
    assert plan.to_env() == make_plan(Inputs()).to_env()
    assert plan.settings.nats_url == "nats://nats:4222"


def test_everything_is_passed_on() -> None:
    plan = plan_of(
        instance={
            "cpu": 4,
            "memory": "8Gi",
            "network": "2G",
            "sustainedCpu": "1500m",
            "monthlyCost": 40.1,
            "reserved": {"cpu": "300m", "memory": "512Mi"},
        },
        load={
            "users": 5000,
            "messagesPerSecond": 0.1,
            "peakMessagesPerSecond": 0.3,
            "messageBytes": 300,
            "publishRate": 7,
            "subscribersPerChannel": 3,
        },
        profile="Conservative",
        sizing={
            "limits": "Moderate",
            "costs": "Figures",
            "figures": {
                "cpuMicrosecondsPerMessage": 12.5,
                "cpuMicrosecondsPerPublished": 3,
                "memoryPerConnection": "4Ki",
            },
        },
        overrides={"logLevel": "debug", "maxConnections": 12000},
        autoscaling={
            "maxReplicas": 5,
            "connections": {"targetPercent": 70},
            "cpu": {"targetPercent": 50, "sustainedSeconds": 120},
        },
        drain={"delaySeconds": 5, "timeoutSeconds": 100},
        reconnects={"perSecond": 50},
        nats=NATS | {"stream": {"name": "TICKS", "subjects": ["t.>"], "maxAge": "1m", "maxBytes": "1Mi"}},
    )
    inputs, machine = plan.inputs, plan.inputs.machine
    assert (machine.cpu_millis, machine.sustained_cpu_millis, machine.burstable) == (4000, 1500, True)
    assert (machine.network_bits_per_second, machine.monthly_cost_cents) == (2 * 10**9, 4010)
    assert (inputs.reserved.cpu_millis, inputs.reserved.memory_bytes) == (300, 512 * 2**20)
    assert (inputs.load.message_rate, inputs.load.peak_rate) == (Fraction(1, 10), Fraction(3, 10))
    assert (inputs.profile, inputs.limits) == (Profile.CONSERVATIVE, Limits.MODERATE)
    assert (inputs.costs.source, inputs.costs.message_cpu_us) == (CostSource.BY_HAND, Fraction(25, 2))
    assert (inputs.costs.intake_cpu_us, inputs.costs.connection_memory_bytes) == (Fraction(3), Fraction(4096))
    assert (plan.trigger, inputs.triggers.cpu_percent) == (8_400, 50)
    settings = plan.settings
    assert (settings.max_connections, settings.log_level, settings.max_nats_rate) == (12_000, "debug", 5000)
    assert (settings.drain_delay, settings.drain_rate, settings.drain_timeout) == (5, 50, 245)
    assert (settings.js_stream_name, settings.js_stream_subjects) == ("TICKS", ("t.>",))
    assert (settings.js_stream_max_age, settings.js_stream_max_bytes) == (60, 2**20)


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(SizingError, match=r"^instance\.type: e2-smal .*meant e2-small"):
        choose_machine("e2-smal")
    with pytest.raises(ValidationError, match=r"e2-small, .* any other needs cpu and memory"):
        plan_of(instance={"type": "e2-smal"})
    with pytest.raises(ValidationError, match="any other needs cpu and memory"):
        plan_of(instance={"type": "e2-smal", "cpu": 2})
    assert plan_of(instance={"type": "e9-mine", "cpu": 2, "memory": "2Gi"}).inputs.machine.name == "e9-mine"


def test_the_resource_knows_the_types_whose_figures_sizing_has() -> None:
    assert tuple(MACHINES) == MACHINE_TYPES


STREAM = {"maxAge": "1m", "maxMessages": 500, "maxBytes": "1Mi"}


class TestOverridesWin:
    def test_over_the_drain_and_the_stream_with_a_note_for_each(self) -> None:
        plan = plan_of(
            drain={"delaySeconds": 5, "timeoutSeconds": 400},
            nats=NATS | {"stream": STREAM},
            overrides={
                "drainDelay": "20s",
                "drainTimeout": "450s",
                "jsStreamMaxAge": "2m",
                "jsStreamMaxMsgs": 1000,
                "jsStreamMaxBytes": "2Mi",
            },
        )
        settings = plan.settings
        assert (settings.drain_delay, settings.drain_timeout) == (20, 450)
        assert settings.js_stream_max_age == 120
        assert (settings.js_stream_max_msgs, settings.js_stream_max_bytes) == (1000, 2_097_152)
        assert plan.grace_seconds == 500
        assert [note.text for note in plan.notes if note.code == "override-wins"] == [
            "overrides.drainDelay (20 s) wins over drain.delaySeconds (5 s)",
            "overrides.drainTimeout (450 s) wins over drain.timeoutSeconds (400 s)",
            "overrides.jsStreamMaxAge (120 s) wins over nats.stream.maxAge (60 s)",
            "overrides.jsStreamMaxMsgs (1,000) wins over nats.stream.maxMessages (500)",
            "overrides.jsStreamMaxBytes (2,097,152 bytes) wins over nats.stream.maxBytes (1,048,576 bytes)",
        ]
        assert {note.kind for note in plan.notes if note.code == "override-wins"} == {NoteKind.WARNING}

    @pytest.mark.parametrize(
        "spec",
        [
            {"drain": {"timeoutSeconds": 60}, "nats": NATS | {"stream": STREAM}},
            {"overrides": {"drainTimeout": 450, "jsStreamMaxAge": "2m"}},
            {"drain": {"timeoutSeconds": 60}, "overrides": {"drainTimeout": "1m"}},
            {"nats": NATS | {"stream": STREAM}, "overrides": {"jsStreamMaxBytes": "1024Ki"}},
        ],
    )
    def test_no_note_where_one_is_left_out_or_both_say_the_same(self, spec: dict[str, Any]) -> None:
        assert "override-wins" not in {note.code for note in plan_of(**spec).notes}

    def test_a_timeout_by_hand_is_not_raised_to_what_a_full_node_needs(self) -> None:
        plan = plan_of(reconnects={"perSecond": 25}, overrides={"drainTimeout": "50s"})
        assert plan.settings.drain_timeout == 50
        assert "drain-hurries" in {note.code for note in plan.notes}

    def test_the_buffer_of_all_clients_holds_at_least_one_clients(self) -> None:
        small = {"cpu": 1, "memory": "512Mi"}
        plan = plan_of(instance=small, overrides={"clientBufferBytes": "128Mi"})
        assert plan.settings.client_buffer_total_bytes == 134_217_728


def test_measured_costs_are_the_seeds_until_there_are_some() -> None:
    spec = spec_of(sizing={"costs": "Measured"})
    assert inputs_from_spec(spec)[0].costs == Costs()
    own = measured_costs(
        CostValues(
            message_cpu_micros=12.5, published_cpu_micros=80, idle_cpu_micros=3000, memory_per_connection=900
        )
    )
    assert inputs_from_spec(spec, own)[0].costs == own
    assert (own.source, own.message_cpu_us) == (CostSource.MEASURED, Fraction(25, 2))
    assert (own.intake_cpu_us, own.idle_cpu_us, own.connection_memory_bytes) == (
        Fraction(80),
        Fraction(3000),
        Fraction(900),
    )
    assert inputs_from_spec(spec_of(), own)[0].costs == Costs(), "only where the spec asks for them"


def test_what_a_node_spends_whatever_comes_is_off_the_cpu_for_connections() -> None:
    costs = Costs(message_cpu_us=Fraction(100), idle_cpu_us=Fraction(200_000))
    plan = make_plan(Inputs(costs=costs))
    assert plan.terms.by_cpu == 8_000  # 1.6 of 1.8 vCPU at 200 us a connection
    assert plan.capacity.fixed_cpu_us == 200_000


def test_tls_ended_in_the_nodes_takes_16_kb_more_a_connection_and_says_so() -> None:
    plain, tls = plan_of(), plan_of(tls={"secretName": "odin-tls"})
    assert plain.capacity.connection_memory_bytes == Fraction(2**20, 10)
    assert tls.capacity.connection_memory_bytes == Fraction(2**20, 10) + 16_384
    assert (plain.terms.by_memory, tls.terms.by_memory) == (17_920, 15_498)
    notes = {note.code: note for note in tls.notes}
    assert notes["tls"].text == (
        "TLS ended in the node takes about 16 KB more a connection (measured): planned 118.4 KB"
    )
    assert "tls" not in {note.code for note in plain.notes}
    aggressive = plan_of(tls={"secretName": "odin-tls"}, profile="Aggressive")
    assert aggressive.settings.max_connections == 13_000, "85 % of the memory, where it was 15,000"
    assert tls.pod_requests.memory_bytes > plain.pod_requests.memory_bytes


def test_memory_that_was_measured_or_given_has_tls_in_it() -> None:
    figures = {"cpuMicrosecondsPerMessage": 10, "memoryPerConnection": 20_000}
    given = plan_of(tls={"secretName": "odin-tls"}, sizing={"costs": "Figures", "figures": figures})
    assert given.capacity.connection_memory_bytes == 20_000
    note = next(note for note in given.notes if note.code == "tls")
    assert "has its memory in the 19.5 KB a connection" in note.text
    told = CostValues.model_validate(
        {"cpuMicrosecondsPerMessage": 5, "cpuMicrosecondsPerPublished": 100, "memoryPerConnection": 17_000}
    )
    spec = spec_of(tls={"secretName": "odin-tls"}, sizing={"costs": "Measured"})
    inputs, overrides = inputs_from_spec(spec, measured_costs(told))
    assert make_plan(inputs, overrides).capacity.connection_memory_bytes == 17_000
    waiting = make_plan(*inputs_from_spec(spec, Costs(remark="waits")))
    assert waiting.capacity.connection_memory_bytes == Fraction(2**20, 10) + 16_384
