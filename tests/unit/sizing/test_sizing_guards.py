"""Inputs that no plan can be made from, overrides, drains, pods, machines: the single rules."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from wsfleet.sizing import (
    MACHINES,
    Costs,
    CostSource,
    Drain,
    Inputs,
    Load,
    Machine,
    Plan,
    Profile,
    Reserved,
    SizingError,
    choose_machine,
    exact,
    make_plan,
    mixed_rates,
)
from wsfleet.sizing.fleet import cheapest_fleet
from wsfleet.sizing.projections import Verdict

MB = 2**20
DEDICATED = choose_machine(None, cpu_millis=2000, memory_bytes=2048 * MB)


def codes(plan: Plan) -> set[str]:
    return {note.code for note in plan.notes}


class TestExactness:
    def test_an_exact_multiple_needs_no_node_more(self) -> None:
        assert make_plan(Inputs()).nodes_for(329_400) == 61
        assert make_plan(Inputs()).nodes_for(329_401) == 62

    def test_numbers_are_read_as_written(self) -> None:
        assert exact(0.1) == Fraction(1, 10)
        assert exact("0.3") * 3 == Fraction(9, 10)


class TestRefusals:
    @pytest.mark.parametrize(
        ("inputs", "field"),
        [
            (Inputs(reserved=Reserved(cpu_millis=2000)), "instance.reserved.cpu"),
            (Inputs(reserved=Reserved(memory_bytes=2048 * MB)), "instance.reserved.memory"),
            (Inputs(load=Load(message_rate=Fraction(100_000))), "instance.cpu"),
            (Inputs(costs=Costs(connection_memory_bytes=Fraction(2**31))), "instance.memory"),
            (Inputs(machine=replace(DEDICATED, network_bits_per_second=1000)), "instance.network"),
            (Inputs(load=Load(peak_message_rate=Fraction(1))), "load.peakMessagesPerSecond"),
            (Inputs(load=Load(message_rate=Fraction(-1))), "load.messagesPerSecond"),
            (Inputs(load=Load(message_bytes=0)), "load.messageBytes"),
            (Inputs(load=Load(users=10, users_most=5)), "load.users"),
            (Inputs(costs=Costs(connection_memory_bytes=Fraction(0))), "sizing.costs.connectionMemory"),
            (Inputs(machine=replace(DEDICATED, sustained_cpu_millis=500)), "instance.burstable"),
            (Inputs(drain=Drain(rate_per_second=Fraction(0))), "drain.ratePerSecond"),
        ],
    )
    def test_field_is_named(self, inputs: Inputs, field: str) -> None:
        with pytest.raises(SizingError) as caught:
            make_plan(inputs)
        assert caught.value.field == field
        assert str(caught.value).startswith(f"{field}: ")

    def test_half_a_connection_is_the_profiles_doing(self) -> None:
        one = replace(DEDICATED, cpu_millis=200 + 1, sustained_cpu_millis=201)
        load = Load(message_rate=Fraction(10))
        assert make_plan(Inputs(machine=one, load=load)).settings.max_connections == 1
        with pytest.raises(SizingError) as caught:
            make_plan(Inputs(machine=one, load=load, profile=Profile.CONSERVATIVE))
        assert caught.value.field == "profile"

    def test_reading_the_feed_alone_takes_the_cpu(self) -> None:
        with pytest.raises(SizingError, match=r"^instance\.cpu: 2 vCPU carries no connection"):
            make_plan(Inputs(costs=Costs(intake_cpu_us=Fraction(10**6))))


class TestOverrides:
    def test_what_follows_from_connections_is_derived(self) -> None:
        settings = make_plan(Inputs(), {"maxConnections": 12_000}).settings
        assert (settings.worker_pool_size, settings.worker_queue_size) == (512, 51_200)
        assert settings.max_goroutines == 30_000

    def test_names_may_be_fields_or_variables(self) -> None:
        for name in ("max_connections", "maxConnections", "WS_MAX_CONNECTIONS"):
            assert make_plan(Inputs(), {name: "700"}).settings.max_connections == 700

    def test_a_pod_always_has_a_cpu_limit(self) -> None:
        assert make_plan(Inputs(), {"cpuLimit": 0.0001}).pod_limits.cpu_millis == 1

    def test_others_come_last(self) -> None:
        plan = make_plan(Inputs(), {"workerPoolSize": 100, "jsStreamMaxAge": "1m", "logLevel": "debug"})
        assert plan.settings.worker_pool_size == 100
        assert plan.settings.worker_queue_size == 25_600
        assert plan.to_env()["JS_STREAM_MAX_AGE"] == "60s"
        assert plan.reasons["worker_pool_size"] == "given; the rules say 256"

    def test_pause_follows_rejection(self) -> None:
        assert make_plan(Inputs(), {"cpuRejectThreshold": 94}).settings.cpu_pause_threshold == 99
        assert make_plan(Inputs(), {"cpuRejectThreshold": 40}).settings.cpu_pause_threshold == 80

    @pytest.mark.parametrize(
        ("overrides", "field", "part"),
        [
            ({"cpuRejectThreshold": 95}, "overrides.cpuRejectThreshold", "94"),
            ({"maxConnections": 0}, "overrides.maxConnections", "1"),
            ({"maxGoroutines": 20_275}, "overrides.maxGoroutines", "20276"),
            ({"workerPoolSize": 16_384}, "overrides.workerPoolSize", "36404"),
            ({"cpuPauseThreshold": 60}, "overrides", "WS_CPU_PAUSE_THRESHOLD"),
            ({"maxConections": 1}, "overrides", "meant maxConnections?"),
            ({"logLevel": "loud"}, "overrides.logLevel", "'debug'"),
        ],
    )
    def test_refused(self, overrides: dict[str, object], field: str, part: str) -> None:
        with pytest.raises(SizingError) as caught:
            make_plan(Inputs(), overrides)
        assert caught.value.field == field
        assert part in caught.value.allowed

    def test_more_connections_than_memory_is_said(self) -> None:
        plan = make_plan(Inputs(), {"maxConnections": 20_000})
        assert {"override-above-rule", "memory"} <= codes(plan)


class TestDrain:
    def test_a_drain_in_time_changes_nothing(self) -> None:
        plan = make_plan(Inputs())
        assert (plan.settings.drain_timeout, plan.grace_seconds) == (300, 340)
        assert not codes(plan) & {"drain-timeout-raised", "drain-hurries"}

    def test_the_timeout_is_raised_to_what_is_needed(self) -> None:
        plan = make_plan(Inputs(drain=Drain(rate_per_second=Fraction(25))))
        assert plan.settings.drain_timeout == 410
        assert "drain-timeout-raised" in codes(plan)
        assert "drain-hurries" not in codes(plan)

    def test_at_most_500_seconds(self) -> None:
        plan = make_plan(Inputs(drain=Drain(rate_per_second=Fraction(10))))
        assert (plan.settings.drain_timeout, plan.grace_seconds) == (500, 540)
        assert {"drain-timeout-raised", "drain-hurries"} <= codes(plan)

    def test_a_timeout_by_hand_stays(self) -> None:
        plan = make_plan(Inputs(), {"drainTimeout": 60, "drainRate": 50})
        assert plan.settings.drain_timeout == 60
        assert "drain-hurries" in codes(plan)


class TestLoad:
    def test_without_messages_memory_decides(self) -> None:
        plan = make_plan(Inputs(load=Load(message_rate=Fraction(0))))
        assert plan.settings.max_connections == 15_000  # 85 % of 17,920, rounded down
        assert plan.terms.bottleneck == "memory"
        assert "no-messages" in codes(plan)

    def test_a_dedicated_machine_counts_the_available_cpu(self) -> None:
        plan = make_plan(Inputs(machine=DEDICATED))
        assert plan.settings.max_connections == 9_000
        assert plan.projections[1].cpu.verdict is Verdict.WARNING
        assert "sustained-cpu" not in codes(plan)

    def test_aggressive_stays_below_85_percent_of_memory(self) -> None:
        plan = make_plan(Inputs(profile=Profile.AGGRESSIVE, load=Load(message_rate=Fraction(1))))
        assert plan.capacity.connections_by_memory(85) == 15_232
        assert plan.reasons["max_connections"] == (
            "Aggressive: 1.5 x the least of CPU 20,000 (whole vCPU, with bursts), memory 17,920, "
            "network 312,500; held by 85 % of the memory (15,232); rounded down"
        )
        assert plan.settings.max_connections == 15_000

    def test_the_peak_must_fit_the_network(self) -> None:
        plan = make_plan(Inputs(machine=MACHINES["t3.small"], profile=Profile.AGGRESSIVE))
        assert plan.settings.max_connections == 10_000  # 16 MB/s / (4 x 400)

    def test_mix(self) -> None:
        shares = {"casual": Fraction(60), "active": Fraction(35), "trader": Fraction(5)}
        assert mixed_rates(shares) == (Fraction("2.035"), Fraction("3.35"))
        assert mixed_rates({kind: share / 100 for kind, share in shares.items()}) == mixed_rates(shares)

    @pytest.mark.parametrize("shares", [{"casual": 50}, {"other": 100}, {"casual": 120, "active": -20}])
    def test_mix_refused(self, shares: dict[str, int]) -> None:
        with pytest.raises(SizingError, match=r"^load\.mix: "):
            mixed_rates({kind: Fraction(share) for kind, share in shares.items()})

    def test_intake_does_not_divide(self) -> None:
        costs = Costs(intake_cpu_us=Fraction(100_000), source=CostSource.MEASURED)
        plan = make_plan(Inputs(costs=costs))  # 12 x 0.1 s: 1.2 of 1.8 vCPU, the trigger allows 1.08
        assert plan.settings.max_connections == 4_000
        assert "cpu-not-scalable" in codes(plan)
        assert plan.nodes_for(32_000) == 10  # by connections alone


class TestMachines:
    def test_every_preset_has_a_plan(self) -> None:
        for machine in MACHINES.values():
            assert make_plan(Inputs(machine=machine)).settings.max_connections >= 100

    @pytest.mark.parametrize(
        ("name", "cents", "sustained"),
        [("e2-micro", 611, 250), ("e2-medium", 2446, 1000), ("t3.small", 1518, 400), ("F2s_v2", 6176, 2000)],
    )
    def test_figures(self, name: str, cents: int, sustained: int) -> None:
        machine = MACHINES[name]
        assert (machine.monthly_cost_cents, machine.sustained_cpu_millis) == (cents, sustained)

    def test_gke_leaves(self) -> None:
        machine = MACHINES["e2-small"]
        assert machine.allocatable_cpu_millis == 940
        assert machine.allocatable_memory_bytes == 1436 * MB
        assert "pod-limits-above-allocatable" in codes(make_plan(Inputs()))

    def test_a_pod_that_fits_nowhere_is_said(self) -> None:
        plan = make_plan(Inputs(request_cpu_percent=60))
        assert plan.pod_requests.cpu_millis == 1080
        assert "pod-unschedulable" in codes(plan)

    def test_figures_over_a_type(self) -> None:
        machine = choose_machine("e2-small", memory_bytes=4096 * MB)
        assert (machine.sustained_cpu_millis, machine.burstable) == (500, True)
        assert (machine.monthly_cost_cents, machine.allocatable_cpu_millis) == (None, None)
        assert choose_machine("e2-small", monthly_cost_cents=1000).allocatable_cpu_millis == 940

    def test_by_hand(self) -> None:
        assert (DEDICATED.burstable, DEDICATED.sustained_cpu_millis) == (False, 2000)
        burst = choose_machine(None, cpu_millis=4000, memory_bytes=MB, sustained_cpu_millis=800)
        assert burst.burstable
        assert (
            choose_machine(None, cpu_millis=4000, memory_bytes=MB, burstable=True).sustained_cpu_millis
            == 1000
        )

    def test_unknown_and_incomplete(self) -> None:
        with pytest.raises(SizingError, match="meant e2-small"):
            choose_machine("e2-smal")
        with pytest.raises(SizingError, match=r"^instance\.memory"):
            choose_machine(None, cpu_millis=2000)

    def test_sustained_cpu(self) -> None:
        plan = make_plan(Inputs())
        cost = plan.sustained_cost_for(15_000)
        assert (cost.nodes, cost.cents_a_month) == (10, 12_230)

    def test_cheapest(self) -> None:
        cost = cheapest_fleet(15_000, Inputs())
        assert cost is not None
        assert (cost.machine, cost.nodes, cost.cents_a_month) == ("e2-highcpu-2", 3, 10_833)
        tiny = Machine("tiny", 100, 64 * MB, None, 100, monthly_cost_cents=1)
        assert cheapest_fleet(15_000, Inputs(), [tiny]) is None

    def test_many_connections(self) -> None:
        large = choose_machine(None, cpu_millis=64_000, memory_bytes=64 * 1024 * MB)
        plan = make_plan(Inputs(machine=replace(large, network_bits_per_second=None)))
        assert plan.settings.max_connections == 319_000
        assert {"ephemeral-ports", "network-unknown"} <= codes(plan)
        small = choose_machine(None, cpu_millis=2000, memory_bytes=64 * 1024 * MB)
        cheap = Costs(message_cpu_us=Fraction(1), source=CostSource.MEASURED)
        assert "conntrack" in codes(
            make_plan(Inputs(machine=small, costs=cheap), {"maxConnections": 120_000})
        )


class TestPlansAreKept:
    def test_the_same_inputs_give_the_plan_that_was_made(self) -> None:
        first = make_plan(Inputs(), {"maxConnections": 5000, "js_stream_subjects": ("a.>",)})
        assert make_plan(Inputs(), {"maxConnections": 5000, "js_stream_subjects": ("a.>",)}) is first
        assert make_plan(Inputs(), {"maxConnections": 5001}).settings.max_connections == 5001
        assert make_plan(replace(Inputs(), profile=Profile.CONSERVATIVE)).inputs.profile == "Conservative"

    def test_values_that_cannot_be_compared_make_a_plan_each_time(self) -> None:
        plan = make_plan(Inputs(), {"js_stream_subjects": ["a.>"]})
        assert plan.settings.js_stream_subjects == ("a.>",)
