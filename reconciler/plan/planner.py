"""The decision. Pure: no clock, no file, no network; the same input gives the same plan.

For each app the first rule that applies wins (`_decide`):

    on its way → held by a person → removed or kept → serving is broken (heal) → blocked
    → nothing serves (deploy) → something differs (deploy, restart, push, record)

and whatever would deploy a target that has failed before is quarantined or waits (`_admit`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from reconciler.plan.actions import DEPLOYING, Action, Plan
from reconciler.plan.facts import describe_changes
from reconciler.plan.hashes import build_hash, run_hash, target_hash
from reconciler.plan.states import (
    Container,
    Desired,
    DesiredApp,
    Facts,
    Hold,
    Observed,
    Recorded,
    RecordedApp,
    Serving,
)
from reconciler.values import frozen

REMOVAL_SHARE = 0.25


@frozen
class _View:
    """All that is known of one app."""

    app: str
    desired: DesiredApp | None
    recorded: RecordedApp
    containers: tuple[Container, ...]
    now: datetime
    retry_now: bool

    @property
    def serving(self) -> Serving | None:
        return self.recorded.serving


def make_plan(desired: Desired, recorded: Recorded, observed: Observed, now: datetime) -> Plan:
    """The actions that take observed to desired, each with its causes.

    Apps with nothing to do have no action. Apps of other projects are left alone.
    """
    prefix = f"{desired.project}/"
    names = {*desired.apps, *recorded.apps, *observed.apps}
    views = [
        _View(
            name,
            desired.apps.get(name),
            recorded.apps.get(name, RecordedApp(name)),
            observed.apps.get(name, ()),
            now,
            desired.retry_now,
        )
        for name in sorted(names)
        if name.startswith(prefix)
    ]
    removals = _removals(desired, views)
    actions = [action for view in views for action in _decide(view, removals)]
    return Plan(tuple(actions))


# -- one app ---------------------------------------------------------------------------------


def _decide(view: _View, removals: _Removals) -> Iterator[Action]:
    if view.desired is None:
        yield from removals.decide(view)
        return
    action = _act(view, view.desired)
    if action is not None:
        yield action
    if not view.recorded.in_flight and (action is None or action.kind != "hold"):
        yield from _clean(view)


def _act(view: _View, desired: DesiredApp) -> Action | None:
    if view.recorded.in_flight:
        return _on_its_way(view, desired)
    if held := _held(view, desired):
        return held
    if heal := _heal(view, desired):
        return heal
    if desired.trouble:
        trouble = desired.trouble
        return Action(
            view.app, "block", (trouble.reason,), passing=trouble.passing, todo=trouble.todo
        )
    change = _first(view, desired) if view.serving is None else _change(view, desired, view.serving)
    return change and _admit(view, change, target_hash(desired))


def _on_its_way(view: _View, desired: DesiredApp) -> Action | None:
    newest = view.recorded.in_flight[-1]
    wait = Action(view.app, "wait", (f"deployment {newest.deployment} is {newest.status}",))
    wanted = "" if desired.trouble else target_hash(desired)
    coming = {one.target for one in view.recorded.in_flight if one.kind != "remove"}
    by_hand = newest.forced or newest.kind not in DEPLOYING
    if not wanted or wanted in coming or by_hand or _held(view, desired):
        return wait
    change = _change(view, desired, view.serving) if view.serving else _first(view, desired)
    if change is None or change.kind == "record":
        return wait
    return _admit(view, change, wanted)


def _held(view: _View, desired: DesiredApp) -> Action | None:
    if desired.suspended:
        return Action(view.app, "hold", ("suspended in the spec",))
    hold = _hold_in_force(view, desired)
    if hold is None or (hold.kind == "pinned" and _broken(view)):
        return None  # what it is pinned to is kept alive
    return Action(view.app, "hold", (hold.reason,), until=hold.until)


def _hold_in_force(view: _View, desired: DesiredApp) -> Hold | None:
    """A pin holds only against what was desired then."""
    hold = view.recorded.hold
    if hold is None or (hold.until is not None and hold.until <= view.now):
        return None
    pinned = hold.kind == "pinned" and not desired.trouble
    return None if pinned and hold.target not in ("", target_hash(desired)) else hold


# -- healing ---------------------------------------------------------------------------------


def _heal(view: _View, desired: DesiredApp) -> Action | None:
    """Bring back what is recorded, unless a change is due that replaces the container anyway."""
    cause = _broken(view)
    if not cause or view.serving is None:
        return None
    if not desired.trouble and not _hold_in_force(view, desired):
        change = _change(view, desired, view.serving)
        if change is not None and "deploy" in change.stages:
            admitted = _admit(view, change, target_hash(desired))
            if admitted is change:
                return Action(view.app, change.kind, (*change.causes, cause), change.stages)
    heal = Action(view.app, "heal", (cause,), ("deploy", "health"))
    return _admit(view, heal, view.serving.target)


def _broken(view: _View) -> str:
    """Why what serves is broken, or an empty text."""
    if view.serving is None:
        return ""
    container = _serving_container(view)
    if container is None:
        return "container is missing"
    if container.state in ("exited", "dead"):
        return f"container exited with {container.exit_code}"
    if container.state != "running":
        return f"container is {container.state}"
    unhealthy = container.health == "unhealthy" and not _has_own_check(view.serving.settings)
    return "container is unhealthy" if unhealthy else ""


def _has_own_check(settings: Facts) -> bool:
    """Whether the spec says how to check; the image's own HEALTHCHECK then means nothing."""
    return any(
        name.startswith(("health.http", "health.tcp", "health.command")) for name in settings
    )


