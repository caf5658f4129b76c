"""The plan of the seed's machine, walked through the seed document section by section, number by number."""

from __future__ import annotations

from fractions import Fraction

import pytest

from wsfleet.sizing import (
    SEED_LOAD,
    USER_RATES,
    Costs,
    CostSource,
    Fanout,
    Inputs,
    Limits,
    Plan,
    Profile,
    make_plan,
    rules,
    seed,
)
from wsfleet.sizing.fleet import share_of
from wsfleet.sizing.projections import Verdict
from wsfleet.sizing.text import percent

MB = 2**20


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(Inputs())


def shown(value: Fraction) -> str:
    """A percentage as the document prints it."""
    return percent(value).removesuffix(" %")


class TestInstanceSpecifications:
    def test_total_resources(self, plan: Plan) -> None:
        machine = plan.inputs.machine
        assert (machine.name, machine.burstable) == ("e2-small", True)
        assert machine.cpu_millis == 2000
        assert machine.memory_bytes == 2048 * MB
        assert machine.network_bits_per_second == 1_000_000_000

    def test_reserved(self, plan: Plan) -> None:
        reserved = plan.inputs.reserved
        assert reserved.cpu_millis == 200
        assert Fraction(reserved.cpu_millis * 100, 2000) == 10
        assert reserved.memory_bytes == 256 * MB
        assert round(Fraction(256 * 100, 2048)) == 12

    def test_available(self, plan: Plan) -> None:
        capacity = plan.capacity
        assert capacity.available_cpu_us == 1_800_000
        assert Fraction(capacity.available_cpu_us * 100, capacity.machine_cpu_us) == 90
        assert capacity.available_memory_bytes == 1792 * MB
        assert round(Fraction(1792 * 100, 2048)) == 88
        assert capacity.network_bytes_per_second == 125_000_000


class TestCurrentLoadProfile:
    def test_transaction_rate(self) -> None:
        assert SEED_LOAD.daily_messages == 36_000
        assert SEED_LOAD.daily_messages / seed.WORKDAY_SECONDS == Fraction("1.25")
        assert SEED_LOAD.peak_hour_rate == Fraction("12.5")
        assert SEED_LOAD.peak_minute_rate == 30

    def test_users_and_channels(self) -> None:
        assert SEED_LOAD.channels == 100
        assert (SEED_LOAD.users, SEED_LOAD.most_users) == (20_000, 40_000)

    def test_message_rate_per_user(self) -> None:
        assert USER_RATES["casual"] == (Fraction("0.2"), Fraction(1))
        assert USER_RATES["active"] == (Fraction(1), Fraction(5))
        assert USER_RATES["trader"] == (Fraction(5), Fraction(20))
        assert (SEED_LOAD.message_rate, SEED_LOAD.peak_rate) == (Fraction(2), Fraction(4))


class TestResourceCost:
    def test_cpu_of_the_test(self) -> None:
        assert seed.test_cpu_us_per_connection() == 120  # 0.00012 vCPU
        assert seed.test_rate_per_connection() == Fraction("0.01")

    def test_cpu_scaled_and_assumed(self, plan: Plan) -> None:
        assert seed.scaled_cpu_us_per_connection(Fraction(2)) == 24_000  # 0.024 vCPU
        assert plan.capacity.connection_cpu_us == 200  # 0.0002 vCPU

    def test_memory(self, plan: Plan) -> None:
        assert seed.SEND_SLOTS * SEED_LOAD.buffer_bytes == 128_000
        assert seed.REPLAY_MESSAGES * SEED_LOAD.buffer_bytes == 50_000
        assert seed.derived_client_bytes(500) == 178_300
        assert round(seed.DERIVED_CLIENT_KB / 1024, 3) == 0.176
        assert Fraction(seed.TEST_MEMORY_MB, seed.TEST_CONNECTIONS) == Fraction("0.1")
        assert plan.capacity.connection_memory_bytes == Fraction(MB, 10)

    def test_goroutines(self) -> None:
        assert 2 * rules.GOROUTINE_STACK_KB == 16


class TestMaxConnections:
    def test_cpu_limit(self, plan: Plan) -> None:
        assert plan.terms.by_cpu == 9_000

    def test_cpu_limit_at_light_load(self, plan: Plan) -> None:
        assert plan.capacity.message_rate / 4 == Fraction("0.5")
        assert plan.terms.by_light_cpu == 36_000

    def test_memory_limit(self, plan: Plan) -> None:
        assert plan.terms.by_memory == 17_920

    def test_network_limit(self, plan: Plan) -> None:
        assert plan.capacity.network_use(1) == 800
        assert plan.terms.by_network == 156_250

    def test_recommended(self, plan: Plan) -> None:
        assert plan.terms.by_whole_cpu == 10_000
        assert plan.settings.max_connections == 10_000


