"""What is shown, as plain data: the JSON documents of `status`, `plan` and `history`.

Fields are added, never renamed. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from reconciler.engine.front import FrontState
from reconciler.errors import ReconcilerError, SpecError
from reconciler.host.hosts import Hosts
from reconciler.plan.actions import Action, Plan
from reconciler.plan.places import SWARM, Places, places_of
from reconciler.plan.renaming import assign_containers
from reconciler.plan.states import Container, Observed
from reconciler.spec.hosts import LOCAL
from reconciler.spec.loaded import LoadedSpec
from reconciler.state.configurations import find_configuration
from reconciler.state.records import AppRow, Deployment
from reconciler.state.store import Store
from reconciler.values import frozen

Document = dict[str, Any]
MOST_LINES = 20


@lru_cache(4096)
def iso(seconds: float | None) -> str | None:
    """`2026-01-31T09:30:00.123Z`, or None."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


# -- plan ------------------------------------------------------------------------------------


def plan_document(plan: Plan) -> Document:
    """`{changes, actions: [{app, action, cause, stages, until}]}`."""
    return {
        "changes": plan.changes,
        "actions": [_action(action) for action in plan.actions],
    }


def _action(action: Action) -> Document:
    return {
        "app": action.app,
        "action": action.kind,
        "cause": action.cause,
        "stages": list(action.stages),
        "todo": action.todo,
        "until": iso(action.until.timestamp()) if action.until else None,
    }


def front_document(front: FrontState) -> Document:
    """`{proxy: {causes, problems}}`: why it isn't as it shall be, and what can't be corrected."""
    problems = [{"app": one.app, "reason": one.what, "todo": one.todo} for one in front.troubles]
    return {"proxy": {"causes": list(front.causes), "problems": problems}}


# -- history ---------------------------------------------------------------------------------


def history_document(store: Store, rows: Iterable[Deployment]) -> Document:
    """`{deployments: [...]}`, each with its stages."""
    return {"deployments": [deployment_document(store, row) for row in rows]}


def deployment_document(store: Store, row: Deployment) -> Document:
    """One deployment."""
    stages = [
        {
            "name": stage.name,
            "status": stage.status,
            "started_at": iso(stage.started_at),
            "seconds": None if stage.seconds is None else round(stage.seconds, 3),
        }
        for stage in store.list_stages(row.id)
    ]
    return {
        "id": row.id,
        "app": row.app,
        "kind": row.kind,
        "trigger": row.trigger,
        "title": row.title,
        "description": row.description,
        "cause": row.cause,
        "status": row.status,
        "outcome": row.outcome,
        "stage": row.stage,
        "reason": row.reason,
        "todo": row.todo,
        "revision": row.revision,
        "resolved_revision": row.resolved,
        "spec_revision": row.read_request().spec_revision,
        "image": row.image or row.image_id,
        "digest": row.digest,
        "attempt": row.attempt,
        "queued_at": iso(row.queued_at),
        "started_at": iso(row.started_at),
        "finished_at": iso(row.finished_at),
        "stages": stages,
    }


# -- status ----------------------------------------------------------------------------------


@frozen
class Wanted:
    """What the spec asks of an app, as far as `status` shows it."""

    revision: str = ""
    places: Places = Places()


def wanted_of(loaded: LoadedSpec) -> dict[str, Wanted]:
    """By the apps' full names."""
    return {
        f"{loaded.spec.project}/{name}": Wanted(app.revision or "", Places(app.runtime, app.host))
        for name, app in loaded.spec.apps.items()
    }


@frozen
class _Known:
    """All that is known of one app. `away`: by host, why nothing is known of what runs there."""

    row: AppRow | None
    latest: Deployment | None
    wanted: Wanted | None
    containers: tuple[Container, ...]
    away: Mapping[str, str]

    @property
    def places(self) -> Places:
        """Where it serves; before it does, where it shall."""
        if self.row and self.row.serving:
            return places_of(self.row.settings)
        return self.wanted.places if self.wanted else Places()

    @property
    def own(self) -> list[Container]:
        """Those that serve."""
        serving = self.row.serving if self.row else ""
        return [c for c in self.containers if serving and c.deployment == serving and not c.task]


def status_document(
    store: Store, project: str, wanted: Mapping[str, Wanted], observed: Observed | None
) -> Document:
    """`{project, engine, apps: [...]}` for the apps of the spec and those that are still recorded.

    `wanted`: by `<project>/<name>`. `observed` is None when no engine answers. `engine`: whether
    the local one does, where any app is on it.
    """
    rows = {row.app: row for row in store.list_apps(project)}
    owners = {old: row.app for row in rows.values() for old in row.former}
    seen = assign_containers(owners, observed).apps if observed else {}
    kept = {app for app, row in rows.items() if row.serving or row.status == "running"}
    names = sorted({*wanted, *kept, *seen})
    running = {row.app: row for row in store.unfinished() if row.status == "running"}
    latest = store.latest_of(names) | running
    apps = []
    for name in names:
        known = _Known(rows.get(name), latest.get(name), wanted.get(name), seen.get(name, ()), {})
        away = _away(known.places, observed)
        apps.append(_app(name, replace(known, away=away) if away else known))
    reachable = observed is not None and all(host != LOCAL for _, host in observed.away)
    return {
        "project": project,
        "engine": "reachable" if reachable else "unreachable",
        "apps": apps,
    }


