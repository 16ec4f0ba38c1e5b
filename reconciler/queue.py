"""The queue: rows of `deployments`, moved by one transaction at a time.

    put ──▶ queued ──claim──▶ running ──finish──▶ done | error
              │  ▲               ▲ │ │
              │  └── hand_over ──┼─┘ │   its process ends in order
              └─ superseded      └───┘   claim again, when the owner died: same row, next attempt

One running and one queued deployment per app, by unique index. Whoever runs one holds a lease
with a token; every write names the token, so a process that lost its lease can't write.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field
from typing import Any

from reconciler.errors import LeaseLost
from reconciler.events import Event
from reconciler.host.owner import is_alive
from reconciler.state.apps import (
    FailedTry,
    ensure_app,
    insert_deployment,
    record_build,
    record_failure,
    record_success,
    set_status,
)
from reconciler.state.records import Deployment, Request
from reconciler.state.store import Store, add_events
from reconciler.values import frozen

LEASE_SECONDS = 10.0
HEARTBEAT_SECONDS = 2.0

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(now: float) -> str:
    """13 letters and digits: the time in milliseconds, then chance. Sorts by time."""
    number, digits = (int(now * 1000) << 20) | int.from_bytes(os.urandom(4)) >> 12, ""
    for _ in range(13):
        number, rest = divmod(number, 32)
        digits = _ALPHABET[rest] + digits
    return digits


@frozen
class Claim:
    """The right to run and to write one deployment."""

    deployment: Deployment
    token: int

    @property
    def id(self) -> str:
        return self.deployment.id


# -- asking ----------------------------------------------------------------------------------


def put(store: Store, request: Request, now: float) -> Deployment:
    """Ask for a deployment. One that already waits for the same app is superseded."""
    deployment = new_id(now)
    with store.transaction() as connection:
        waiting = connection.execute(
            "SELECT * FROM deployments WHERE app = ? AND status = 'queued'", (request.app,)
        ).fetchone()
        if waiting is not None:
            reason = f"replaced by {deployment}"
            _end_waiting(connection, Deployment.from_row(waiting), ("superseded", reason), now)
        values = {"id": deployment, "status": "queued", "queued_at": now}
        insert_deployment(connection, request, values)
        ensure_app(connection, request.app)
        set_status(connection, request.app, "running")
        data = {"cause": request.cause, "kind": request.kind}
        add_events(connection, now, [Event("queued", request.app, deployment, data)])
        return _fetch(connection, deployment)


def cancel_waiting(
    store: Store, now: float, *, app: str = "", only: Collection[str] | None = None
) -> list[str]:
    """End waiting deployments: of one app, of the ids in `only`, or all; returns their ids."""
    with store.transaction() as connection:
        rows = [
            Deployment.from_row(row)
            for row in connection.execute("SELECT * FROM deployments WHERE status = 'queued'")
        ]
        chosen = [row for row in rows if app in ("", row.app) and (only is None or row.id in only)]
        for row in chosen:
            _end_waiting(connection, row, ("cancelled", "taken out of the queue"), now)
            set_status(connection, row.app, "idle")
        return [row.id for row in chosen]


def request_stop(store: Store, app: str, how: str) -> Deployment | None:
    """Ask the owner of the app's running deployment to end it; `how`: cancel or kill.

    Returns it, or None when nothing is in progress. A kill overrides a cancel, never the other way.
    """
    with store.transaction() as connection:
        row = connection.execute(
            "SELECT * FROM deployments WHERE app = ? AND status = 'running'", (app,)
        ).fetchone()
        if row is None:
            return None
        connection.execute(
            "UPDATE deployments SET stop = ? WHERE id = ? AND stop != 'kill'", (how, row["id"])
        )
        return _fetch(connection, row["id"])


def _end_waiting(
    connection: sqlite3.Connection, row: Deployment, ending: tuple[str, str], now: float
) -> None:
    outcome, reason = ending
    connection.execute(
        "UPDATE deployments SET status = 'done', outcome = ?, reason = ?, finished_at = ? "
        "WHERE id = ?",
        (outcome, reason, now, row.id),
    )
    data = {"outcome": outcome, "reason": reason}
    add_events(connection, now, [Event("finished", row.app, row.id, data)])


# -- running ---------------------------------------------------------------------------------


def claim(
    store: Store, owner: str, now: float, only: Collection[str] | None = None
) -> Claim | None:
    """Take the oldest deployment that may run: an orphan first, else one that waits.

    `only`: ids to choose from, with the orphans that they wait behind. None when there is
    nothing to take.
    """
    if not _claimable(store, now, only):
        return None
    with store.transaction() as connection:
        for row in _chosen(_unfinished(connection), only):
            if _may_take(connection, row, now):
                return _take(connection, row, owner, now)
    return None


def take_over(store: Store, deployment: str, owner: str, now: float) -> Claim | None:
    """Take a running deployment from whoever owns it, alive or not; None when it has ended."""
    with store.transaction() as connection:
        row = _fetch(connection, deployment)
        return _take(connection, row, owner, now) if row.status == "running" else None


def is_orphan(row: Deployment, now: float) -> bool:
    """Whether a running deployment has lost its owner: gone, or without a heartbeat."""
    if row.status != "running":
        return False
    return is_alive(row.owner) is False or row.lease_until < now


def _claimable(store: Store, now: float, only: Collection[str] | None) -> bool:
    """Looks without a write lock, so that an idle worker writes nothing."""
    rows = store.unfinished()
    running = {row.app for row in rows if row.status == "running" and not is_orphan(row, now)}
    return any(row.app not in running for row in _chosen(rows, only))


def _chosen(rows: list[Deployment], only: Collection[str] | None) -> list[Deployment]:
    if only is None:
        return rows
    apps = {row.app for row in rows if row.id in only}
    return [r for r in rows if r.id in only or (r.status == "running" and r.app in apps)]


def _unfinished(connection: sqlite3.Connection) -> list[Deployment]:
    rows = connection.execute(
        "SELECT * FROM deployments WHERE status IN ('queued', 'running') "
        "ORDER BY status = 'queued', seq"
    )
    return [Deployment.from_row(row) for row in rows]


def _may_take(connection: sqlite3.Connection, row: Deployment, now: float) -> bool:
    if row.status == "running":
        return is_orphan(row, now)
    busy = connection.execute(
        "SELECT 1 FROM deployments WHERE app = ? AND status = 'running'", (row.app,)
    ).fetchone()
    return busy is None


def _take(connection: sqlite3.Connection, row: Deployment, owner: str, now: float) -> Claim:
    connection.execute(
        "UPDATE deployments SET status = 'running', owner = ?, lease_until = ?, "
        "token = token + 1, attempt = attempt + 1, started_at = coalesce(started_at, ?) "
        "WHERE id = ?",
        (owner, now + LEASE_SECONDS, now, row.id),
    )
    taken = _fetch(connection, row.id)
    data = {"attempt": taken.attempt, "resumed": taken.attempt > 1}
    add_events(connection, now, [Event("started", row.app, row.id, data)])
    return Claim(taken, taken.token)


def heartbeat(store: Store, claims: Iterable[Claim], now: float) -> None:
    """Prolong the leases. A lease that is lost stays lost; `read_stop` tells."""
    with store.transaction() as connection:
        connection.executemany(
            "UPDATE deployments SET lease_until = ? "
            "WHERE id = ? AND token = ? AND status = 'running'",
            [(now + LEASE_SECONDS, claim.id, claim.token) for claim in claims],
        )


def read_stop(store: Store, claim: Claim) -> str:
    """What was asked of the owner: empty, `cancel`, `kill`, or `lost` when it owns it no more."""
    row = store.connection.execute(
        "SELECT stop, token, status FROM deployments WHERE id = ?", (claim.id,)
    ).fetchone()
    if row is None or row["token"] != claim.token or row["status"] != "running":
        return "lost"
    return str(row["stop"])


def note_child(store: Store, claim: Claim, child: str) -> None:
    """Remember the child process group that works for a deployment, or none for an empty text."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE deployments SET child = ? WHERE id = ? AND token = ?",
            (child, claim.id, claim.token),
        )