def _serving_container(view: _View) -> Container | None:
    """The container of the serving deployment; a running one where there are several."""
    if view.serving is None:
        return None
    own = [c for c in view.containers if c.deployment == view.serving.deployment and not c.task]
    return min(own, key=lambda container: container.state != "running", default=None)


def _clean(view: _View) -> Iterator[Action]:
    """Containers beside the one that serves. With nothing recorded, nothing is surely garbage."""
    serving = _serving_container(view)
    if serving is None or serving.state != "running":
        return
    extra = tuple(sorted(c.id for c in view.containers if c.id != serving.id))
    if extra:
        count = "1 container" if len(extra) == 1 else f"{len(extra)} containers"
        yield Action(view.app, "clean", (f"{count} left over",), containers=extra)


# -- changes ---------------------------------------------------------------------------------


def _first(view: _View, desired: DesiredApp) -> Action:
    adopted = _adoptable(view, desired)
    if adopted is not None:
        cause = f"container {adopted.id[:12]} already runs exactly this"
        return Action(view.app, "record", (cause,), containers=(adopted.id,))
    return _deploying(view, desired, ("not deployed yet",), new_image=True)


def _adoptable(view: _View, desired: DesiredApp) -> Container | None:
    """A running container that is what is desired, after the state was lost."""
    wanted = build_hash(desired.build)
    for container in view.containers:
        healthy = container.health != "unhealthy" or _has_own_check(desired.settings)
        works = container.state == "running" and healthy
        same_run = container.run_hash == run_hash(container.image_id, desired.run)
        verified = container.name == view.app.replace("/", "-")  # the name that settling gives
        if works and verified and same_run and container.build_hash == wanted:
            return container
    return None


def _change(view: _View, desired: DesiredApp, serving: Serving) -> Action | None:
    build = _describe_build(desired, serving)
    run = describe_changes(serving.run, desired.run)
    if build or run:
        return _deploying(view, desired, (*build, *run), new_image=bool(build))
    if desired.push_to and desired.push_to != serving.pushed_to:
        cause = (
            f"push to {desired.push_to}" if not serving.pushed_to else "image.repository changed"
        )
        return Action(view.app, "push", (cause,), ("push",))
    return _record(view, desired, serving)


def _deploying(
    view: _View, desired: DesiredApp, causes: tuple[str, ...], *, new_image: bool
) -> Action:
    push = ("push",) if desired.push_to else ()
    swap = _swapping(desired)
    if not new_image:
        pushed = view.serving is not None and view.serving.pushed_to == desired.push_to
        return Action(view.app, "restart", causes, (*(() if pushed else push), *swap))
    if not desired.builds:
        return Action(view.app, "deploy", causes, ("clone", *swap))
    if build_hash(desired.build) in view.recorded.images:
        return Action(view.app, "restart", causes, (*push, *swap))
    return Action(view.app, "deploy", causes, ("clone", "build", *push, *swap))