class TestWorkers:
    def test_pool(self, plan: Plan) -> None:
        assert plan.settings.worker_pool_size == 256
        assert plan.pipeline.connections_per_worker == 40
        assert 256 * 40 == 10_240 >= plan.settings.max_connections
        assert plan.pipeline.worker_state_kb == 256

    def test_alternatives(self, plan: Plan) -> None:
        assert plan.alternatives.workers == {Fanout.LIGHT: 128, Fanout.MIDDLE: 256, Fanout.HEAVY: 512}

    def test_queue(self, plan: Plan) -> None:
        pipeline = plan.pipeline
        assert plan.settings.worker_queue_size == 25_600
        assert pipeline.queue_fill_seconds == 2_133
        assert pipeline.queue_fill_seconds // 60 == 35
        assert pipeline.queue_bytes == 12_800_000
        assert pipeline.worker_capacity_per_second == 256_000
        assert shown(pipeline.worker_percent_at_peak) == "0.01"

    def test_lean_queue(self, plan: Plan) -> None:
        assert plan.pipeline.lean_queue_size == 12_800
        assert plan.pipeline.lean_saving_bytes == 6_400_000
        assert make_plan(Inputs(lean_queue=True)).settings.worker_queue_size == 12_800


class TestGoroutines:
    def test_components(self) -> None:
        assert rules.least_goroutines(10_000, 256) == 20_276
        assert 20_276 * 12 // 10 == 24_331

    def test_limit_and_memory(self, plan: Plan) -> None:
        assert plan.settings.max_goroutines == 25_000
        assert plan.pipeline.goroutine_kb == 200_000
        assert shown(plan.pipeline.goroutine_memory_percent) == "11.2"


class TestRates:
    def test_unlimited_for_testing(self, plan: Plan) -> None:
        assert (plan.settings.max_nats_rate, plan.settings.max_broadcast_rate) == (0, 0)

    @pytest.mark.parametrize(
        ("limits", "rate", "times"),
        [(Limits.CONSERVATIVE, 1000, 83), (Limits.MODERATE, 5000, 416), (Limits.AGGRESSIVE, 10_000, 833)],
    )
    def test_production(self, plan: Plan, limits: Limits, rate: int, times: int) -> None:
        named = plan.alternatives.limits[limits]
        assert (named.max_nats_rate, named.times_published) == (rate, times)
        settings = make_plan(Inputs(limits=limits)).settings
        assert (settings.max_nats_rate, settings.max_broadcast_rate) == (rate, 100_000)

    def test_broadcast(self, plan: Plan) -> None:
        assert plan.pipeline.broadcast_per_second == 2_400
        assert shown(plan.pipeline.broadcast_percent) == "0.9"


class TestThresholds:
    def test_reject(self, plan: Plan) -> None:
        assert plan.settings.cpu_reject_threshold == 75.0
        assert plan.capacity.available_cpu_us * 75 // 100 == 1_350_000
        assert plan.capacity.connections_by_cpu(1_350_000) == 6_750

    def test_alternatives(self, plan: Plan) -> None:
        rejects = {
            profile: settings.cpu_reject_threshold for profile, settings in plan.alternatives.profiles.items()
        }
        assert rejects == {Profile.CONSERVATIVE: 70.0, Profile.BALANCED: 75.0, Profile.AGGRESSIVE: 80.0}

    def test_pause(self, plan: Plan) -> None:
        assert plan.settings.cpu_pause_threshold == 80.0


def test_final_configuration(plan: Plan) -> None:
    assert "\n".join(f"{name}={value}" for name, value in plan.to_env().items()) == (
        "WS_CPU_LIMIT=1.8\n"
        "WS_MEMORY_LIMIT=1879048192\n"
        "WS_MAX_CONNECTIONS=10000\n"
        "WS_WORKER_POOL_SIZE=256\n"
        "WS_WORKER_QUEUE_SIZE=25600\n"
        "WS_MAX_GOROUTINES=25000\n"
        "WS_MAX_NATS_RATE=0\n"
        "WS_MAX_BROADCAST_RATE=0\n"
        "WS_CPU_REJECT_THRESHOLD=75.0\n"
        "WS_CPU_PAUSE_THRESHOLD=80.0\n"
        "JS_STREAM_NAME=ODIN_TOKENS\n"
        "JS_CONSUMER_NAME=ws-server\n"
        "JS_STREAM_MAX_AGE=30s\n"
        "JS_STREAM_MAX_MSGS=100000\n"
        "JS_STREAM_MAX_BYTES=52428800\n"
        "LOG_LEVEL=info\n"
        "LOG_FORMAT=json"
    )