# -- committing ------------------------------------------------------------------------------


@frozen
class StageResult:
    """What a stage leaves behind. `columns` go into the deployment's row, `data` into the stage's.

    `build`: build hash, image id and name of an image that was built or found.
    """

    status: str = "done"
    data: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    build: tuple[str, str, str] | None = None


def begin_stage(store: Store, claim: Claim, stage: str, now: float) -> None:
    """Commit that a stage runs now. Raises `LeaseLost`."""
    with store.transaction() as connection:
        _update(connection, claim, {"stage": stage})
        connection.execute(
            "INSERT INTO stages (deployment, name, status, started_at) VALUES (?, ?, 'running', ?) "
            "ON CONFLICT DO UPDATE SET status = 'running', started_at = excluded.started_at, "
            "seconds = NULL",
            (claim.id, stage, now),
        )


def end_stage(store: Store, claim: Claim, stage: str, result: StageResult, now: float) -> None:
    """Commit a stage's result, before the next one begins. Raises `LeaseLost`."""
    with store.transaction() as connection:
        _update(connection, claim, {**result.columns, "stage": stage})
        connection.execute(
            "INSERT INTO stages (deployment, name, status, started_at, seconds, result) "
            "VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT DO UPDATE SET status = excluded.status, "
            "seconds = ? - started_at, result = excluded.result",
            (claim.id, stage, result.status, now, json.dumps(dict(result.data)), now),
        )
        if result.build is not None:
            record_build(connection, claim.deployment.app, result.build, now)


