"""Rows as Python values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from typing import Any

from reconciler.plan.states import Place
from reconciler.spec.hosts import LOCAL
from reconciler.values import frozen


@frozen
class Request:
    """What one deployment shall do: everything a worker needs, and no secret.

    `spec` is the app's section with references unresolved; `base_dir` is where its relative paths
    start. `content` is the source's fingerprint. `image_id`: use this image if it is still there.
    `stages`: what the plan expects to run. `force`: build and deploy although nothing differs.
    `spec_revision`: the commit of the configuration repository that this is from; empty for a file.
    `keep_same`: leave the container alone when the same image comes out. `pin`: why the app is
    held there once it has succeeded, `pin_against`: the target that it is held against. `joins`:
    the deployment that serves and that this one only makes complete: its containers are that one's.
    `hosts`: the sections of the hosts that it is about, `build_host` the one that builds. `places`:
    those that it works on where these aren't all of the app's, `leaves` those that the app served
    at and shall not any more.
    """

    app: str
    kind: str
    trigger: str
    target: str
    spec: Mapping[str, Any]
    base_dir: str
    revision: str = ""
    resolved: str = ""
    reference: str = ""
    content: Mapping[str, str] = field(default_factory=dict)
    image_id: str = ""
    stages: tuple[str, ...] = ()
    title: str = ""
    description: str = ""
    cause: str = ""
    force: bool = False
    no_cache: bool = False
    pull: bool = False
    keep_same: bool = False
    pin: str = ""
    pin_against: str = ""
    joins: str = ""
    spec_revision: str = ""
    hosts: Mapping[str, Any] = field(default_factory=dict)
    build_host: str = LOCAL
    places: tuple[Place, ...] = ()
    leaves: tuple[Place, ...] = ()

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Fields that a newer version added are ignored."""
        known = {item.name for item in fields(cls)}
        data = {key: value for key, value in json.loads(text).items() if key in known}
        for name in ("places", "leaves"):
            data[name] = tuple((runtime, host) for runtime, host in data.get(name, ()))
        return cls(**{**data, "stages": tuple(data.get("stages", ()))})


@frozen
class Deployment:
    """One row of the table of the same name. Times are seconds since 1970, UTC."""

    seq: int
    id: str
    app: str
    kind: str
    trigger: str
    title: str
    description: str
    cause: str
    target: str
    revision: str
    resolved: str
    request: str
    status: str
    outcome: str | None
    stage: str
    reason: str
    todo: str
    facts: str
    build_hash: str
    image_id: str
    image: str
    digest: str
    container: str
    owner: str
    lease_until: float
    token: int
    attempt: int
    child: str
    stop: str
    queued_at: float
    started_at: float | None
    finished_at: float | None

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Deployment:
        """From a row of `SELECT deployments.*`; columns that a newer version added are ignored."""
        made = object.__new__(cls)  # one by one, setting fields is most of what a look-up takes
        made.__dict__.update({name: row[name] for name in _DEPLOYMENT_COLUMNS})
        return made

    @property
    def ended(self) -> bool:
        return self.status in ("done", "error")

    def read_request(self) -> Request:
        """The request as a value, by the name that the app has now."""
        return replace(Request.from_json(self.request), app=self.app)


_DEPLOYMENT_COLUMNS = tuple(item.name for item in fields(Deployment))


@frozen
class Stage:
    """One stage of one deployment. `status`: running, done, skipped or failed."""

    deployment: str
    name: str
    status: str
    started_at: float
    seconds: float | None
    result: Mapping[str, Any]

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Stage:
        return cls(
            row["deployment"],
            row["name"],
            row["status"],
            row["started_at"],
            row["seconds"],
            json.loads(row["result"]),
        )


@frozen
class AppRow:
    """One row of the table `apps`. `revision`, `resolved` and `settings` follow the spec.

    `note` says why the loop leaves it alone for now, `former` are names that its container may
    still carry.
    """

    app: str
    status: str
    serving: str
    revision: str
    resolved: str
    settings: Mapping[str, str]
    pushed_to: str
    hold_kind: str
    hold_reason: str
    hold_until: float | None
    hold_target: str
    note_kind: str
    note: str
    note_until: float | None
    flaps: int
    flaps_until: float | None
    former: tuple[str, ...]

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> AppRow:
        values = {item.name: row[item.name] for item in fields(cls)}
        values["settings"] = json.loads(values["settings"])
        values["former"] = tuple(json.loads(values["former"]))
        return cls(**values)
