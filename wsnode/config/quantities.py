"""Durations, sizes and addresses as people write them in a settings file."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_SECONDS_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]i?)?B?", re.IGNORECASE | re.ASCII)
_ON, _OFF = {"on", "true", "yes", "1"}, {"off", "false", "no", "0"}
_BYTES_PER_UNIT = {"k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def parse_duration(value: Any) -> Any:
    """Seconds from `30`, `30s`, `1m30s` or `500ms`; anything that is not a string is left to pydantic."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return float(text)
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("must be a duration such as 30s, 500ms or 1m30s")
    return sum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """The shortest form that `parse_duration` reads back as the same number of seconds."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def parse_size(value: Any) -> Any:
    """Bytes from `52428800`, `50Mi` or `50MB`; anything that is not a string is left to pydantic."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError("must be a number of bytes such as 52428800, 50Mi or 50M")
    number, unit = match.groups()
    # Exact: a float would round above 2^53, and overflow on a very long number.
    return int(Fraction(number) * (_BYTES_PER_UNIT[unit.lower()] if unit else 1))


def parse_list(value: Any) -> Any:
    """A tuple from a comma-separated string; empty entries are dropped."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def parse_address(value: Any) -> Any:
    """Checks `host:port` or `:port` and returns it unchanged."""
    if not isinstance(value, str):
        return value
    _, separator, port = value.strip().rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or not 0 <= int(port) <= 65535:
        raise ValueError("must be host:port or :port, with a port from 0 to 65535")
    return value.strip()


def parse_on_off(value: Any) -> Any:
    """A bool from `on` or `off`, and what people write for them; what is no string is left to pydantic."""
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word not in _ON | _OFF:
        raise ValueError("must be on or off")
    return word in _ON


Seconds = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)]
Bytes = Annotated[int, BeforeValidator(parse_size)]
Address = Annotated[str, BeforeValidator(parse_address)]
OnOff = Annotated[bool, BeforeValidator(parse_on_off)]
CommaList = Annotated[tuple[str, ...], BeforeValidator(parse_list)]


def split_address(address: str) -> tuple[str, int]:
    """Host (empty for all interfaces; IPv6 brackets removed) and port of a checked address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
