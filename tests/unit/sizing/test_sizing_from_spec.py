"""A WsFleet's spec as inputs of a plan."""

from fractions import Fraction

import pytest

from wsfleet.api import WsFleetSpec
from wsfleet.sizing import CostSource, Inputs, Limits, Profile, SizingError, make_plan
from wsfleet.sizing.from_spec import inputs_from_spec

NATS = {"url": "nats://nats:4222"}


def plan_of(**spec):
    inputs, overrides = inputs_from_spec(WsFleetSpec.model_validate({"nats": NATS, **spec}))
    return make_plan(inputs, overrides)


def test_the_smallest_fleet_gets_the_seeds_settings():
    plan = plan_of()
    assert plan.to_env() == make_plan(Inputs()).to_env()
    assert plan.settings.nats_url == "nats://nats:4222"


def test_everything_is_passed_on():
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
    assert (inputs.costs.intake_cpu_us, inputs.costs.connection_memory_bytes) == (3, 4096)
    assert (plan.trigger, inputs.triggers.cpu_percent) == (8_400, 50)
    settings = plan.settings
    assert (settings.max_connections, settings.log_level, settings.max_nats_rate) == (12_000, "debug", 5000)
    assert (settings.drain_delay, settings.drain_rate, settings.drain_timeout) == (5, 50, 245)
    assert (settings.js_stream_name, settings.js_stream_subjects) == ("TICKS", ("t.>",))
    assert (settings.js_stream_max_age, settings.js_stream_max_bytes) == (60, 2**20)


def test_an_unknown_type_is_named():
    with pytest.raises(SizingError, match=r"^instance\.type: e2-smal .*meant e2-small"):
        plan_of(instance={"type": "e2-smal"})
