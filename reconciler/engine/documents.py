"""What is shown, as plain data: the JSON documents of `status`, `plan` and `history`.

Fields are added, never renamed. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from reconciler.engine.front import FrontState
from reconciler.errors import ReconcilerError, SpecError
from reconciler.plan.actions import Action, Plan
from reconciler.plan.renaming import assign_containers
from reconciler.plan.states import Container, Observed
from reconciler.spec.loaded import LoadedSpec
from reconciler.state.configurations import find_configuration
from reconciler.state.records import AppRow, Deployment
from reconciler.state.store import Store

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


def status_document(
    store: Store, project: str, wanted: Mapping[str, str], observed: Observed | None
) -> Document:
    """`{project, apps: [...]}` for the apps of the spec and those that are still recorded.

    `wanted`: the spec's revision of each app, by `<project>/<name>`. `observed` is None when the
    engine doesn't answer.
    """
    rows = {row.app: row for row in store.list_apps(project)}
    owners = {old: row.app for row in rows.values() for old in row.former}
    seen = assign_containers(owners, observed).apps if observed else {}
    kept = {app for app, row in rows.items() if row.serving or row.status == "running"}
    names = sorted({*wanted, *kept, *seen})
    running = {row.app: row for row in store.unfinished() if row.status == "running"}
    latest = store.latest_of(names) | running
    return {
        "project": project,
        "engine": "reachable" if observed else "unreachable",
        "apps": [
            _app(name, rows.get(name), latest.get(name), wanted.get(name), seen.get(name, ()))
            | {"in_spec": name in wanted}
            for name in names
        ],
    }


def _app(
    name: str,
    row: AppRow | None,
    latest: Deployment | None,
    revision: str | None,
    containers: tuple[Container, ...],
) -> Document:
    own = [c for c in containers if row and c.deployment == row.serving and not c.task]
    serving = min(own, key=lambda container: container.state != "running", default=None)
    held = row if row and _is_held(row) else None
    noted = row if row and row.status != "running" else None
    return {
        "name": name.partition("/")[2],
        "status": row.status if row else "idle",
        "outcome": latest.outcome if latest else None,
        "revision": revision or (row.revision if row else ""),
        "resolved_revision": row.resolved if row else "",
        "running_revision": serving.revision if serving else "",
        "image": serving.image_id if serving else "",
        "containers": [_container(container) for container in containers],
        "health": _health(row, serving, sum(c.state == "running" for c in own)),
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
    return {
        "id": container.id[:12],
        "name": container.name,
        "state": container.state,
        "health": container.health,
        "deployment": container.deployment,
    }


def _health(row: AppRow | None, serving: Container | None, running: int) -> str:
    """healthy: all of it runs, and passed its check when it was deployed."""
    if row is None or not row.serving:
        return "none"
    if serving is None:
        return "missing"
    if serving.state != "running":
        return f"{serving.state} ({serving.exit_code})" if serving.exit_code else serving.state
    wanted = int(row.settings.get("replicas", "1"))
    if running < wanted:
        return f"{running} of {wanted} run"
    return serving.health or "healthy"
