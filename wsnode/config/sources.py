"""Where settings come from: the environment, and over it a file of `NAME=value` lines.

The environment is fixed for the life of a process, the file may change under it. So the file is
for live settings; it may name a fixed one only with the value that it has anyway.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wsnode.config.settings import (
    LIVE_FIELDS,
    Settings,
    SettingsError,
    env_name,
    format_value,
    settings_from_env,
)

Origin = Literal["default", "environment", "file"]

MAX_FILE_BYTES = 1_000_000
_OURS = frozenset(env_name(field) for field in Settings.model_fields)
_FIXED = {env_name(field): field for field in Settings.model_fields if field not in LIVE_FIELDS}
_USER_PART = re.compile(r"(^|,)(\w+://)?[^,]*@")
# What Kubernetes puts into the environment for a Service (`WS_SERVICE_HOST`, `WS_PORT_80_TCP_ADDR`).
_OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_\d+_(TCP|UDP|SCTP).*)?$")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where each came from.

    Attributes:
        settings: environment and file together.
        file_hash: see the function of this name; empty without a file.
        origins: field -> default, environment or file.
    """

    settings: Settings
    file_hash: str
    origins: Mapping[str, Origin]


def parse_settings_file(content: bytes) -> dict[str, str]:
    """Variables of a settings file: `NAME=value` lines, blank lines, and `#` at the start of a line.

    Raises:
        SettingsError: with a line for each bad line of the file.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError([f"the file is not UTF-8 at byte {error.start}"]) from error
    values: dict[str, str] = {}
    problems = []
    # Not splitlines(): it would also cut at characters such as U+2028 inside a value.
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, separator, value = (part.strip() for part in stripped.partition("="))
        if not separator or not name:
            problems.append(f"line {number} is {stripped[:80]!r}: must be NAME=value")
        elif name in values:
            problems.append(f"line {number} names {name} a second time: must be named once")
        else:
            values[name] = value
    if problems:
        raise SettingsError(problems)
    return values


def load_settings(environ: Mapping[str, str], content: bytes | None) -> Loaded:
    """Settings of an environment and, over it, of a settings file's content (None: there is no file).

    Raises:
        SettingsError: with one line a problem; nothing of a file counts if anything in it is wrong.
    """
    in_file = {} if content is None else parse_settings_file(content)
    problems = [f"{name} is not a setting of this node" for name in sorted(in_file) if name not in _OURS]
    try:
        settings = settings_from_env({**environ, **{k: v for k, v in in_file.items() if k in _OURS}})
    except SettingsError as error:
        raise SettingsError(problems + error.problems) from error
    fixed = settings_from_env({name: environ[name] for name in _FIXED if name in environ})
    for name, field in _FIXED.items():
        present = format_value(getattr(fixed, field))
        if name in in_file and format_value(getattr(settings, field)) != present:
            problems.append(
                f"{name}={in_file[name]!r}: can't change while the node runs, must be {present!r} or left out"
            )
    if problems:
        raise SettingsError(problems)
    digest = "" if content is None else file_hash(content)
    return Loaded(settings, digest, _origins(environ, in_file))


def file_hash(content: bytes) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a settings file's bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def read_settings_file(path: str) -> bytes:
    """The file's bytes.

    Raises:
        SettingsError: it can't be read, or is larger than `MAX_FILE_BYTES`.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError([f"WS_SETTINGS_FILE={path!r}: {error.strerror or error}"]) from error
    if len(content) > MAX_FILE_BYTES:
        raise SettingsError([f"WS_SETTINGS_FILE={path!r}: must not be above {MAX_FILE_BYTES} bytes"])
    return content


def load_from_environment(environ: Mapping[str, str]) -> Loaded:
    """Settings at the start of a node: the environment, and the file that WS_SETTINGS_FILE names.

    Raises:
        SettingsError: with one line a problem.
    """
    path = environ.get("WS_SETTINGS_FILE", "")
    return load_settings(environ, read_settings_file(path) if path else None)


def masked_env(settings: Settings) -> dict[str, str]:
    """Variable -> text, with the user part of broker addresses masked."""
    values = settings.to_env()
    values["NATS_URL"] = mask_addresses(values["NATS_URL"])
    return values


def mask_addresses(urls: str) -> str:
    """Comma-separated broker addresses with user, password and token masked."""
    return _USER_PART.sub(r"\1\2***@", urls)


def suspicious_names(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like misspelt settings -> the setting that was probably meant."""
    found = {}
    for name in sorted(environ):
        if name in _OURS or not name.startswith(("WS_", "JS_", "LOG_")) or _OF_A_SERVICE.search(name):
            continue
        close = difflib.get_close_matches(name, _OURS, n=1, cutoff=0.85)
        if close:
            found[name] = close[0]
    return found


def _origins(environ: Mapping[str, str], in_file: Mapping[str, str]) -> dict[str, Origin]:
    origins: dict[str, Origin] = {}
    for field in Settings.model_fields:
        name = env_name(field)
        origins[field] = "file" if name in in_file else "environment" if name in environ else "default"
    return origins
