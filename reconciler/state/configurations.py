"""Which revision of a configuration is in force, and what is wrong with a newer one."""

from __future__ import annotations

import sqlite3
from dataclasses import fields

from reconciler.state.store import Store
from reconciler.values import frozen


@frozen
class ConfigurationRow:
    """One row of the table `configurations`. Times are seconds since 1970, UTC.

    `revision` is empty for a file; `digest` is that of the spec in force. `problem` is empty while
    the newest version is in force.
    """

    place: str
    revision: str = ""
    digest: str = ""
    since: float = 0
    problem: str = ""
    problem_revision: str = ""
    problem_since: float | None = None

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> ConfigurationRow:
        return cls(*(row[item.name] for item in fields(cls)))


def find_configuration(store: Store, place: str) -> ConfigurationRow:
    """What is recorded of a place; an empty row when nothing is."""
    row = store.connection.execute(
        "SELECT * FROM configurations WHERE place = ?", (place,)
    ).fetchone()
    return ConfigurationRow.from_row(row) if row else ConfigurationRow(place)


def put_configuration(store: Store, row: ConfigurationRow) -> None:
    """Write a row down, in place of what was there."""
    values = tuple(getattr(row, item.name) for item in fields(row))
    marks = ", ".join("?" * len(values))
    with store.transaction() as connection:
        connection.execute(
            f"INSERT OR REPLACE INTO configurations VALUES ({marks})",  # noqa: S608
            values,
        )
