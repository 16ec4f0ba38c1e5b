"""Who may call the HTTP API. Only the SHA-256 of a token is kept: it has 256 bits of chance, so
nothing slower is needed, and what is stored lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
from dataclasses import field

from reconciler.errors import UsageError
from reconciler.state.store import Store
from reconciler.values import frozen

PREFIX = "rcl_"
SCOPES = ("read", "deploy", "admin")
"""Each may do what those before it may."""
USE_SECONDS = 60.0
"""How often the last use is written down, so that polling doesn't write."""


@frozen
class Token:
    """One row of the table, without its hash. `apps`: names it is limited to; none: all.

    Times are seconds since 1970, UTC.
    """

    name: str
    scope: str
    apps: tuple[str, ...] = ()
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None
    used_at: float | None = None
    used_from: str = field(default="")

    def state(self, now: float) -> str:
        """active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def create_token(store: Store, token: Token, now: float) -> str:
    """Write a new token down and return it: it can't be read again.

    A revoked or expired token of that name is replaced. Raises `UsageError` for an active one.
    """
    plain = PREFIX + secrets.token_urlsafe(32)
    with store.transaction() as connection:
        found = _by_name(connection, token.name)
        if found is not None and found.state(now) == "active":
            raise UsageError(
                f"there is a token {token.name!r} already",
                todo="Choose another name, or revoke that one first.",
            )
        connection.execute(
            "INSERT OR REPLACE INTO tokens (name, hash, scope, apps, created_at, expires_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                token.name,
                _hash(plain),
                token.scope,
                json.dumps(list(token.apps)),
                now,
                token.expires_at,
            ),
        )
    return plain


def find_token(store: Store, plain: str) -> Token | None:
    """The token, whatever its state; None when there is no such token."""
    digest = _hash(plain)
    row = store.connection.execute("SELECT * FROM tokens WHERE hash = ?", (digest,)).fetchone()
    if row is None or not hmac.compare_digest(row["hash"], digest):
        return None
    return _from_row(row)


def list_tokens(store: Store) -> list[Token]:
    """All of them, by name."""
    return [_from_row(row) for row in store.connection.execute("SELECT * FROM tokens")]


def revoke_token(store: Store, name: str, now: float) -> Token:
    """From now on it lets nobody in. Raises `UsageError` when there is no such token."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE tokens SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL", (now, name)
        )
        found = _by_name(connection, name)
    if found is None:
        raise UsageError(
            f"there is no token {name!r}", todo="`reconcile token list` shows all of them."
        )
    return found


def note_use(store: Store, token: Token, address: str, now: float) -> None:
    """Remember that it was used, at most once a minute."""
    if token.used_at is not None and 0 <= now - token.used_at < USE_SECONDS:
        return
    with store.transaction() as connection:
        connection.execute(
            "UPDATE tokens SET used_at = ?, used_from = ? WHERE name = ?",
            (now, address, token.name),
        )


def has_active_token(store: Store, now: float) -> bool:
    """Whether anybody can use the API at all."""
    return any(token.state(now) == "active" for token in list_tokens(store))


def _hash(plain: str) -> str:
    return hashlib.sha256(plain.encode("utf-8", "surrogateescape")).hexdigest()


def _by_name(connection: sqlite3.Connection, name: str) -> Token | None:
    row = connection.execute("SELECT * FROM tokens WHERE name = ?", (name,)).fetchone()
    return _from_row(row) if row else None


def _from_row(row: sqlite3.Row) -> Token:
    values = {key: row[key] for key in row.keys() if key != "hash"}  # noqa: SIM118 - rows have no `in`
    return Token(**{**values, "apps": tuple(json.loads(values["apps"]))})
