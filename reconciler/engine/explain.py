"""What one app is, why, and what comes next: for people, and as data."""

from __future__ import annotations

from reconciler.engine.desired import Policy
from reconciler.engine.documents import (
    Document,
    deployment_document,
    plan_document,
    status_document,
    wanted_of,
)
from reconciler.engine.snapshot import Snapshot, take_snapshot
from reconciler.pipeline.tools import Tools
from reconciler.plan.actions import Plan
from reconciler.plan.changing import short
from reconciler.plan.places import SWARM
from reconciler.spec.hosts import LOCAL
from reconciler.spec.loaded import LoadedSpec

NEXT = {
    "deploy": "The next pass deploys it",
    "restart": "The next pass restarts it from an image that is there",
    "redeploy": "The next pass builds it again",
    "push": "The next pass pushes its image",
    "heal": "The next pass puts it right",
    "scale": "The next pass brings it to its number of replicas",
    "move": "The next pass moves it",
    "remove": "The next pass removes it",
    "clean": "The next pass removes leftovers",
    "record": "The next pass writes this down, and restarts nothing",
    "wait": "It waits",
    "hold": "The loop leaves it alone",
    "keep": "It stays",
    "block": "Nothing can be done for it now",
    "quarantine": "It isn't tried again until its revision or spec changes, or by `deploy`",
}


def explain_app(tools: Tools, loaded: LoadedSpec, app: str) -> tuple[Document, list[str]]:
    """`(document, lines)`. The document has `app`, `next`, and the last deployments."""
    snapshot = take_snapshot(tools, loaded, Policy())
    wanted = {app: wanted_of(loaded)[app]}
    project = loaded.spec.project
    status = status_document(tools.store, project, wanted, snapshot.observed)
    name = app.partition("/")[2]
    state = next(one for one in status["apps"] if one["name"] == name)
    rows = tools.store.list_deployments(app, 5)
    history = [deployment_document(tools.store, row) for row in rows]
    plan = plan_document(Plan(snapshot.plan.for_app(app)))
    document = {"app": state, "next": plan["actions"], "deployments": history}
    lines = [*_now(app, state, snapshot), *_last(history), *_next(snapshot, app)]
    return document, lines


def _now(app: str, state: Document, snapshot: Snapshot) -> list[str]:
    desired = snapshot.targets[app].desired
    lines = [f"{app} is {state['status']}, its container {state['health']}."]
    if desired.trouble is None:
        lines.append(f"  wanted    {desired.revision or 'default'} = {short(desired.resolved)}")
    if state["running_revision"]:
        lines.append(f"  running   {short(state['running_revision'])}, {state['image'][:19]}")
    lines += [f"  away      {reason}" for reason in state["away"].values()]
    for container in state["containers"]:
        lines.append(_container(container))
        if container["drift"]:
            lines.append(f"            {container['drift']}")
    if state["hold"]:
        lines.append(f"  held      {state['hold']}")
    return lines


def _container(container: Document) -> str:
    """In one line; where it is, unless that is the local engine."""
    text = f"  container {container['name']} ({container['id']}) {container['state']}"
    if container["runtime"] == SWARM:
        nodes = ", ".join(container["nodes"]) or "no node"
        return f"{text} on {nodes}: {container['detail']}"
    return text if container["host"] == LOCAL else f"{text} on {container['host']}"


def _last(history: list[Document]) -> list[str]:
    if not history:
        return ["It has never been deployed."]
    lines = ["Last deployments, newest first:"]
    for row in history:
        end = row["outcome"] or row["status"]
        lines.append(f"  {row['queued_at']}  {row['id']}  {row['kind']}: {end}")
        lines.append(f"      cause:  {row['cause'] or row['title']}")
        if row["spec_revision"]:
            lines.append(f"      spec:   {short(row['spec_revision'])}")
        if row["reason"]:
            lines.append(f"      reason: {row['reason']}")
        if row["todo"]:
            lines.append(f"      → {row['todo']}")
    return lines


def _next(snapshot: Snapshot, app: str) -> list[str]:
    actions = snapshot.plan.for_app(app)
    if not actions:
        return ["Next: nothing to do; it is what the spec says."]
    lines = []
    for action in actions:
        lines.append(f"Next: {NEXT[action.kind]}: {action.cause}.")
        if action.stages:
            lines.append(f"  stages: {', '.join(action.stages)}")
        if action.until:
            lines.append(f"  until:  {action.until:%Y-%m-%d %H:%M:%S} UTC")
        if action.todo:
            lines.append(f"  → {action.todo}")
    return lines
