"""Names of the machine types whose figures `wsfleet.sizing` knows; another one comes with its figures."""

from __future__ import annotations

MACHINE_TYPES = (
    "e2-micro",
    "e2-small",
    "e2-medium",
    "e2-standard-2",
    "e2-standard-4",
    "e2-standard-8",
    "e2-highcpu-2",
    "e2-highcpu-4",
    "e2-highcpu-8",
    "n2-standard-2",
    "n2-standard-4",
    "t2d-standard-1",
    "t2d-standard-2",
    "t2d-standard-4",
    "c3-highcpu-4",
    "t3.small",
    "t3.medium",
    "c7g.large",
    "c7i.large",
    "m7i.large",
    "B2s",
    "B2ms",
    "D2s_v5",
    "F2s_v2",
)
