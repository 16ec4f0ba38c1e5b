"""Builds the three states from short data, for cases and properties."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.plan.hashes import build_hash, run_hash, target_hash
from reconciler.plan.states import (
    Container,
    Desired,
    DesiredApp,
    Failure,
    Hold,
    InFlight,
    Note,
    Observed,
    Recorded,
    RecordedApp,
    Serving,
    Trouble,
)
from reconciler.spec.models import Schedule, Window
from reconciler.spec.plain import from_plain

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
"""A Saturday."""
IMAGE = "sha256:" + "1" * 64

BASE: dict[str, Any] = {
    "revision": "main",
    "resolved": "a" * 40,
    "build": {"source..": "tree-1"},
    "run": {"env.LOG_LEVEL": "info"},
    "settings": {},
}


POLICY = ("prune", "allow_removals", "retry_now", "build_host")


def _with_places(data: Mapping[str, Any]) -> dict[str, Any]:
    """`host` and `runtime` as the settings that they are."""
    values = dict(data)
    settings = dict(values.get("settings", {}))
    if "host" in values:
        settings["host"] = json.dumps(values.pop("host"))
    if "runtime" in values:
        settings["runtime"] = values.pop("runtime")
    return {**values, "settings": settings} if settings else values


def desired_app(name: str, data: Mapping[str, Any]) -> DesiredApp:
    """An app that `BASE` describes, changed by `data`."""
    values = {**BASE, **_with_places(data)}
    values["windows"] = tuple(from_plain(Window, one) for one in values.get("windows", ()))
    values["depends_on"] = tuple(f"shop/{one}" for one in values.get("depends_on", ()))
    if "schedule" in values:
        values["schedule"] = from_plain(Schedule, values["schedule"])
    if "previously" in values:
        values["previously"] = f"shop/{values['previously']}"
    if "trouble" in values:
        known = {key: value for key, value in values.items() if key not in BASE}
        passing = known.pop("passing", True)
        return DesiredApp(name, **{**known, "trouble": Trouble(values["trouble"], passing=passing)})
    return DesiredApp(app=name, **values)


def make_desired(data: Mapping[str, Any]) -> Desired:
    apps = {
        f"shop/{name}": desired_app(f"shop/{name}", app or {}) for name, app in data["apps"].items()
    }
    policy = {key: data[key] for key in POLICY if key in data}
    if "hosts" in data:
        policy["hosts"] = frozenset(data["hosts"])
    return Desired(project="shop", apps=apps, **policy)


def make_recorded(data: Mapping[str, Any]) -> Recorded:
    return Recorded(
        {f"shop/{name}": _recorded(f"shop/{name}", app or {}) for name, app in data.items()}
    )


def _recorded(name: str, data: Mapping[str, Any]) -> RecordedApp:
    return RecordedApp(
        app=name,
        serving=_serving(name, data["serving"] or {}) if "serving" in data else None,
        failures={
            target_hash(desired_app(name, one.get("of") or {})): Failure(
                "dep-failed", one["reason"], one.get("attempts", 1), _moment(one.get("retry_in"))
            )
            for one in data.get("failures", [])
        },
        in_flight=tuple(
            InFlight(
                f"dep-{index}",
                one["status"],
                target_hash(desired_app(name, one.get("of") or {})),
                one.get("kind", "deploy"),
                one.get("forced", False),
            )
            for index, one in enumerate(data.get("in_flight", []))
        ),
        hold=_hold(name, data["hold"]) if "hold" in data else None,
        images={build_hash(build): IMAGE for build in data.get("images", [])},
        heals=tuple(NOW - timedelta(seconds=ago) for ago in data.get("heals_ago", [])),
        built_at=_moment(-data["built_ago"]) if "built_ago" in data else None,
        note=make_note(data.get("note", {})),
        former=tuple(f"shop/{one}" for one in data.get("former", [])),
    )


def make_note(data: Mapping[str, Any]) -> Note:
    values = dict(data)
    until = _moment(values.pop("until_in", None))
    return Note(until=until, flaps_until=_moment(values.pop("flaps_in", None)), **values)


def _serving(name: str, data: Mapping[str, Any]) -> Serving:
    data = _with_places(data)
    values = {**BASE, **data}
    return Serving(
        deployment="dep-serving",
        target=target_hash(desired_app(name, {k: v for k, v in data.items() if k in BASE})),
        revision=values["revision"],
        resolved=values["resolved"],
        build=values["build"],
        run=values["run"],
        settings=values["settings"],
        image_id=IMAGE,
        pushed_to=values.get("pushed_to", ""),
        container="c" * 64,
    )


def _hold(name: str, data: Mapping[str, Any]) -> Hold:
    against = data.get("against")
    target = target_hash(desired_app(name, against)) if against is not None else ""
    return Hold(data["kind"], data["reason"], _moment(data.get("until_in")), target)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOW + timedelta(seconds=seconds)


def make_observed(data: Mapping[str, Any], away: Mapping[str, str] | None = None) -> Observed:
    """`away`: reasons by `HOST`, or `RUNTIME HOST` where that isn't docker."""
    places = {tuple(f"docker {name}".split()[-2:]): why for name, why in (away or {}).items()}
    return Observed(
        {
            f"shop/{name}": tuple(_container(f"shop/{name}", one or {}) for one in containers)
            for name, containers in data.items()
        },
        {(kind, host): why for (kind, host), why in places.items()},
    )


def _container(name: str, data: Mapping[str, Any]) -> Container:
    values = {"state": "running", "deployment": "dep-serving", "id": "c" * 64, **data}
    of = values.pop("of", None)
    hashes = {}
    if of is not None:
        app = desired_app(name, of)
        hashes = {"build_hash": build_hash(app.build), "run_hash": run_hash(IMAGE, app.run)}
    label = f"shop/{values.pop('label')}" if "label" in values else name
    values.setdefault("name", label.replace("/", "-"))
    return Container(app=label, image_id=IMAGE, **hashes, **values)
