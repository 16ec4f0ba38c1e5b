"""What goes wrong, as HTTP answers. The only place where an error becomes a status.

    CallError (a UsageError)     the call itself makes no sense
    ├── Unauthorized   401       no credential, or one that counts no more
    ├── Forbidden      403       the credential may not do that
    ├── NotFound       404       no such application, deployment or procedure
    ├── WrongMethod    405       a GET for a mutation, or a POST for a query
    ├── TooSlow        408       the request's body didn't come in time
    ├── TooLarge       413       the body is larger than it may be
    ├── NotJson        415       a POST whose content type isn't JSON
    ├── BadInput       400       `issues` say what is wrong with which field
    └── TooMany        429, 503  `retry_after` seconds later it may work

Everything else is the tree of `reconciler.errors`. What is in neither is a bug: 500 without a word
about it, and the log has the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from reconciler.errors import (
    Locked,
    ReadOnly,
    ReconcilerError,
    SpecError,
    Stalled,
    Stopped,
    Transient,
    UsageError,
)
from reconciler.values import frozen


@frozen
class Issue:
    """One mistake in the input: the field it is in, as a path, and what was expected."""

    path: tuple[str | int, ...]
    message: str


class CallError(UsageError):
    """A call that makes no sense, or that this caller may not make."""


class Unauthorized(CallError):
    """No credential, or one that counts no more. `tried`: whether there was one at all."""

    def __init__(self, *, tried: bool = False) -> None:
        super().__init__("Unauthorized")
        self.tried = tried


class Forbidden(CallError):
    """The credential is good, but not for this."""


class NotFound(CallError):
    """No such application, deployment or procedure."""


class WrongMethod(CallError):
    """The procedure wants another method. `allow` names it."""

    def __init__(self, what: str, allow: str) -> None:
        super().__init__(what)
        self.allow = allow


class TooSlow(CallError):
    """The body of the request didn't come in time."""


class TooLarge(CallError):
    """The body of the request is larger than it may be."""


class NotJson(CallError):
    """A POST needs `Content-Type: application/json`."""


class BadInput(CallError):
    """The input isn't what the call takes."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        super().__init__("Input validation failed")
        self.issues = tuple(issues)


class TooMany(CallError):
    """Too many failed tries from one address."""

    retry_after = 10.0


class Overloaded(CallError):
    """More is under way than this process takes on at once."""

    retry_after = 1.0


STATUSES: tuple[tuple[type[ReconcilerError], int, str], ...] = (
    (Unauthorized, 401, "UNAUTHORIZED"),
    (Forbidden, 403, "FORBIDDEN"),
    (ReadOnly, 403, "FORBIDDEN"),
    (NotFound, 404, "NOT_FOUND"),
    (WrongMethod, 405, "METHOD_NOT_SUPPORTED"),
    (TooSlow, 408, "TIMEOUT"),
    (TooLarge, 413, "PAYLOAD_TOO_LARGE"),
    (NotJson, 415, "UNSUPPORTED_MEDIA_TYPE"),
    (TooMany, 429, "TOO_MANY_REQUESTS"),
    (Overloaded, 503, "SERVICE_UNAVAILABLE"),
    (SpecError, 400, "BAD_REQUEST"),
    (UsageError, 400, "BAD_REQUEST"),
    (Stalled, 409, "CONFLICT"),
    (Transient, 503, "SERVICE_UNAVAILABLE"),
    (Locked, 503, "SERVICE_UNAVAILABLE"),
    (Stopped, 503, "SERVICE_UNAVAILABLE"),
    (ReconcilerError, 500, "INTERNAL_SERVER_ERROR"),
)
"""The first that fits counts."""

NUMBERS = {
    "BAD_REQUEST": -32600,
    "UNAUTHORIZED": -32001,
    "FORBIDDEN": -32003,
    "NOT_FOUND": -32004,
    "METHOD_NOT_SUPPORTED": -32005,
    "TIMEOUT": -32008,
    "CONFLICT": -32009,
    "PAYLOAD_TOO_LARGE": -32013,
    "UNSUPPORTED_MEDIA_TYPE": -32015,
    "TOO_MANY_REQUESTS": -32029,
    "SERVICE_UNAVAILABLE": -32603,
    "INTERNAL_SERVER_ERROR": -32603,
}
"""Codes of JSON-RPC, as tRPC numbers them (its `TRPC_ERROR_CODES_BY_KEY`)."""

RETRY_SECONDS = 5.0
BUG = "Something went wrong here that shouldn't; the daemon's log has the details."


@frozen
class Refusal:
    """An error as it goes over the wire, whatever the door."""

    status: int
    code: str
    message: str
    issues: tuple[Issue, ...] = ()
    retry_after: float | None = None
    allow: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        found = {}
        if self.retry_after is not None:
            found["Retry-After"] = str(max(1, round(self.retry_after)))
        if self.status == 401:
            found["WWW-Authenticate"] = "Bearer"
        if self.allow:
            found["Allow"] = self.allow
        return found

    def document(self, path: str) -> dict[str, Any]:
        """The body at the plain door. `path` names the procedure."""
        if self.status == 401:
            return {"message": self.message}
        found: dict[str, Any] = {
            "message": self.message,
            "code": self.code,
            "data": self._data(path),
        }
        if self.issues:
            found["issues"] = self._issues()
        return found

    def trpc_document(self, path: str) -> dict[str, Any]:
        """The body at the tRPC door."""
        data = self._data(path)
        if self.issues:
            data["issues"] = self._issues()
        number = NUMBERS[self.code]
        return {"error": {"json": {"message": self.message, "code": number, "data": data}}}

    def _data(self, path: str) -> dict[str, Any]:
        return {"code": self.code, "httpStatus": self.status, "path": path, "zodError": None}

    def _issues(self) -> list[dict[str, Any]]:
        return [{"path": list(one.path), "message": one.message} for one in self.issues]


def refuse(error: BaseException, hide: Callable[[str], str]) -> Refusal:
    """The answer for an error. `hide` takes secrets out of its words."""
    if not isinstance(error, ReconcilerError):
        return Refusal(500, "INTERNAL_SERVER_ERROR", BUG)
    status, code = next((s, c) for kind, s, c in STATUSES if isinstance(error, kind))
    return Refusal(
        status,
        code,
        hide(_sentence(error)),
        tuple(Issue(one.path, hide(one.message)) for one in _issues(error)),
        _retry_after(error, status),
        getattr(error, "allow", ""),
    )


def _sentence(error: ReconcilerError) -> str:
    """What happened, and what to do now."""
    what = f"{error.app}: {error.what}" if error.app else error.what
    return f"{what}. {error.todo}" if error.todo else what


def _issues(error: ReconcilerError) -> tuple[Issue, ...]:
    if isinstance(error, BadInput):
        return error.issues
    if isinstance(error, SpecError):
        return tuple(Issue((one.field,), one.message) for one in error.problems)
    return ()


def _retry_after(error: ReconcilerError, status: int) -> float | None:
    asked = getattr(error, "retry_after", None)
    if asked is not None:
        return float(asked)
    return RETRY_SECONDS if status == 503 else None


def to_bytes(document: Any) -> bytes:
    """JSON as it goes over the wire; what isn't Unicode becomes a question mark."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")
