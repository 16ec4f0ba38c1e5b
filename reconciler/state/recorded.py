"""The planner's recorded state, read from the rows in one snapshot."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from reconciler.plan.states import Failure, Hold, InFlight, Recorded, RecordedApp, Serving
from reconciler.state.records import AppRow
from reconciler.state.store import Store

_SERVING = """
SELECT apps.*, d.id AS deployment, d.target, d.facts, d.image_id, d.container
FROM apps LEFT JOIN deployments d ON d.id = apps.serving AND apps.serving != ''
WHERE apps.app >= ? AND apps.app < ?
"""


def read_recorded(store: Store, project: str) -> Recorded:
    """All apps of the project that the state knows."""
    span = (f"{project}/", f"{project}0")
    connection = store.connection
    connection.execute("BEGIN")
    try:
        in_flight = _in_flight(connection, span)
        failures = _failures(connection, span)
        images = _images(connection, span)
        rows = connection.execute(_SERVING, span).fetchall()
    finally:
        connection.execute("COMMIT")
    names = {row["app"] for row in rows} | in_flight.keys() | failures.keys() | images.keys()
    known = {row["app"]: row for row in rows}
    return Recorded(
        {
            name: RecordedApp(
                app=name,
                serving=_serving(known.get(name)),
                failures=failures.get(name, {}),
                in_flight=tuple(in_flight.get(name, ())),
                hold=_hold(known.get(name)),
                images=images.get(name, {}),
            )
            for name in names
        }
    )


def _serving(row: sqlite3.Row | None) -> Serving | None:
    if row is None or row["deployment"] is None:
        return None
    app, facts = AppRow.from_row(row), json.loads(row["facts"])
    return Serving(
        deployment=row["deployment"],
        target=row["target"],
        revision=app.revision,
        resolved=app.resolved,
        build=facts.get("build", {}),
        run=facts.get("run", {}),
        settings=app.settings,
        image_id=row["image_id"],
        pushed_to=app.pushed_to,
        container=row["container"],
    )


def _hold(row: sqlite3.Row | None) -> Hold | None:
    if row is None or not row["hold_kind"]:
        return None
    until = row["hold_until"]
    return Hold(row["hold_kind"], row["hold_reason"], until and _moment(until), row["hold_target"])


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _in_flight(connection: sqlite3.Connection, span: tuple[str, str]) -> dict[str, list[InFlight]]:
    found: dict[str, list[InFlight]] = defaultdict(list)
    for row in connection.execute(  # +app: the small index of unfinished rows, not the apps' one
        "SELECT id, app, status, target, kind, json_extract(request, '$.force') AS forced "
        "FROM deployments "
        "WHERE status IN ('queued', 'running') AND +app >= ? AND +app < ? ORDER BY seq",
        span,
    ):
        found[row["app"]].append(
            InFlight(row["id"], row["status"], row["target"], row["kind"], bool(row["forced"]))
        )
    return found


def _failures(connection: sqlite3.Connection, span: tuple[str, str]) -> dict[str, Any]:
    found: dict[str, dict[str, Failure]] = defaultdict(dict)
    for row in connection.execute("SELECT * FROM failures WHERE app >= ? AND app < ?", span):
        retry_at = row["retry_at"]
        found[row["app"]][row["target"]] = Failure(
            row["deployment"], row["reason"], row["attempts"], retry_at and _moment(retry_at)
        )
    return found


def _images(connection: sqlite3.Connection, span: tuple[str, str]) -> dict[str, Any]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(
        "SELECT app, build_hash, image_id FROM builds WHERE app >= ? AND app < ?", span
    ):
        found[row["app"]][row["build_hash"]] = row["image_id"]
    return found
