"""Quantities: read as Kubernetes reads them, written as it stores them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfleet.api.quantities import (
    BITS_PER_SECOND,
    BYTES,
    CPU,
    DURATION,
    Quantity,
    format_bits,
    format_bytes,
    format_cpu,
    format_duration,
)

ANY_CPU = Quantity(CPU, 0, 10**7)
ANY_BYTES = Quantity(BYTES, 0, 2**60)
ANY_BITS = Quantity(BITS_PER_SECOND, 0, 10**15)
ANY_DURATION = Quantity(DURATION, 0, 10**7)


@pytest.mark.parametrize(
    ("text", "millis"), [(2, 2000), ("2", 2000), ("0.5", 500), ("1800m", 1800), ("1.234", 1234)]
)
def test_cpu_is_read_in_milli_cpu(text: int | str, millis: int) -> None:
    assert ANY_CPU.read(text) == millis


@pytest.mark.parametrize(("millis", "text"), [(1000, "1"), (1800, "1800m"), (2000, "2"), (1, "1m")])
def test_cpu_is_written_as_the_api_server_stores_it(millis: int, text: str) -> None:
    assert format_cpu(millis) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [(7, 7), ("52428800", 52428800), ("50Mi", 52428800), ("50M", 50_000_000), ("1Gi", 2**30)],
)
def test_bytes_are_read(text: int | str, count: int) -> None:
    assert ANY_BYTES.read(text) == count


@pytest.mark.parametrize(
    ("count", "text"), [(1879048192, "1792Mi"), (2**30, "1Gi"), (1024, "1Ki"), (1000, "1000"), (0, "0")]
)
def test_bytes_are_written_in_the_largest_unit_that_divides_them(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [(30, 30.0), ("30s", 30.0), ("500ms", 0.5), ("1m30s", 90.0), ("1.5h", 5400.0)]
)
def test_durations_are_read_in_seconds(text: int | str, seconds: float) -> None:
    assert ANY_DURATION.read(text) == seconds


@pytest.mark.parametrize(
    "value", [1.5, True, None, "", "1 Gi", "-1", "1e3", "\N{ARABIC-INDIC DIGIT ONE}", ["1"]]
)
def test_what_is_no_quantity_is_refused(value: object) -> None:
    for quantity in (ANY_CPU, ANY_BYTES, ANY_BITS, ANY_DURATION):
        with pytest.raises(ValueError, match="must be"):
            quantity.read(value)


def test_out_of_bounds_says_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"^must be from 1Ki to 1Gi$"):
        Quantity(BYTES, 1024, 2**30).read("2Gi")


@given(st.integers(1, 9_999_999))
def test_what_is_written_is_read_back_the_same(number: int) -> None:
    assert ANY_CPU.read(format_cpu(number)) == number
    assert ANY_BYTES.read(format_bytes(number)) == number
    assert ANY_BITS.read(format_bits(number)) == number
    assert ANY_DURATION.read(format_duration(number / 1000)) == number / 1000
