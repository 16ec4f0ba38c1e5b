"""What happened since somebody last looked, whichever process did it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from reconciler.events import Event
from reconciler.state.records import Stage
from reconciler.state.store import Store


def last_change(store: Store) -> int:
    """The number of the newest event, 0 when there is none."""
    row = store.connection.execute("SELECT coalesce(max(seq), 0) AS last FROM events").fetchone()
    return int(row["last"])


def changes_since(store: Store, number: int) -> list[tuple[int, Event]]:
    """Events with a greater number, oldest first, with their numbers."""
    rows = store.connection.execute("SELECT * FROM events WHERE seq > ? ORDER BY seq", (number,))
    return [(row["seq"], _event(row)) for row in rows]


def _event(row: Any) -> Event:
    return Event(row["kind"], row["app"], row["deployment"], json.loads(row["data"]))


def stages_of(store: Store, deployments: Iterable[str]) -> list[Stage]:
    """The stages of several deployments."""
    rows = store.connection.execute(
        "SELECT stages.* FROM json_each(?) AS ids JOIN stages ON stages.deployment = ids.value",
        (json.dumps(list(deployments)),),
    )
    return [Stage.from_row(row) for row in rows]


def count_unfinished(store: Store) -> dict[str, int]:
    """How many deployments are `queued` and how many `running`."""
    rows = store.connection.execute(
        "SELECT status, count(*) AS count FROM deployments "
        "WHERE status IN ('queued', 'running') GROUP BY status"
    )
    return {"queued": 0, "running": 0} | {row["status"]: row["count"] for row in rows}


def find_problem(store: Store, place: str) -> str:
    """What is wrong with the newest version of a configuration, empty when nothing is."""
    row = store.connection.execute(
        "SELECT problem FROM configurations WHERE place = ?", (place,)
    ).fetchone()
    return str(row["problem"]) if row else ""
