"""Figures as people read them: 10,000; 1.8 vCPU; 1,792 MB; 56 %."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

MIB = 2**20


def _rounded(value: Fraction, digits: int) -> Decimal:
    step = Decimal(1).scaleb(-digits)
    whole = Decimal(value.numerator) / Decimal(value.denominator)
    return whole.quantize(step, rounding=ROUND_HALF_EVEN)


def plain(value: int | float | Fraction, digits: int = 6) -> str:
    """A number without trailing zeros, with at most so many digits after the point."""
    text = f"{_rounded(Fraction(value), digits):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: int | float | Fraction) -> str:
    """A count with thousands separated; fractions only where the number is small."""
    exact = Fraction(value)
    return plain(exact, 0 if abs(exact) >= 100 else 2)


def vcpu(microseconds: int | Fraction) -> str:
    """CPU microseconds a second as vCPU."""
    cores = Fraction(microseconds) / 1_000_000
    return f"{plain(cores, 2 if cores >= Fraction(1, 10) else 6)} vCPU"


def mb(size_bytes: int | Fraction) -> str:
    """Bytes as MB of 2**20, the seed's unit for memory."""
    size = Fraction(size_bytes) / MIB
    return f"{plain(size, 0 if size >= 100 else 1 if size >= 1 else 4)} MB"


def percent(value: int | float | Fraction) -> str:
    """A percentage: whole from 20 on, one digit from 1 on, else its first digit that is not 0."""
    exact = Fraction(value)
    size = abs(exact)
    digits = 0 if size >= 20 else 1
    while 0 < size < 1 and _rounded(size, digits) == 0 and digits < 6:
        digits += 1
    return f"{plain(exact, digits)} %"


def rate_bytes(bytes_per_second: int | Fraction) -> str:
    """Bytes a second as decimal MB, the unit of networks."""
    return f"{plain(Fraction(bytes_per_second) / 10**6, 2)} MB/s"


def usd(cents: int | Fraction) -> str:
    """Cents as dollars."""
    return f"{_rounded(Fraction(cents) / 100, 2):,f} USD"