@frozen
class Ending:
    """How a deployment ends, and what a person can do. `failed` is remembered with its target."""

    outcome: str
    reason: str = ""
    failed: FailedTry | None = None
    todo: str = ""

    @property
    def status(self) -> str:
        return "done" if self.outcome in ("succeeded", "cancelled", "superseded") else "error"


def finish(store: Store, claim: Claim, ending: Ending, now: float) -> Deployment:
    """End a running deployment, and move its app on, in one transaction. Raises `LeaseLost`."""
    with store.transaction() as connection:
        _update(
            connection,
            claim,
            {
                "status": ending.status,
                "outcome": ending.outcome,
                "reason": ending.reason,
                "todo": ending.todo,
                "child": "",
                "finished_at": now,
            },
        )
        row = _fetch(connection, claim.id)
        _close_stages(connection, row, now)
        _move_app(connection, row, ending)
        data = {"outcome": ending.outcome, "reason": ending.reason}
        add_events(connection, now, [Event("finished", row.app, row.id, data)])
        return row


def hand_over(store: Store, claim: Claim, now: float) -> None:
    """Put a running deployment back for whoever comes next. Raises `LeaseLost`.

    It waits again, with its committed stages; where a newer one waits already, that one replaces
    it.
    """
    with store.transaction() as connection:
        _update(connection, claim, {"child": "", "owner": "", "lease_until": 0.0})
        row = _fetch(connection, claim.id)
        _close_stages(connection, row, now)
        newer = connection.execute(
            "SELECT id FROM deployments WHERE app = ? AND status = 'queued'", (row.app,)
        ).fetchone()
        if newer is not None:
            _end_waiting(connection, row, ("superseded", f"replaced by {newer['id']}"), now)
        else:
            connection.execute("UPDATE deployments SET status = 'queued' WHERE id = ?", (claim.id,))


def _move_app(connection: sqlite3.Connection, row: Deployment, ending: Ending) -> None:
    ensure_app(connection, row.app)
    if ending.outcome == "succeeded":
        record_success(connection, row)
    elif ending.failed is not None:
        record_failure(connection, row, ending.failed)
    idle = ending.outcome == "cancelled" or row.kind == "remove"
    set_status(connection, row.app, "idle" if idle and row.status == "done" else row.status)


def _close_stages(connection: sqlite3.Connection, row: Deployment, now: float) -> None:
    connection.execute(
        "UPDATE stages SET status = 'failed', seconds = ? - started_at "
        "WHERE deployment = ? AND status = 'running'",
        (now, row.id),
    )


def _update(connection: sqlite3.Connection, claim: Claim, values: Mapping[str, Any]) -> None:
    """Write columns of the claim's row, and only with its token. Names are this module's own."""
    columns = ", ".join(f"{name} = ?" for name in values)
    changed = connection.execute(
        f"UPDATE deployments SET {columns} WHERE id = ? AND token = ? AND status = 'running'",  # noqa: S608
        (*values.values(), claim.id, claim.token),
    )
    if changed.rowcount != 1:
        raise LeaseLost(
            f"deployment {claim.id} belongs to another process now", app=claim.deployment.app
        )


def _fetch(connection: sqlite3.Connection, deployment: str) -> Deployment:
    row = connection.execute("SELECT * FROM deployments WHERE id = ?", (deployment,)).fetchone()
    return Deployment.from_row(row)
