"""Who may drain and shed: the fleet's tokens, and the operator's term."""

from __future__ import annotations

import hmac
from pathlib import Path

_LARGEST_TERM = 2**63 - 1


# RefusedError(status)
# ├── 401  no token was sent
# ├── 403  a wrong one, or none is allowed at all
# ├── 400  the term is not a number
# └── 409  an operator that is no longer the leader
class RefusedError(Exception):
    """A request that changes something is not heeded.

    Attributes:
        status: of the HTTP answer.
        message: for the caller; never holds a token.
    """

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


class Gate:
    """Lets through who knows one of the tokens and isn't behind the highest term seen.

    The file is read at each request: they are rare, and a changed Secret counts at once.

    Attributes:
        term: the highest seen.
    """

    def __init__(self, token_file: str) -> None:
        self._token_file = token_file
        self.term = 0

    def check(self, token: str | None, term: str | None) -> None:
        """Checks the values of X-Wsfleet-Token and X-Wsfleet-Term (absent: 0).

        Raises:
            RefusedError: with the status to answer.
        """
        self._check_token(token)
        self._check_term(term)

    def _check_token(self, token: str | None) -> None:
        if not self._token_file:
            raise RefusedError(403, "nobody may change this node: WS_ADMIN_TOKEN_FILE is not set")
        if not token:
            raise RefusedError(401, "needs one of the fleet's tokens in the header X-Wsfleet-Token")
        try:
            lines = Path(self._token_file).read_bytes().split(b"\n")
        except OSError as error:
            raise RefusedError(403, f"the token file can't be read: {error.strerror or error}") from error
        sent = token.strip().encode("utf-8", "surrogateescape")
        allowed = [line.strip() for line in lines if line.strip()]
        # No early end: how long it takes must not tell which token it was nearest to.
        if sum([hmac.compare_digest(sent, line) for line in allowed]) == 0:
            raise RefusedError(403, "X-Wsfleet-Token is none of the fleet's tokens")

    def _check_term(self, text: str | None) -> None:
        text = "0" if text is None else text.strip()
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _LARGEST_TERM):
            raise RefusedError(400, f"X-Wsfleet-Term={text[:40]!r}: must be an integer from 0 on")
        if int(text) < self.term:
            raise RefusedError(
                409, f"X-Wsfleet-Term={text}: an operator with the later term {self.term} was here"
            )
        self.term = int(text)
