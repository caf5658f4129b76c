"""The node's settings: names, units, bounds, defaults, and which of them apply without a restart.

The one part of the node that the operator imports: it computes these settings, the node reads
them, so both must mean the same by them. Nothing here does I/O but `sources.py`.
"""

from wsnode.config.settings import (
    LIVE_FIELDS,
    Settings,
    SettingsError,
    env_name,
    format_value,
    override_name,
    settings_from_env,
)

__all__ = [
    "LIVE_FIELDS",
    "Settings",
    "SettingsError",
    "env_name",
    "format_value",
    "override_name",
    "settings_from_env",
]
