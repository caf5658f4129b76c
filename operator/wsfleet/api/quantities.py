"""Quantities as Kubernetes writes them (`1800m`, `1792Mi`, `30s`), held as plain integers and floats.

A quantity is an integer or a string in the resource and one number, in the unit that the field's
name tells, in the model. Written back it is in canonical form: the API server stores `1` for
`1000m`, and an object that differs from the stored one only so must not look changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


def parse_cpu(text: str) -> int:
    """Milli-CPU of `2`, `0.5` or `1800m`."""
    return int(Decimal(text[:-1])) if text.endswith("m") else int(Decimal(text) * 1000)


def format_cpu(millis: int) -> str:
    """The canonical quantity of so many milli-CPU."""
    return str(millis // 1000) if millis % 1000 == 0 else f"{millis}m"


def parse_bytes(text: str) -> int:
    """Bytes of `52428800`, `50Mi` or `50M`."""
    for suffix, factor in (_BINARY | _DECIMAL).items():
        if text.endswith(suffix):
            return int(Decimal(text.removesuffix(suffix)) * factor)
    return int(text)


def format_bytes(count: int) -> str:
    """The canonical quantity of so many bytes, in the largest binary unit that divides them."""
    for suffix, factor in reversed(_BINARY.items()):
        if count and count % factor == 0:
            return f"{count // factor}{suffix}"
    return str(count)


def format_bits(count: int) -> str:
    """The canonical quantity of so many bits a second, in the largest decimal unit that divides them."""
    for suffix, factor in reversed(_DECIMAL.items()):
        if count and count % factor == 0:
            return f"{count // factor}{suffix}"
    return str(count)


def parse_duration(text: str) -> float:
    """Seconds of `30s`, `500ms` or `1m30s`."""
    parts = _DURATION_PART.findall(text)
    return float(sum(Decimal(number) * _SECONDS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """The shortest duration of one unit: `30s` or `500ms`."""
    millis = round(seconds * 1000)
    return f"{millis // 1000}s" if millis % 1000 == 0 else f"{millis}ms"


@dataclass(frozen=True)
class Unit:
    """How one kind of quantity is written and read; `cel` makes it comparable for the API server."""

    pattern: str
    examples: str
    from_integer: Callable[[int], Any]
    parse: Callable[[str], Any]
    format: Callable[[Any], str]
    cel: str


CPU = Unit(
    pattern=r"^[0-9]{1,7}(\.[0-9]{1,3}|m)?$",
    examples="2, 0.5 or 1800m",
    from_integer=lambda cores: cores * 1000,
    parse=parse_cpu,
    format=format_cpu,
    cel="quantity(string({}))",
)
BYTES = Unit(
    pattern=r"^[0-9]{1,15}(Ki|Mi|Gi|Ti|k|M|G|T)?$",
    examples="52428800, 50Mi or 50M",
    from_integer=int,
    parse=parse_bytes,
    format=format_bytes,
    cel="quantity(string({}))",
)
BITS_PER_SECOND = Unit(
    pattern=r"^[0-9]{1,15}(k|M|G|T)?$",
    examples="1G or 128M",
    from_integer=int,
    parse=parse_bytes,
    format=format_bits,
    cel="quantity(string({}))",
)
DURATION = Unit(
    pattern=r"^([0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$",
    examples="30s, 500ms or 1m30s; a plain integer is seconds",
    from_integer=float,
    parse=parse_duration,
    format=format_duration,
    cel="duration(type({0}) == int ? string({0}) + 's' : string({0}))",
)


@dataclass(frozen=True)
class Quantity:
    """A number that is written as a quantity: its unit and inclusive bounds, in the model's unit."""

    unit: Unit
    least: float
    most: float

    def read(self, value: Any) -> Any:
        """The number of what the resource holds.

        Raises:
            ValueError: it is not a quantity of this unit, or is out of bounds.
        """
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(self._written())
        if isinstance(value, int):
            number = self.unit.from_integer(value)
        elif re.fullmatch(self.unit.pattern, value):
            number = self.unit.parse(value)
        else:
            raise ValueError(f"must be a quantity such as {self.unit.examples}")
        if not self.least <= number <= self.most:
            raise ValueError(self._allowed())
        return number

    def _allowed(self) -> str:
        return f"must be from {self.unit.format(self.least)} to {self.unit.format(self.most)}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self.read,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.unit.format, return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        comparable = self.unit.cel.format("self")
        least, most = (self._cel_constant(bound) for bound in (self.least, self.most))
        within = (
            f"{comparable} >= {least} && {comparable} <= {most}"
            if self.unit is DURATION
            else f"{comparable}.compareTo({least}) >= 0 && {comparable}.compareTo({most}) <= 0"
        )
        # A rule and no `pattern`: of that one the API server would say the expression and no example.
        written = f"type(self) == int || string(self).matches(r'{self.unit.pattern}')"
        rules = {
            f"!({written}) || ({within})": self._allowed(),
            written: self._written(),
        }
        return {
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            "x-kubernetes-validations": [
                {"rule": rule, "message": message, "reason": "FieldValueInvalid"}
                for rule, message in rules.items()
            ],
        }

    def _written(self) -> str:
        return f"must be an integer or a string such as {self.unit.examples}"

    def _cel_constant(self, bound: float) -> str:
        kind = "duration" if self.unit is DURATION else "quantity"
        return f"{kind}('{self.unit.format(bound)}')"


# Bounds for a machine and for what a pod of it asks for.
MachineCpu = Annotated[int, Quantity(CPU, 1, 1_024_000)]
"""Milli-CPU, from 1m to 1024."""
MachineMemory = Annotated[int, Quantity(BYTES, 2**20, 2**44)]
"""Bytes, from 1Mi to 16Ti."""
NetworkRate = Annotated[int, Quantity(BITS_PER_SECOND, 10**6, 10**12)]
"""Bits a second, from 1M to 1T."""
