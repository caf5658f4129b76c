"""Log lines as JSON or as text, a level that changes live, and a bound on what floods.

Values go beside the message, not into it: `log.info("settings applied", extra=fields(hash=...))`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, Any, Literal

Level = Literal["debug", "info", "warning", "error"]

_ROOT = "wsnode"
_KEYS_KEPT = 1000


def fields(**values: Any) -> dict[str, Any]:
    """Values to go with a message, for the `extra` of a logging call."""
    return {"fields": values}


def configure(
    level: Level,
    form: Literal["json", "text"],
    node: str,
    stream: IO[str] | None = None,
    process: int | None = None,
) -> None:
    """Sets up all of the node's logging, on standard error unless told otherwise; may be called again.

    `process` is the place of this process among several that serve one node's clients.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter(node, process) if form == "json" else TextFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries speak up from warnings on; the level that users set is the node's.
    root.setLevel(logging.WARNING)
    set_level(level)


def set_level(level: Level) -> None:
    """Changes the least level that the node logs, at once."""
    logging.getLogger(_ROOT).setLevel(level.upper())


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (UTC, ISO 8601), level, logger, node, process, message, then the values.

    `process` is only there where several serve.
    """

    def __init__(self, node: str, process: int | None = None) -> None:
        super().__init__()
        self._of = {"node": node} if process is None else {"node": node, "process": process}

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._of,
            "message": record.getMessage(),
        }
        for name, value in _values(record).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """For people: time, level, message, then the values as name=value."""

    def __init__(self, process: int | None = None) -> None:
        super().__init__()
        self._process = {} if process is None else {"process": process}

    def format(self, record: logging.LogRecord) -> str:
        named = {**self._process, **_values(record)}
        values = "".join(f" {name}={_text(value)}" for name, value in named.items())
        line = f"{_timestamp(record)} {record.levelname:<7} {record.getMessage()}{values}"
        # A client's bytes may be in it: what would end the line or steer a terminal is escaped.
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class RateLimited:
    """Lets one line a kind through each period, and says in the next how many were held back.

    For what others can cause at any rate: bad payloads, refused clients.
    """

    def __init__(
        self,
        logger: logging.Logger,
        period_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._period = period_seconds
        self._clock = clock
        self._kinds: OrderedDict[str, tuple[float, int]] = OrderedDict()  # kind -> next time, held back

    def log(self, level: int, kind: str, message: str, **values: Any) -> bool:
        """Logs the message unless its kind had its line in this period; returns whether it did."""
        if not self._logger.isEnabledFor(level):
            return False
        now = self._clock()
        due, held_back = self._kinds.get(kind, (now, 0))
        if now < due:
            self._kinds[kind] = (due, held_back + 1)
            return False
        self._kinds[kind] = (now + self._period, 0)
        self._kinds.move_to_end(kind)
        if len(self._kinds) > _KEYS_KEPT:
            self._kinds.popitem(last=False)
        if held_back:
            values["held_back"] = held_back
        self._logger.log(level, message, extra=fields(**values))
        return True

    def warning(self, kind: str, message: str, **values: Any) -> bool:
        """`log` at level warning."""
        return self.log(logging.WARNING, kind, message, **values)

    def info(self, kind: str, message: str, **values: Any) -> bool:
        """`log` at level info."""
        return self.log(logging.INFO, kind, message, **values)


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _values(record: logging.LogRecord) -> dict[str, Any]:
    values: dict[str, Any] = getattr(record, "fields", {})
    return values


def _text(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(c in text for c in ' "=') else text
