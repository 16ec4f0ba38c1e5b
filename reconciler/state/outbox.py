"""What was told of each app, and the messages that are still to be delivered."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping

from reconciler.plan.notices import WELL, Told
from reconciler.state.store import Store
from reconciler.values import frozen


@frozen
class Letter:
    """One message to one recipient. `recipient` names a URL without saying it; `at` is when it
    was written, `attempts` how often it was tried, this time included."""

    seq: int
    at: float
    app: str
    event: str
    recipient: str
    title: str
    body: str
    attempts: int

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Letter:
        names = ("seq", "at", "app", "event", "recipient", "title", "body", "attempts")
        return cls(*(row[name] for name in names))


def read_told(connection: sqlite3.Connection, project: str) -> dict[str, Told]:
    """Of the project's apps that aren't simply well, by app."""
    rows = connection.execute(
        "SELECT * FROM told WHERE app >= ? AND app < ?", (f"{project}/", f"{project}0")
    )
    return {row["app"]: Told(**json.loads(row["state"]), since=row["at"]) for row in rows}


def write_told(connection: sqlite3.Connection, changes: Mapping[str, Told]) -> None:
    """Remember; an app that is well has no row."""
    for app, told in changes.items():
        if told == WELL:
            connection.execute("DELETE FROM told WHERE app = ?", (app,))
            continue
        state = json.dumps({"key": told.key, "heard": told.heard})
        connection.execute(
            "INSERT INTO told (app, state, at) VALUES (?, ?, ?) ON CONFLICT (app) DO UPDATE SET "
            "state = excluded.state, at = excluded.at",
            (app, state, told.since),
        )


def add_letters(connection: sqlite3.Connection, letters: Iterable[Letter]) -> None:
    """Put messages into the outbox; their numbers are given here."""
    connection.executemany(
        "INSERT INTO outbox (at, app, event, recipient, title, body) VALUES (?, ?, ?, ?, ?, ?)",
        [(one.at, one.app, one.event, one.recipient, one.title, one.body) for one in letters],
    )


def next_delivery(store: Store) -> float | None:
    """When the next message is due, in seconds since 1970; None for an empty outbox."""
    row = store.connection.execute("SELECT min(next_at) FROM outbox").fetchone()
    return None if row[0] is None else float(row[0])


def take_due(store: Store, now: float, again_at: float) -> list[Letter]:
    """The messages that are due, oldest first, each counted as tried and due again at `again_at`,
    so that a sender that dies with them doesn't take them again at once."""
    if (due := next_delivery(store)) is None or due > now:
        return []
    with store.transaction() as connection:
        rows = connection.execute(
            "UPDATE outbox SET attempts = attempts + 1, next_at = ? WHERE next_at <= ? RETURNING *",
            (again_at, now),
        ).fetchall()
    return sorted((Letter.from_row(row) for row in rows), key=lambda letter: letter.seq)


def drop_letters(store: Store, numbers: Collection[int]) -> None:
    """They were delivered, or never will be."""
    with store.transaction() as connection:
        connection.executemany("DELETE FROM outbox WHERE seq = ?", [(seq,) for seq in numbers])


def put_off(store: Store, times: Mapping[int, float]) -> None:
    """When each is to be tried again, by number."""
    with store.transaction() as connection:
        connection.executemany(
            "UPDATE outbox SET next_at = ? WHERE seq = ?", [(at, seq) for seq, at in times.items()]
        )
