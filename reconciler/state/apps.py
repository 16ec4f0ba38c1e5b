"""What the end of a deployment, or a pass without one, changes in the row of an app.

All functions work inside a transaction of the caller's.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from reconciler.plan.facts import setting_facts
from reconciler.plan.states import Container, Note
from reconciler.spec.models import App
from reconciler.spec.plain import from_plain
from reconciler.state.records import Deployment, Request
from reconciler.values import frozen

KEEPS_REVISION = ("heal", "push", "scale", "move")
"""Kinds that bring back or copy what is there, and so don't move the recorded revision."""


def ensure_app(connection: sqlite3.Connection, app: str) -> None:
    """Make the row when it isn't there."""
    connection.execute("INSERT OR IGNORE INTO apps (app) VALUES (?)", (app,))


def insert_deployment(
    connection: sqlite3.Connection, request: Request, values: Mapping[str, Any]
) -> None:
    """Write a new row: what was asked for, and `values` by column. Names are our own."""
    row = {
        "app": request.app,
        "kind": request.kind,
        "trigger": request.trigger,
        "title": request.title,
        "description": request.description,
        "cause": request.cause,
        "target": request.target,
        "revision": request.revision,
        "resolved": request.resolved,
        "request": request.to_json(),
        **values,
    }
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(
        f"INSERT INTO deployments ({columns}) VALUES ({marks})",  # noqa: S608
        tuple(row.values()),
    )


def set_status(connection: sqlite3.Connection, app: str, status: str) -> None:
    """idle, done or error; `running` wins while a deployment of the app waits or runs."""
    connection.execute(
        "UPDATE apps SET status = CASE WHEN EXISTS (SELECT 1 FROM deployments d "
        "WHERE d.app = apps.app AND d.status IN ('queued', 'running')) THEN 'running' ELSE ? END "
        "WHERE app = ?",
        (status, app),
    )


@frozen
class Version:
    """Which version of the spec and source an app is at."""

    revision: str
    resolved: str
    settings: Mapping[str, str] = field(default_factory=dict)


def record_version(connection: sqlite3.Connection, app: str, version: Version) -> None:
    """Write down a version that needs no deployment."""
    ensure_app(connection, app)
    connection.execute(
        "UPDATE apps SET revision = ?, resolved = ?, settings = ? WHERE app = ?",
        (version.revision, version.resolved, json.dumps(dict(version.settings)), app),
    )


@frozen
class HoldRow:
    """A person's hold on an app: kind `suspended` or `pinned`; an empty kind lifts it."""

    kind: str = ""
    reason: str = ""
    until: float | None = None
    target: str = ""


def record_success(connection: sqlite3.Connection, row: Deployment) -> None:
    """A deployment was verified: it serves now, and failures before it are over."""
    request = row.read_request()
    stays = row.kind == "push" or (request.keep_same and not row.container)
    if not stays:
        connection.execute("UPDATE apps SET former = '[]' WHERE app = ?", (row.app,))
    if row.kind == "remove":
        set_note(connection, row.app, Note())
        connection.execute(
            "UPDATE apps SET serving = '', pushed_to = '', hold_kind = '', hold_target = '' "
            "WHERE app = ?",
            (row.app,),
        )
        connection.execute("DELETE FROM failures WHERE app = ?", (row.app,))
        return
    pushed_to = _push_target(request)
    if row.kind == "push":
        connection.execute("UPDATE apps SET pushed_to = ? WHERE app = ?", (pushed_to, row.app))
    elif row.kind in ("scale", "move"):
        _record_copies(connection, row.app, request)
    elif row.kind == "heal":  # its image was pushed, or not, before
        serving = request.joins or row.id
        connection.execute("UPDATE apps SET serving = ? WHERE app = ?", (serving, row.app))
    else:
        set_note(connection, row.app, Note())
        connection.execute(
            "UPDATE apps SET serving = coalesce(?, serving), pushed_to = ? WHERE app = ?",
            (None if stays else row.id, pushed_to, row.app),
        )
    if row.kind in KEEPS_REVISION:
        connection.execute(
            "DELETE FROM failures WHERE app = ? AND target = ?", (row.app, row.target)
        )
        return
    pin = HoldRow("pinned", request.pin, None, request.pin_against) if request.pin else HoldRow()
    connection.execute(
        "UPDATE apps SET hold_kind = ?, hold_reason = ?, hold_until = ?, hold_target = ? "
        "WHERE app = ? AND (hold_kind != 'suspended' OR hold_until <= ?)",
        (pin.kind, pin.reason, pin.until, pin.target, row.app, row.finished_at),
    )
    settings = setting_facts(from_plain(App, request.spec))
    record_version(
        connection,
        row.app,
        Version(request.revision, request.resolved, settings),
    )
    connection.execute("DELETE FROM failures WHERE app = ?", (row.app,))