class TestProjections:
    @pytest.mark.parametrize(
        ("index", "connections", "rate", "cpu_us", "memory_mb", "goroutines", "network", "percents"),
        [
            (0, 5_000, 1, 500_000, 500, 10_256, 2_000_000, ["28", "28", "41", "1.6"]),
            (1, 10_000, 2, 2_000_000, 1_000, 20_256, 8_000_000, ["111", "56", "81", "6.4"]),
            (2, 10_000, 4, 4_000_000, 1_000, 20_256, 16_000_000, ["222", "56", "81", "12.8"]),
        ],
    )
    def test_figures(
        self,
        plan: Plan,
        index: int,
        connections: int,
        rate: int,
        cpu_us: int,
        memory_mb: int,
        goroutines: int,
        network: int,
        percents: list[str],
    ) -> None:
        item = plan.projections[index]
        assert (item.connections, item.message_rate) == (connections, Fraction(rate))
        assert item.cpu.amount == cpu_us
        assert item.memory.amount == memory_mb * MB
        assert item.goroutines.amount == goroutines
        assert item.network is not None
        assert item.network.amount == network
        uses = (item.cpu, item.memory, item.goroutines, item.network)
        assert [shown(use.percent) for use in uses] == percents

    def test_verdicts(self, plan: Plan) -> None:
        assert [item.cpu.verdict for item in plan.projections] == [
            Verdict.OK,
            Verdict.WARNING,
            Verdict.OVER,
        ]
        for item in plan.projections:
            assert item.network is not None
            assert {item.memory.verdict, item.goroutines.verdict, item.network.verdict} == {Verdict.OK}

    def test_headroom_and_bottleneck(self, plan: Plan) -> None:
        assert plan.projections[0].growth == 2  # "can 2x connections easily"
        assert plan.projections[1].growth < 1
        assert plan.projections[2].bottleneck == "CPU"


class TestScaling:
    def test_triggers(self, plan: Plan) -> None:
        assert plan.inputs.triggers.cpu_percent == 60
        assert plan.inputs.triggers.cpu_sustained_seconds == 300
        assert plan.trigger == 8_000

    def test_two_instances(self, plan: Plan) -> None:
        two = plan.shares[0]
        assert (two.nodes, two.users, two.connections_each) == (2, 20_000, 10_000)
        assert two.cpu_us == 2_000_000
        assert two.machine_percent == 100
        assert shown(two.cpu_percent) == "111"

    def test_three_instances(self, plan: Plan) -> None:
        three = plan.shares[1]
        assert three.nodes * plan.settings.max_connections == 30_000
        assert three.connections_each == 6_667
        assert round(three.cpu_us / 1_000_000, 2) == Fraction("1.33")
        assert (shown(three.cpu_percent), shown(three.headroom_percent)) == ("74", "26")

    def test_recommendation(self, plan: Plan) -> None:
        assert plan.nodes_for(15_000) == 3
        assert share_of(3, 15_000, plan.capacity).connections_each == 5_000


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (Profile.CONSERVATIVE, (5_000, 128, 12_800, 12_500, 70.0)),
        (Profile.BALANCED, (10_000, 256, 25_600, 25_000, 75.0)),
        (Profile.AGGRESSIVE, (15_000, 512, 51_200, 37_500, 80.0)),
    ],
)
def test_alternative_configurations(
    plan: Plan, profile: Profile, expected: tuple[int, int, int, int, float]
) -> None:
    for settings in (make_plan(Inputs(profile=profile)).settings, plan.alternatives.profiles[profile]):
        assert (
            settings.max_connections,
            settings.worker_pool_size,
            settings.worker_queue_size,
            settings.max_goroutines,
            settings.cpu_reject_threshold,
        ) == expected


class TestValidationTests:
    @pytest.mark.parametrize(
        ("index", "connections", "seconds", "cpu", "memory", "shares", "goroutines", "rates"),
        [
            (0, 2_000, 300, (10, 20), (200, 300), (11, 17), 4_500, (2_000, 4_000)),
            (1, 5_000, 600, (25, 35), (500, 700), (28, 39), 10_500, (5_000, 10_000)),
            (2, 10_000, 600, (60, 80), (1_000, 1_200), (56, 67), 20_500, (20_000, 40_000)),
        ],
    )
    def test_ranges(
        self,
        plan: Plan,
        index: int,
        connections: int,
        seconds: int,
        cpu: tuple[int, int],
        memory: tuple[int, int],
        shares: tuple[int, int],
        goroutines: int,
        rates: tuple[int, int],
    ) -> None:
        test = plan.tests[index]
        assert (test.connections, test.duration_seconds) == (connections, seconds)
        assert test.memory_bytes is not None
        assert test.messages_per_second is not None
        assert (test.cpu_percent.low, test.cpu_percent.high) == cpu
        assert (test.memory_bytes.low, test.memory_bytes.high) == tuple(edge * MB for edge in memory)
        share = test.memory_percent(plan.settings.memory_limit)
        assert share is not None
        assert (share.low, share.high) == shares
        assert test.goroutines == goroutines
        assert (test.messages_per_second.low, test.messages_per_second.high) == rates

    def test_overload(self, plan: Plan) -> None:
        test = plan.tests[3]
        assert (test.connections, test.duration_seconds) == (12_000, 300)
        assert (test.cpu_percent.low, test.cpu_percent.high) == (75, None)
        assert test.final_connections == 10_000
        assert test.criteria.rejections_allowed

    def test_criteria(self, plan: Plan) -> None:
        light, target, full, _ = (test.criteria for test in plan.tests)
        assert not light.errors_allowed
        assert target.drops_below_percent == 1.0
        assert not full.cpu_rejections_allowed


