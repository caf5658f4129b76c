"""What holds of every plan, whatever the machine and the load."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wsfleet.sizing import (
    MACHINES,
    Costs,
    CostSource,
    Drain,
    Fanout,
    Inputs,
    Limits,
    Load,
    Machine,
    Plan,
    Profile,
    Reserved,
    SizingError,
    make_plan,
)
from wsfleet.sizing.capacity import round_down
from wsnode.config import Settings

MB = 2**20


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    cpu = draw(st.integers(1, 256_000))
    burstable = draw(st.booleans())
    return Machine(
        name="any",
        cpu_millis=cpu,
        memory_bytes=draw(st.integers(1, 512 * 1024)) * MB,
        network_bits_per_second=draw(st.none() | st.integers(10**3, 10**11)),
        sustained_cpu_millis=draw(st.integers(1, cpu)) if burstable else cpu,
        burstable=burstable,
        monthly_cost_cents=draw(st.none() | st.integers(0, 10**6)),
    )


@st.composite
def loads(draw: st.DrawFn) -> Load:
    rate = Fraction(draw(st.integers(0, 10**5)), 100)
    return Load(
        users=draw(st.integers(1, 10**7)),
        message_rate=rate,
        peak_message_rate=draw(st.none() | st.integers(0, 1000).map(lambda more: rate + more)),
        message_bytes=draw(st.integers(1, 65_536)),
        publish_rate=Fraction(draw(st.integers(0, 10**6)), 10),
        subscribers_per_channel=draw(st.integers(0, 10**5)),
    )


COSTS = st.builds(
    Costs,
    message_cpu_us=st.integers(0, 10**5).map(lambda value: Fraction(value, 100)),
    connection_memory_bytes=st.integers(1, 10 * MB).map(Fraction),
    intake_cpu_us=st.integers(0, 10**4).map(lambda value: Fraction(value, 100)),
    source=st.just(CostSource.BY_HAND),
    idle_cpu_us=st.integers(0, 10**4).map(Fraction),
)
INPUTS = st.builds(
    Inputs,
    machine=machines() | st.sampled_from(list(MACHINES.values())),
    reserved=st.just(Reserved()) | st.builds(Reserved, st.integers(0, 1000), st.integers(0, 1024 * MB)),
    load=loads(),
    costs=COSTS | st.just(Costs()),
    profile=st.sampled_from(Profile),
    limits=st.sampled_from(Limits),
    fanout=st.sampled_from(Fanout),
    lean_queue=st.booleans(),
    drain=st.just(Drain())
    | st.builds(Drain, st.integers(0, 300), st.integers(1, 1000).map(Fraction), st.just(300)),
)


def planned(inputs: Inputs) -> Plan:
    """The plan, or no example where the inputs allow none."""
    try:
        return make_plan(inputs)
    except SizingError:
        assume(False)
        raise


@given(INPUTS)
def test_a_plan_or_an_error_that_names_an_input(inputs: Inputs) -> None:
    refused = None
    try:
        assert make_plan(inputs).to_dict()
    except SizingError as error:
        refused = error
    if refused is not None:
        assert refused.field.split(".")[0] in {"instance", "load", "sizing", "drain", "profile"}
        assert refused.allowed


@given(INPUTS)
def test_settings_are_valid_and_keep_the_guards(inputs: Inputs) -> None:
    made = planned(inputs)
    settings = made.settings
    assert Settings.model_validate(settings.model_dump()) == settings
    assert settings.max_connections >= 1
    assert 1 <= settings.worker_pool_size <= settings.max_connections
    assert settings.worker_pool_size & (settings.worker_pool_size - 1) == 0
    assert settings.worker_queue_size >= settings.worker_pool_size
    assert settings.max_goroutines >= 2 * settings.max_connections + settings.worker_pool_size + 20
    assert settings.cpu_reject_threshold < settings.cpu_pause_threshold <= 99
    assert settings.drain_timeout <= 500
    assert made.grace_seconds <= 540


@given(INPUTS)
def test_connections_fit_memory_and_network(inputs: Inputs) -> None:
    made = planned(inputs)
    most = made.settings.max_connections
    assert made.capacity.memory_bytes(most) * 100 <= made.capacity.available_memory_bytes * 85
    per_second = made.capacity.network_bytes_per_second
    if per_second is not None:
        assert made.capacity.network_use(most, made.capacity.peak_rate) <= per_second


@given(INPUTS)
def test_the_pod_asks_for_no_more_than_its_limits(inputs: Inputs) -> None:
    made = planned(inputs)
    assert 1 <= made.pod_requests.cpu_millis <= made.pod_limits.cpu_millis
    assert 1 <= made.pod_requests.memory_bytes <= made.pod_limits.memory_bytes
    assert made.pod_limits.cpu_millis == inputs.machine.cpu_millis - inputs.reserved.cpu_millis
    assert made.pod_limits.memory_bytes == made.settings.memory_limit


@given(INPUTS, st.integers(1, 10**7), st.integers(0, 10**6))
def test_more_users_never_need_fewer_nodes(inputs: Inputs, users: int, more: int) -> None:
    made = planned(inputs)
    assert 1 <= made.nodes_for(users) <= made.nodes_for(users + more)
    assert made.nodes_for(users) * made.settings.max_connections >= users


@given(INPUTS, st.integers(1, 1000))
def test_more_messages_never_allow_more_connections(inputs: Inputs, more: int) -> None:
    busier = replace(
        inputs,
        load=replace(inputs.load, message_rate=inputs.load.message_rate + more, peak_message_rate=None),
    )
    inputs = replace(inputs, load=replace(inputs.load, peak_message_rate=None))
    first, second = planned(inputs), planned(busier)
    assert second.settings.max_connections <= first.settings.max_connections
    assert second.nodes_for(100_000) >= first.nodes_for(100_000)


@given(INPUTS, st.integers(1, 10_000))
def test_larger_messages_never_allow_more_connections(inputs: Inputs, more: int) -> None:
    larger = replace(inputs, load=replace(inputs.load, message_bytes=inputs.load.message_bytes + more))
    assert planned(larger).settings.max_connections <= planned(inputs).settings.max_connections


@given(INPUTS)
def test_profiles_are_in_order(inputs: Inputs) -> None:
    sizes = [planned(replace(inputs, profile=profile)).settings.max_connections for profile in Profile]
    assert sizes == sorted(sizes)


@given(INPUTS)
def test_the_ladder_is_sorted_and_its_reach_is_the_limit(inputs: Inputs) -> None:
    made = planned(inputs)
    steps = [event.connections for event in made.ladder]
    assert steps == sorted(steps)
    assert all(
        event.reachable == (event.connections <= made.settings.max_connections) for event in made.ladder
    )


@given(INPUTS, st.integers(1, 1_000_000))
@settings(max_examples=50)
def test_an_override_of_connections_is_followed(inputs: Inputs, connections: int) -> None:
    planned(inputs)
    made = make_plan(inputs, {"maxConnections": connections})
    assert made.settings.max_connections == connections
    assert made.settings.worker_pool_size <= connections
    assert made.settings.max_goroutines >= 2 * connections + made.settings.worker_pool_size + 20


@given(st.integers(0, 2_000_000), st.integers(0, 2_000_000))
def test_rounding_down_is_monotone_and_loses_little(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert round_down(low) <= round_down(high)
    assert one / 2 <= round_down(one) <= one
