"""Values of command-line options: sizes, rates, shares, and `name=value` lists, read exactly."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction

_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_BITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")


def decimal(text: str) -> Fraction:
    """A number that is not negative, such as 2 or 0.5."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0 or value.adjusted() > 30:
        raise ValueError(f"{text!r} must be a number such as 2 or 0.5, not negative")
    return Fraction(value)


def whole(text: str) -> int:
    """A whole number from 1 on; 20,000 and 20_000 are read as well."""
    digits = text.replace(",", "").replace("_", "")
    if not digits.isascii() or not digits.isdigit() or int(digits) < 1 or len(digits) > 18:
        raise ValueError(f"{text!r} must be a whole number from 1 on")
    return int(digits)


def users(text: str) -> tuple[int, int | None]:
    """A number of users, or the two ends of a range: 20000 or 20000-40000."""
    low, dash, high = text.partition("-")
    try:
        return whole(low), whole(high) if dash else None
    except ValueError:
        allowed = "a whole number from 1 on, or a range such as 20000-40000"
        raise ValueError(f"{text!r} must be {allowed}") from None


def cpu_millis(text: str) -> int:
    """Thousandths of a vCPU from 2, 0.5 or 1800m."""
    number = text.removesuffix("m")
    try:
        millis = decimal(number) * (1 if text.endswith("m") else 1000)
    except ValueError:
        millis = Fraction(1, 2)
    if millis.denominator != 1:
        raise ValueError(f"{text!r} must be vCPU such as 2, 0.5 or 1800m, with at most three decimals")
    return int(millis)


def memory_bytes(text: str) -> int:
    """Bytes from 2Gi, 2048Mi, 2G or 2147483648."""
    return _quantity(text, _BYTES, "memory such as 2Gi, 2048Mi or 2G")


def bits_per_second(text: str) -> int:
    """Bits a second from 1G or 128M."""
    return _quantity(text, _BITS, "bits a second such as 1G or 128M")


def _quantity(text: str, units: dict[str, int], allowed: str) -> int:
    match = _QUANTITY.fullmatch(text.strip())
    unit = match.group(2).lower().removesuffix("b") if match else None
    if match is None or unit not in units:
        raise ValueError(f"{text!r} must be {allowed}")
    return int(decimal(match.group(1)) * units[unit])


def pair(text: str) -> tuple[str, str]:
    """Name and value of `name=value`."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip() or not value.strip():
        raise ValueError(f"{text!r} must be NAME=VALUE")
    return name.strip(), value.strip()


def shares(text: str) -> dict[str, Fraction]:
    """Shares by name from casual=60,active=35,trader=5."""
    found: dict[str, Fraction] = {}
    for part in text.split(","):
        name, value = pair(part)
        if name in found:
            raise ValueError(f"{text!r} names {name} twice")
        found[name] = decimal(value.removesuffix("%"))
    return found
