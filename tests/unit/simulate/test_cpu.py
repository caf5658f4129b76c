"""The CPU of the model's nodes: no message is lost from sight, and who has too much to do pays for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsfleet.simulate.cpu import Cpu
from wsfleet.simulate.setup import NodeModel, Setup, Watching

CALM = Watching(cpu_noise=0.0)


def cpu_of(*, spread: float = 0.0, kept_seconds: float = 30.0) -> Cpu:
    node = NodeModel(cost_spread=spread, kept_seconds=kept_seconds)
    made = Cpu(Setup(node=node, watching=CALM), 1.0, 1)
    made.add(-math.inf)
    return made


def serve(cpu: Cpu, connections: int, rate: float, seconds: int, opened: int = 0) -> float:
    """Messages missed on the way."""
    missed = 0.0
    for second in range(seconds):
        cpu.step(float(second), np.array([connections]), np.array([opened]), rate)
        missed += cpu.missed
    return missed


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20_000), st.floats(0, 4)), min_size=1, max_size=60))
def test_every_message_is_sent_is_missed_or_waits(loads: list[tuple[int, float]]) -> None:
    cpu, came, missed = cpu_of(), 0.0, 0.0
    for connections, rate in loads:
        missed += serve(cpu, connections, rate, 1)
        came += connections * rate
        assert 0 <= cpu.percent[0] <= 100
        assert float(cpu.deliveries[0] + cpu.waiting[0]) + missed == pytest.approx(came, abs=1e-3)


def test_a_node_sends_no_more_than_its_cpu_allows_and_misses_what_the_stream_has_dropped() -> None:
    cpu = cpu_of()
    # 12,000 x 2 messages of 100 us are 2.4 of 1.8 vCPU.
    missed = serve(cpu, 12_000, 2.0, 300)
    assert cpu.used_seconds[0] <= 1.8 * 300
    assert cpu.deliveries[0] <= 18_000 * 300
    assert missed > 300 * (24_000 - 18_000) - 30 * 24_000
    assert serve(cpu_of(), 6_000, 2.0, 300) == 0


def test_a_pause_defers_messages_and_drops_none() -> None:
    cpu = cpu_of()
    serve(cpu, 8_500, 2.0, 40)  # 97 %: it pauses again and again
    assert cpu.waiting[0] > 0
    serve(cpu, 2_000, 2.0, 40)
    assert cpu.waiting[0] == pytest.approx(0.0, abs=1e-6)


def test_a_node_loaded_over_its_cpu_lets_clients_in_slower_and_answers_late() -> None:
    calm, loaded = cpu_of(), cpu_of()
    serve(calm, 5_000, 2.0, 1)
    serve(loaded, 16_000, 2.0, 1)
    assert calm.speed[0] == 1.0
    assert loaded.speed[0] == pytest.approx(100 / (3 + 16_000 * 2 * 100 / 1e4 / 1.8))
    assert calm.answers(2.0)[0] > 0.999
    assert loaded.answers(2.0)[0] == pytest.approx(1 - math.exp(-1))


def test_machines_are_not_alike() -> None:
    made = Cpu(Setup(watching=CALM), 1.0, 1)
    for _ in range(400):
        made.add(-math.inf)
    made.settle(np.full(400, 8_000), 1.0)
    work = made.percent - 3.0
    assert 0.02 < float(work.std() / work.mean()) < 0.04
    assert float(work.mean()) == pytest.approx(8_000 * 100 / 1e4 / 1.8, rel=0.01)