def _swapping(desired: DesiredApp) -> tuple[str, ...]:
    """The stages from the image to the end."""
    before = ("pre_deploy",) if "hooks.pre_deploy" in desired.settings else ()
    after = ("post_deploy",) if "hooks.post_deploy" in desired.settings else ()
    return (*before, "deploy", "health", *after)


def _record(view: _View, desired: DesiredApp, serving: Serving) -> Action | None:
    causes = describe_changes(serving.settings, desired.settings)
    if desired.resolved != serving.resolved:
        causes.insert(0, f"{_arrow(serving.resolved, desired.resolved)} touches nothing of it")
    elif desired.revision != serving.revision:
        causes.insert(0, "revision changed, and names the same")
    return Action(view.app, "record", tuple(causes)) if causes else None


def _describe_build(desired: DesiredApp, serving: Serving) -> list[str]:
    """Changed source paths become one cause that names the revisions."""
    changes = describe_changes(serving.build, desired.build)
    touched = [c.removeprefix("source.").rpartition(" ")[0] for c in changes if _is_source(c)]
    others = [change for change in changes if not _is_source(change)]
    if not touched:
        return others
    where = [path for path in touched if path not in (".", "image")]
    suffix = f" (touches {', '.join(where)})" if where else ""
    return [_arrow(serving.resolved, desired.resolved) + suffix, *others]


def _is_source(change: str) -> bool:
    return change.startswith("source.")


def _arrow(old: str, new: str) -> str:
    return f"revision {short(old)} → {short(new)}" if old != new else f"revision {short(new)}"


def short(resolved: str) -> str:
    """The first 7 digits of a commit, 12 of a digest or tree, for people."""
    prefix, colon, digits = resolved.rpartition(":")
    return f"{prefix}{colon}{digits[:12]}" if colon else resolved[:7]


def _admit(view: _View, action: Action, target: str) -> Action:
    """The action, unless the same target has failed before."""
    failure = view.recorded.failures.get(target)
    if failure is None or action.kind == "record":
        return action
    if failure.retry_at is None:
        cause = f"failed before ({failure.deployment}): {failure.reason}"
        name = view.app.partition("/")[2] or view.app
        todo = f"Push or edit something, or try the same again: `reconcile deploy {name}`."
        return Action(view.app, "quarantine", (cause,), todo=todo)
    if failure.retry_at > view.now and not view.retry_now:
        cause = f"try {failure.attempts} failed: {failure.reason}"
        return Action(view.app, "wait", (cause,), until=failure.retry_at)
    retry = f"try {failure.attempts + 1} after: {failure.reason}"
    return Action(view.app, action.kind, (*action.causes, retry), action.stages)


# -- removing --------------------------------------------------------------------------------


@frozen
class _Removals:
    """Whether apps that are gone from the spec may be removed; if not, why, and how to."""

    refusal: str
    todo: str = ""

    def decide(self, view: _View) -> Iterator[Action]:
        if view.recorded.in_flight:
            newest = view.recorded.in_flight[-1]
            cause = f"deployment {newest.deployment} is {newest.status}"
            yield Action(view.app, "wait", (cause,))
        elif view.containers or view.serving:
            if self.refusal:
                cause = f"gone from the spec; {self.refusal}"
                yield Action(view.app, "keep", (cause,), todo=self.todo)
            else:
                yield Action(view.app, "remove", ("gone from the spec",), ("remove",))


def _removals(desired: Desired, views: list[_View]) -> _Removals:
    if not desired.prune:
        return _Removals("kept, because pruning is off", "`reconcile apply --prune` removes it.")
    present = [view for view in views if view.containers or view.serving]
    gone = sum(view.desired is None for view in present)
    limit = max(1, int(len(present) * REMOVAL_SHARE))
    if desired.allow_removals is not None:
        limit = max(limit, desired.allow_removals)
    elif not desired.apps:
        limit = 0  # an empty spec is an accident until somebody says otherwise
    if gone > limit:
        return _Removals(
            f"kept, because {gone} removals at once are more than {limit}",
            f"If that is meant: `reconcile apply --allow-removals {gone}`.",
        )
    return _Removals("")
