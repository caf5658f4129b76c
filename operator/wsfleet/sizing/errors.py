"""The one error of sizing: an input for which there is no sensible plan."""

from __future__ import annotations


class SizingError(ValueError):
    """An input that no plan can be made from.

    `field` is the path in a WsFleet's spec (`load.messagesPerSecond`, `overrides.maxConnections`),
    `value` what was given, `allowed` one clause that says the bound and, where it helps, what to do.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field}: {value} {allowed}" if value != "" else f"{field}: {allowed}")