def test_alerts(plan: Plan) -> None:
    alerts = {alert.name: (alert.expression, alert.for_seconds, alert.severity) for alert in plan.alerts}
    assert alerts["HighConnectionCount"] == ("ws_connections_current > 8000", 300, "warning")
    assert alerts["HighCPU"] == ("ws_cpu_percent > 60", 300, "warning")
    assert alerts["CPURejectThreshold"] == ("ws_cpu_percent > 75", 60, "critical")
    assert alerts["ConnectionLimit"] == ("ws_connections_current >= 10000", 60, "critical")
    assert alerts["ConnectionsRejected"][0] == "rate(ws_connections_rejected_total[5m]) > 0"


class TestSummary:
    def test_bottleneck_and_cost(self, plan: Plan) -> None:
        assert plan.terms.bottleneck == "CPU"
        assert plan.inputs.machine.monthly_cost_cents == 1223
        assert plan.cost_for(15_000).cents_a_month == 3 * 1223

    def test_costs_are_named(self, plan: Plan) -> None:
        assert plan.inputs.costs.source is CostSource.SEED
        assert plan.to_dict()["costs"]["source"] == "Seed"
        assert any(note.text.startswith("Costs: Seed (100 us a message, 0.1 MB") for note in plan.notes)

    def test_traffic(self, plan: Plan) -> None:
        assert round(plan.egress.bytes_a_month / 10**12) == 21
        priced = make_plan(Inputs(egress_usd_per_gib=Fraction("0.085")))
        assert priced.egress.usd_a_month is not None
        assert round(priced.egress.usd_a_month) == 1664


class TestContradictions:
    """Each of the document's contradictions is said, with its figures."""

    @pytest.mark.parametrize(
        ("code", "figures"),
        [
            ("above-cpu-limit", ["9,000", "10,000", "2 vCPU", "111 %", "100 %"]),
            ("connection-trigger-late", ["60 %", "5,400", "6,750", "9,000", "8,000"]),
            ("assumed-cost", ["0.024 vCPU", "0.0002 vCPU", "120 times"]),
            ("delivery-rate", ["12/s x 200", "2,400", "10,000", "20,000/s"]),
            ("worker-capacity", ["256,000", "25.6 vCPU", "18,000/s"]),
            ("client-memory", ["0.1 MB", "0.176 MB", "98 %"]),
            ("test-3-and-4", ["60-80 %", "75 %", "12,000", "10,000"]),
            ("sustained-cpu", ["0.5 vCPU", "15,000", "10 nodes", "122.30 USD", "e2-highcpu-2", "108.33"]),
            ("day-and-peak-hour", ["36,000", "1.25/s", "0.42/s", "45,000"]),
            ("room-to-scale", ["15,000-20,000", "17,920"]),
            ("worker-share", ["1,000", "40"]),
            ("queue-utilisation", ["0.01 %", "6,000", "2.3 %"]),
            ("thousandfold", ["12,000/s", "2,400,000", "240 vCPU"]),
            ("peak-beyond-burst", ["4 vCPU", "222 %", "2 vCPU"]),
            ("test-rates", ["20,000-40,000", "111-222 %", "60-80 %"]),
        ],
    )
    def test_note(self, plan: Plan, code: str, figures: list[str]) -> None:
        (note,) = [note for note in plan.notes if note.code == code]
        for figure in figures:
            assert figure in note.text

    def test_none_holds_for_costs_that_are_low(self) -> None:
        cheap = Costs(Fraction(5), Fraction(4096), source=CostSource.MEASURED)
        codes = {note.code for note in make_plan(Inputs(costs=cheap)).notes}
        assert codes.isdisjoint({"client-memory", "assumed-cost", "test-rates"})


def test_ladder(plan: Plan) -> None:
    assert [(event.connections, event.reachable) for event in plan.ladder] == [
        (2_500, True),
        (5_400, True),
        (6_750, True),
        (7_200, True),
        (8_000, True),
        (9_000, True),
        (10_000, True),
        (10_000, True),
        (12_372, False),
        (17_920, False),
        (78_125, False),
        (156_250, False),
    ]