def _record_copies(connection: sqlite3.Connection, app: str, request: Request) -> None:
    """Of the settings only how many and where are new; the same deployment serves on."""
    row = connection.execute("SELECT settings FROM apps WHERE app = ?", (app,)).fetchone()
    now, names = setting_facts(from_plain(App, request.spec)), ("replicas", "host")
    settings: dict[str, str] = json.loads(row["settings"])
    for name in names:
        settings.pop(name, None)
        settings |= {name: now[name]} if name in now else {}
    connection.execute("UPDATE apps SET settings = ? WHERE app = ?", (json.dumps(settings), app))


def _push_target(request: Request) -> str:
    image: Mapping[str, Any] = request.spec.get("image") or {}
    return str(image["repository"]) if image.get("push") else ""


@frozen
class FailedTry:
    """How a deployment failed. `retry_at`: None when trying the same again can't help."""

    reason: str
    retry_at: float | None = None


def record_failure(connection: sqlite3.Connection, row: Deployment, failed: FailedTry) -> None:
    """Remember that this target failed, and how often.

    A deployment of what serves already says nothing against it: its image is still good.
    """
    if row.kind in ("deploy", "redeploy") and _serves(connection, row):
        return
    connection.execute(
        "INSERT INTO failures (app, target, deployment, reason, attempts, retry_at) "
        "VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (app, target) DO UPDATE SET "
        "deployment = excluded.deployment, reason = excluded.reason, "
        "attempts = attempts + 1, retry_at = excluded.retry_at",
        (row.app, row.target, row.id, failed.reason, failed.retry_at),
    )


def _serves(connection: sqlite3.Connection, row: Deployment) -> bool:
    """Whether what this deployment wanted to reach serves already."""
    found = connection.execute(
        "SELECT 1 FROM apps JOIN deployments AS served ON served.id = apps.serving "
        "WHERE apps.app = ? AND served.target = ?",
        (row.app, row.target),
    )
    return found.fetchone() is not None


def set_note(connection: sqlite3.Connection, app: str, note: Note) -> None:
    """Write down why the loop leaves the app alone for now, or that it doesn't any more."""
    connection.execute(
        "UPDATE apps SET note_kind = ?, note = ?, note_until = ?, flaps = ?, flaps_until = ? "
        "WHERE app = ?",
        (
            note.kind,
            note.cause,
            note.until and note.until.timestamp(),
            note.flaps,
            note.flaps_until and note.flaps_until.timestamp(),
            app,
        ),
    )


def show_last_status(connection: sqlite3.Connection, app: str) -> None:
    """The status that its newest deployment gives it."""
    row = connection.execute(
        "SELECT status FROM deployments WHERE app = ? AND status IN ('done', 'error') "
        "ORDER BY seq DESC LIMIT 1",
        (app,),
    ).fetchone()
    set_status(connection, app, row["status"] if row else "idle")


def rename_app(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Everything that is recorded of `old` is `new`'s. Neither has an unfinished deployment."""
    for table in ("deployments", "events", "failures", "builds", "told", "outbox"):
        connection.execute(
            f"UPDATE OR REPLACE {table} SET app = ? WHERE app = ?",  # noqa: S608
            (new, old),
        )
    row = connection.execute("SELECT former FROM apps WHERE app = ?", (old,)).fetchone()
    former = json.dumps([*(json.loads(row["former"]) if row else ()), old])
    if row is not None:
        connection.execute("UPDATE OR REPLACE apps SET app = ? WHERE app = ?", (new, old))
    ensure_app(connection, new)
    connection.execute("UPDATE apps SET former = ? WHERE app = ?", (former, new))


def set_hold(connection: sqlite3.Connection, app: str, hold: HoldRow) -> None:
    """Hold the app, or lift the hold."""
    ensure_app(connection, app)
    connection.execute(
        "UPDATE apps SET hold_kind = ?, hold_reason = ?, hold_until = ?, hold_target = ? "
        "WHERE app = ?",
        (hold.kind, hold.reason, hold.until, hold.target, app),
    )


def adopt(
    connection: sqlite3.Connection, found: tuple[Request, Container, str], now: float
) -> None:
    """Take a running container for what serves, after the state was lost.

    `found`: what it was asked for, the container, and its facts as JSON.
    """
    request, container, facts = found
    values = {
        "id": container.deployment,
        "status": "done",
        "outcome": "succeeded",
        "facts": facts,
        "build_hash": container.build_hash,
        "image_id": container.image_id,
        "container": container.id,
        "queued_at": now,
        "started_at": now,
        "finished_at": now,
    }
    connection.execute("DELETE FROM deployments WHERE id = ?", (container.deployment,))
    insert_deployment(connection, request, values)
    ensure_app(connection, request.app)
    connection.execute(
        "UPDATE apps SET serving = ?, status = 'done', pushed_to = ? WHERE app = ?",
        (container.deployment, _push_target(request), request.app),
    )


def record_build(
    connection: sqlite3.Connection, app: str, build: tuple[str, str, str], now: float
) -> None:
    """Remember an image by its build hash. `build`: build hash, image id, name with tag."""
    build_hash, image_id, image = build
    connection.execute(
        "INSERT INTO builds (app, build_hash, image_id, image, built_at) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT (app, build_hash) DO UPDATE SET "
        "image_id = excluded.image_id, image = excluded.image, built_at = excluded.built_at",
        (app, build_hash, image_id, image, now),
    )
