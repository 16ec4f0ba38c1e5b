"""Who calls, and what they may do: tokens, their scopes, and the price of a wrong one.

read     look-ups                        deploy   and deploy, redeploy, cancel, clean queues
admin    and kill, clear, save the environment
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress

from reconciler.api.backend import Backend
from reconciler.api.errors import Forbidden, TooMany, Unauthorized
from reconciler.errors import ReconcilerError
from reconciler.state.tokens import SCOPES, Token, find_token, note_use
from reconciler.values import frozen

FREE_TRIES = 10
MOST_TRIES = 60
LONGEST_DELAY = 1.0
FORGET_SECONDS = 60.0
ADDRESSES = 1024


@frozen
class Caller:
    """Whoever holds a good token."""

    token: Token

    def must(self, scope: str) -> None:
        """Raises `Forbidden` when the token's scope is too small."""
        if not self.may(scope):
            raise Forbidden(
                f"the token {self.token.name!r} has the scope {self.token.scope}, and this needs "
                f"{scope}",
                todo=f"Use a token that was created with --scope {scope}.",
            )

    def may(self, scope: str) -> bool:
        """Whether the token's scope is enough."""
        return SCOPES.index(self.token.scope) >= SCOPES.index(scope)

    def sees(self, app: str) -> bool:
        """Whether the token is for this app (`<project>/<name>`)."""
        apps = self.token.apps
        return not apps or app in apps or app.partition("/")[2] in apps


class Gate:
    """Lets callers in by their tokens. Safe to use from several threads."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def admit(self, headers: Mapping[str, str], address: str) -> Caller:
        """The caller. Raises `Unauthorized`. A good token counts, whatever stands beside it."""
        keys = keys_of(headers)
        tools = self._backend.tools
        now = tools.clock()
        for key in keys:
            token = find_token(tools.store, key)
            if token is not None and token.state(now) == "active":
                with suppress(ReconcilerError):  # a full disk is no reason to turn anybody away
                    note_use(tools.store, token, address, now)
                return Caller(token)
        raise Unauthorized(tried=bool(keys))


def keys_of(headers: Mapping[str, str]) -> list[str]:
    """The credentials of a request: `x-api-key`, and `Authorization: Bearer`; empty ones are none.

    `headers`: by name in lower case.
    """
    kind, _, bearer = headers.get("authorization", "").strip().partition(" ")
    found = [headers.get("x-api-key", ""), bearer if kind.lower() == "bearer" else ""]
    return [key for key in map(str.strip, found) if key]


class Slowdown:
    """Failed tries by address. Its memory is constant; a good token never comes here."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def delay(self, address: str) -> float:
        """Count a failed try; how many seconds its answer has to wait. Raises `TooMany`."""
        now = self._clock()
        with self._lock:
            count, last = self._failures.pop(address, (0, now))
            count = count + 1 if now - last < FORGET_SECONDS else 1
            self._failures[address] = (count, now)
            if len(self._failures) > ADDRESSES:
                self._failures.popitem(last=False)
        if count > MOST_TRIES:
            raise TooMany(
                "too many failed tries from this address",
                todo="Wait a minute, and use a token that `reconcile token list` calls active.",
            )
        return min(LONGEST_DELAY, 0.05 * max(0, count - FREE_TRIES))
