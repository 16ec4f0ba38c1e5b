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
from reconciler.plan.states import Container
from reconciler.spec.models import App
from reconciler.spec.plain import from_plain
from reconciler.state.records import Deployment, Request
from reconciler.values import frozen

KEEPS_REVISION = ("heal", "push")
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
    if row.kind == "remove":
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
    elif row.kind == "heal":  # its image was pushed, or not, before
        connection.execute("UPDATE apps SET serving = ? WHERE app = ?", (row.id, row.app))
    else:
        connection.execute(
            "UPDATE apps SET serving = ?, pushed_to = ? WHERE app = ?",
            (row.id, pushed_to, row.app),
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


def _push_target(request: Request) -> str:
    image: Mapping[str, Any] = request.spec.get("image") or {}
    return str(image["repository"]) if image.get("push") else ""


@frozen
class FailedTry:
    """How a deployment failed. `retry_at`: None when trying the same again can't help."""

    reason: str
    retry_at: float | None = None


def record_failure(connection: sqlite3.Connection, row: Deployment, failed: FailedTry) -> None:
    """Remember that this target failed, and how often."""
    connection.execute(
        "INSERT INTO failures (app, target, deployment, reason, attempts, retry_at) "
        "VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (app, target) DO UPDATE SET "
        "deployment = excluded.deployment, reason = excluded.reason, "
        "attempts = attempts + 1, retry_at = excluded.retry_at",
        (row.app, row.target, row.id, failed.reason, failed.retry_at),
    )


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
