"""Settings on their way to the nodes: the live ones by ConfigMap, the others by environment; the tokens."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from wsfleet.resources import names
from wsfleet.resources.context import BuildContext
from wsnode.config import Settings, env_name

_ALWAYS_SET = frozenset({"nats_url", "settings_file", "admin_token_file"})
_NEVER_SET = frozenset({"node_name", "processes"})  # the pod's own host name; a property of the release


def settings_file(settings: Settings) -> str:
    """The text of the settings file: the live settings, `NAME=value` lines in a fixed order."""
    return "".join(f"{name}={value}\n" for name, value in sorted(settings.to_env(live=True).items()))


def settings_hash(text: str) -> str:
    """The hash that a node reports of its settings file: of the bytes, the first 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fixed_environment(settings: Settings) -> dict[str, str]:
    """The settings that can't change while a node runs, where they differ from its defaults.

    Defaults are left out so that a release with a new setting changes no pod that is there.
    """
    defaults = Settings.model_fields
    names_set = [
        name
        for name in Settings.model_fields
        if name not in _NEVER_SET
        and (name in _ALWAYS_SET or getattr(settings, name) != defaults[name].default)
    ]
    everything = settings.to_env(live=False)
    return {env_name(name): everything[env_name(name)] for name in names_set if env_name(name) in everything}


def build_configmap(context: BuildContext) -> dict[str, Any]:
    """The ConfigMap with the live settings, mounted as the nodes' settings file."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": context.metadata(names.configmap_name(context.name)),
        "data": {names.SETTINGS_KEY: settings_file(context.settings)},
    }


def build_secret(context: BuildContext, tokens: Sequence[str]) -> dict[str, Any]:
    """The Secret with the tokens that may drain and shed, newest first; two while they are exchanged.

    Raises:
        ValueError: there is no token, or one that does not fit on a line.
    """
    if not tokens or any(not token or token.split() != [token] for token in tokens):
        raise ValueError("tokens must be one or more words")
    text = "".join(f"{token}\n" for token in tokens)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": context.metadata(names.secret_name(context.name)),
        "data": {names.TOKENS_KEY: base64.b64encode(text.encode()).decode()},
    }
