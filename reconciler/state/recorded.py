"""The planner's recorded state, read from the rows in one snapshot."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from reconciler.plan.states import (
    NO_NOTE,
    Failure,
    Hold,
    InFlight,
    Note,
    Recorded,
    RecordedApp,
    Serving,
)
from reconciler.state.store import Store

_parse = json.JSONDecoder().decode
"""As `json.loads`, which is called so often here that its own overhead counts."""

_APPS = """
SELECT apps.*, d.seq
FROM apps LEFT JOIN deployments d ON d.id = apps.serving AND apps.serving != ''
WHERE apps.app >= ? AND apps.app < ?
"""
_SERVED = """
SELECT seq, id, target, facts, image_id, container
FROM deployments WHERE seq IN (SELECT value FROM json_each(?))
"""


def read_recorded(
    store: Store, project: str, heals_since: float = math.inf, scheduled: Collection[str] = ()
) -> Recorded:
    """All apps of the project that the state knows.

    `heals_since`: from when on heals count. `scheduled`: apps of which the last build matters.
    """
    span = (f"{project}/", f"{project}0")
    connection = store.connection
    connection.execute("BEGIN")
    try:
        in_flight = _in_flight(connection, span)
        failures = _failures(connection, span)
        images = _images(connection, span)
        heals = _heals(connection, span, heals_since)
        built = _built(connection, scheduled)
        rows = connection.execute(_APPS, span).fetchall()
        serving = _serving(store, rows)
    finally:
        connection.execute("COMMIT")
    names = {row["app"] for row in rows} | in_flight.keys() | failures.keys() | images.keys()
    known = {row["app"]: row for row in rows}
    return Recorded(
        {
            name: RecordedApp(
                app=name,
                serving=serving.get(name),
                failures=failures.get(name, {}),
                in_flight=tuple(in_flight.get(name, ())),
                hold=_hold(known.get(name)),
                images=images.get(name, {}),
                heals=tuple(heals.get(name, ())),
                built_at=built.get(name),
                note=_note(known[name]) if name in known else NO_NOTE,
                former=tuple(_parse(known[name]["former"])) if name in known else (),
            )
            for name in names
        }
    )


def _serving(store: Store, rows: Sequence[sqlite3.Row]) -> dict[str, Serving]:
    """What serves of each app. A deployment that has ended never changes, so what was read of it
    before is still right, unless its app's row says something else now.
    """
    said = {
        row["app"]: (row["seq"], *(row[name] for name in _SAID))
        for row in rows
        if row["seq"] is not None
    }
    known = {app: one for app, one in store.served.items() if said.get(app) == one[0]}
    fresh = {said[app][0]: app for app in said.keys() - known.keys()}
    if fresh:
        for row in store.connection.execute(_SERVED, (json.dumps(list(fresh)),)):
            app = fresh[row["seq"]]
            known[app] = (said[app], _make_serving(row, *said[app][1:]))
    store.served = known
    return {app: serving for app, (_, serving) in known.items()}


_SAID = ("revision", "resolved", "settings", "pushed_to")


def _make_serving(
    row: sqlite3.Row, revision: str, resolved: str, settings: str, pushed_to: str
) -> Serving:
    facts = _parse(row["facts"])
    return Serving(
        deployment=row["id"],
        target=row["target"],
        revision=revision,
        resolved=resolved,
        build=facts.get("build", {}),
        run=facts.get("run", {}),
        settings=_parse(settings),
        image_id=row["image_id"],
        pushed_to=pushed_to,
        container=row["container"],
    )


def _hold(row: sqlite3.Row | None) -> Hold | None:
    if row is None or not row["hold_kind"]:
        return None
    until = row["hold_until"]
    return Hold(row["hold_kind"], row["hold_reason"], until and _moment(until), row["hold_target"])


def _note(row: sqlite3.Row) -> Note:
    until, flaps_until = row["note_until"], row["flaps_until"]
    if not (row["note_kind"] or row["note"] or until or row["flaps"] or flaps_until):
        return NO_NOTE
    return Note(
        row["note_kind"],
        row["note"],
        until and _moment(until),
        row["flaps"],
        flaps_until and _moment(flaps_until),
    )


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


def _heals(
    connection: sqlite3.Connection, span: tuple[str, str], since: float
) -> dict[str, list[datetime]]:
    """Those since another deployment of the app succeeded."""
    found: dict[str, list[datetime]] = defaultdict(list)
    for row in connection.execute(  # +: the small index of heals, not all rows in their order
        "SELECT app, queued_at FROM deployments AS heal "
        "WHERE kind = 'heal' AND queued_at > ? AND +app >= ? AND +app < ? AND NOT EXISTS ("
        "SELECT 1 FROM deployments WHERE app = heal.app AND seq > heal.seq "
        "AND outcome = 'succeeded' AND kind NOT IN ('heal', 'push')) ORDER BY +seq",
        (since, *span),
    ):
        found[row["app"]].append(_moment(row["queued_at"]))
    return found


def _built(connection: sqlite3.Connection, apps: Collection[str]) -> dict[str, datetime]:
    """When a build was last asked for; where that is forgotten, when anything was first."""
    if not apps:
        return {}
    rows = connection.execute(
        "SELECT value AS app, coalesce("
        "(SELECT queued_at FROM deployments WHERE app = value AND kind IN ('deploy', 'redeploy') "
        "ORDER BY seq DESC LIMIT 1), "
        "(SELECT queued_at FROM deployments WHERE app = value ORDER BY seq LIMIT 1)) AS at "
        "FROM json_each(?)",
        (json.dumps(list(apps)),),
    )
    return {row["app"]: _moment(row["at"]) for row in rows if row["at"] is not None}