def _away(places: Places, observed: Observed | None) -> Mapping[str, str]:
    if observed is None:
        return dict.fromkeys((host for _, host in places.all), "")  # said once, for all
    away = observed.away
    return {place[1]: away[place] for place in places.all if place in away} if away else {}


def hosts_document(
    hosts: Hosts, everywhere: Iterable[Places], observed: Observed | None
) -> list[Document]:
    """`[{name, status, reason}]` of the hosts that were asked. `status`: reachable or away."""
    reasons: dict[str, str] = {}
    away = hosts.away()
    for places in everywhere:
        for host in places.hosts:
            known = observed.away.get((places.runtime, host), "") if observed else ""
            reasons[host] = reasons.get(host) or away.get(host) or known
            if places.runtime == SWARM and not reasons[host]:
                break  # one manager is enough
    return [
        {"name": name, "status": "away" if reason else "reachable", "reason": reason}
        for name, reason in sorted(reasons.items(), key=lambda item: (item[0] != LOCAL, item[0]))
    ]


def _app(name: str, known: _Known) -> Document:
    row, latest = known.row, known.latest
    serving = min(known.own, key=lambda container: container.state != "running", default=None)
    held = row if row and _is_held(row) else None
    noted = row if row and row.status != "running" else None
    revision = known.wanted.revision if known.wanted else ""
    return {
        "name": name.partition("/")[2],
        "status": row.status if row else "idle",
        "outcome": latest.outcome if latest else None,
        "revision": revision or (row.revision if row else ""),
        "resolved_revision": row.resolved if row else "",
        "running_revision": serving.revision if serving else "",
        "image": serving.image_id if serving else "",
        "runtime": known.places.runtime,
        "hosts": list(known.places.hosts),
        "containers": [_container(container) for container in known.containers],
        "health": _health(known, serving),
        "away": dict(known.away),
        "deployment": latest.id if latest else None,
        "stage": latest.stage if latest else "",
        "cause": latest.cause if latest else "",
        "reason": latest.reason if latest else "",
        "hold": held.hold_reason if held else "",
        "hold_until": iso(held.hold_until) if held else None,
        "held_back": noted.note if noted else "",
        "held_back_until": iso(noted.note_until) if noted else None,
        "updated_at": iso(latest.finished_at or latest.started_at or latest.queued_at)
        if latest
        else None,
        "in_spec": known.wanted is not None,
    }


def configuration_document(
    store: Store, place: str, loaded: LoadedSpec, error: ReconcilerError | None = None
) -> Document:
    """`{place, revision, since, problem, problem_revision, problem_since}`.

    `loaded` is in force. `error`: what is wrong with a newer one just now; without it, what a pass
    has written down, for a spec in a repository. Without a problem, its fields are empty.
    """
    row = find_configuration(store, place)
    problem, revision, since = row.problem, row.problem_revision, row.problem_since
    if error is not None or not loaded.revision:  # a file has just been looked at
        now = describe_problem(error) if error else ""
        since = since if now and now == problem else None
        problem, revision = now, error.revision if error else ""
    return {
        "place": place,
        "revision": loaded.revision,
        "since": iso(row.since) if row.digest == loaded.digest else None,
        "problem": problem,
        "problem_revision": revision,
        "problem_since": iso(since),
    }


def describe_problem(error: ReconcilerError) -> str:
    """For people, and equal for the same problem: a tool's own words may have times in them."""
    lines = [error.what]
    if isinstance(error, SpecError):
        details = error.detail.splitlines()
        lines += details[:MOST_LINES]
        lines += [f"and {len(details) - MOST_LINES} more"] * (len(details) > MOST_LINES)
    elif error.todo:
        lines.append(f"→ {error.todo}")
    return "\n".join(lines)


def _is_held(row: AppRow) -> bool:
    return bool(row.hold_kind) and (row.hold_until is None or row.hold_until > time.time())


def _container(container: Container) -> Document:
    """On a Swarm, `nodes` are where its tasks run, `tasks` how many do and shall, and `detail` is
    what the Swarm says of them."""
    swarm = container.runtime == SWARM
    return {
        "id": container.id[:12],
        "name": container.name,
        "state": container.state,
        "health": container.health,
        "deployment": container.deployment,
        "host": container.host,
        "runtime": container.runtime,
        "nodes": list(container.nodes),
        "tasks": list(container.tasks) if swarm else None,
        "detail": container.status if swarm else "",
        "drift": container.drift,
    }


def _health(known: _Known, serving: Container | None) -> str:
    """healthy: all of it runs, and passed its check when it was deployed."""
    row = known.row
    if row is None or not row.serving:
        return "none"
    copies = known.places.copies(int(row.settings.get("replicas", "1")))
    wanted = sum(host not in known.away for (_, host), _ in copies)
    running = sum(container.state == "running" for container in known.own)
    if not wanted:
        return "unknown"
    if serving is None or serving.state != "running":
        return _broken(serving)
    if serving.runtime == SWARM:
        running, wanted = serving.tasks
    if running < wanted:
        return f"{running} of {wanted} run"
    return f"unknown on {', '.join(known.away)}" if known.away else serving.health or "healthy"


def _broken(serving: Container | None) -> str:
    if serving is None:
        return "missing"
    return f"{serving.state} ({serving.exit_code})" if serving.exit_code else serving.state
