"""What can go wrong with a call to the API server.

KubeError
├── NotFoundError       404: not there, or its namespace is going
├── AlreadyExistsError  409 on create
├── ConflictError       409: a resourceVersion that is not current, or a field manager's conflict
├── ExpiredError        410: the resourceVersion of a watch is too old
├── InvalidError        400, 413, 422: what was sent is wrong; sending it again does not help
├── ForbiddenError      401, 403: the ServiceAccount may not
├── UnavailableError    429, 5xx, no connection, no answer in time: try again later
└── NotLeadingError     not sent: another operator may lead by now
"""

from __future__ import annotations

import json


class KubeError(Exception):
    """A call that did not succeed: `operation` says which, `status` is HTTP's (0 without an answer)."""

    def __init__(
        self, operation: str, status: int, message: str, *, retry_after: float | None = None
    ) -> None:
        self.operation = operation
        self.status = status
        self.message = message
        self.retry_after = retry_after
        super().__init__(f"{operation}: {message}")


class NotFoundError(KubeError):
    """The object is not there."""


class AlreadyExistsError(KubeError):
    """An object of that name is there already."""


class ConflictError(KubeError):
    """Somebody was faster: read again, decide again."""


class ExpiredError(KubeError):
    """The watch's place in history is gone: list again."""


class InvalidError(KubeError):
    """The API server refuses the content."""


class ForbiddenError(KubeError):
    """RBAC, admission or credentials stand in the way."""


class UnavailableError(KubeError):
    """The API server does not answer now."""


class NotLeadingError(KubeError):
    """This process does not hold its lease (any more): it may change nothing."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation, 0, "not sent: the lease is not held")


def in_going_namespace(error: KubeError) -> bool:
    """Whether nothing can be made since the namespace is being deleted, and what is in it with it."""
    return isinstance(error, ForbiddenError) and "because it is being terminated" in error.message


_BY_STATUS: dict[int, type[KubeError]] = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    413: InvalidError,
    422: InvalidError,
    429: UnavailableError,
}


def error_for(operation: str, status: int, body: bytes, *, retry_after: str | None = None) -> KubeError:
    """The error for an answer; the message is the API server's own where it gave one."""
    reason, message = "", body[:300].decode("utf-8", "replace").strip()
    causes: list[str] = []
    try:
        answer = json.loads(body)
        reason, message = answer.get("reason") or "", answer.get("message") or message
        causes = [cause.get("field") for cause in (answer.get("details") or {}).get("causes") or ()]
    except (ValueError, AttributeError):
        pass  # a proxy's page, or an answer cut off: its text is the message
    kind = _BY_STATUS.get(status, UnavailableError if status >= 500 else KubeError)
    if status == 409 and reason == "AlreadyExists":
        kind = AlreadyExistsError
    if status == 422 and "metadata.uid" in causes:
        kind = ConflictError  # it is another object, by the name of the one that was meant
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return kind(operation, status, message or f"HTTP {status}", retry_after=seconds)
