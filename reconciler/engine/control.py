"""What people do by hand to one app. Every request goes through the queue."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import field, replace
from datetime import UTC, datetime

from reconciler import queue
from reconciler.engine.desired import Resolver, Target
from reconciler.engine.front import prepare_front
from reconciler.engine.handover import prepare_by_hand
from reconciler.engine.requests import TITLES, Asked, put_request, repeat_request, target_request
from reconciler.engine.worker import Leases
from reconciler.errors import Stopped, UsageError
from reconciler.host.job import Cancellation, Job
from reconciler.host.lock import locked
from reconciler.host.owner import current_owner, is_alive, pid_of
from reconciler.pipeline.ending import stop_reason
from reconciler.pipeline.runner import run_deployment
from reconciler.pipeline.tools import Tools
from reconciler.plan.hashes import target_hash
from reconciler.plan.windows import is_open
from reconciler.source.base import Resolved
from reconciler.spec.loaded import LoadedSpec
from reconciler.state.apps import HoldRow, set_hold
from reconciler.state.recorded import read_recorded
from reconciler.state.records import Deployment, Request
from reconciler.values import frozen

CANCEL_PATIENCE_SECONDS = 20.0
KILL_PATIENCE_SECONDS = 0.5
LOCK_SECONDS = 60.0


@frozen
class Words:
    """What a person says about a deployment. Cancelling `job` ends the asking, not what was asked
    for.
    """

    title: str = ""
    description: str = ""
    trigger: str = "manual"
    job: Job = field(default_factory=Job)


# -- deployments -----------------------------------------------------------------------------


def deploy(
    tools: Tools, loaded: LoadedSpec, app: str, words: Words, revision: str | None = None
) -> Deployment:
    """Ask for the newest source, or for `revision`, with the full pipeline.

    Another revision than the spec's pins the app there. Raises what resolving it raises.
    """
    prepare_by_hand(tools, loaded, app)
    resolver = _resolver(tools, loaded, words.job)
    target = _without_trouble(resolver.resolve([app])[app], tolerate=revision is not None)
    chosen = target
    if revision is not None:
        section = replace(target.app, revision=revision)
        chosen = _without_trouble(resolver.resolve_apps({app: section}, {})[app])
    asked = Asked(
        "deploy",
        words.trigger,
        "asked for by hand"
        + (f": revision {revision}" if revision else "")
        + _outside(tools, loaded, app),
        title=words.title or TITLES["deploy"],
        description=words.description,
        force=True,
    )
    request = target_request(chosen, asked)
    if revision is not None and revision != target.app.revision:
        pin = f"pinned to {revision} by hand"
        request = replace(request, pin=pin, pin_against=_target_of(target))
    return _put(tools, request, words.job)


@frozen
class Rebuild:
    """How a redeploy builds."""

    no_cache: bool = False
    pull: bool = False


def redeploy(
    tools: Tools, loaded: LoadedSpec, app: str, words: Words, rebuild: Rebuild
) -> Deployment:
    """Ask for the version that serves now, rebuilt with the current configuration."""
    prepare_by_hand(tools, loaded, app)
    served = _serving(tools, app)
    prepare_front(tools, loaded, app)
    request = served.read_request()
    known = Resolved(request.resolved, request.revision, request.reference)
    section = loaded.spec.apps[app.partition("/")[2]]
    target = _resolver(tools, loaded, words.job).resolve_apps({app: section}, {app: known})[app]
    asked = Asked(
        "redeploy",
        words.trigger,
        "asked for by hand" + _outside(tools, loaded, app),
        title=words.title or TITLES["redeploy"],
        description=words.description,
        force=True,
        no_cache=rebuild.no_cache,
        pull=rebuild.pull,
    )
    again = replace(
        target_request(_without_trouble(target), asked),
        pin=request.pin,
        pin_against=request.pin_against,
    )
    return _put(tools, again, words.job)


def rollback(
    tools: Tools, loaded: LoadedSpec, app: str, words: Words, to: str | None = None
) -> Deployment:
    """Ask for an earlier successful deployment's image and configuration, and stay there.

    `to`: its id; default: the last one that ran something else than what serves now.
    """
    prepare_by_hand(tools, loaded, app)
    served = _serving(tools, app)
    earlier = _find_earlier(tools, app, served, to)
    prepare_front(tools, loaded, app)
    target = _resolver(tools, loaded, words.job).resolve([app])[app]
    asked = Asked(
        "rollback",
        words.trigger,
        f"back to {earlier.id} by hand" + _outside(tools, loaded, app),
        ("deploy", "health"),
        title=words.title or f"Rollback to {earlier.id}",
        description=words.description,
    )
    pin = f"rolled back to {earlier.id} by hand"
    request = replace(repeat_request(earlier, asked), pin=pin, pin_against=_target_of(target))
    return _put(tools, request, words.job)


def _outside(tools: Tools, loaded: LoadedSpec, app: str) -> str:
    """For history: a person needn't wait for the app's windows."""
    windows = loaded.spec.apps[app.partition("/")[2]].windows
    now = datetime.fromtimestamp(tools.clock(), UTC)
    return ", outside its windows" if windows and not is_open(windows, now) else ""


def _resolver(tools: Tools, loaded: LoadedSpec, job: Job) -> Resolver:
    tools.learn(loaded)
    return Resolver(tools, loaded, read_recorded(tools.store, loaded.spec.project), job)


def _put(tools: Tools, request: Request, job: Job) -> Deployment:
    """Behind any pass that plans right now, so that it can't ask for the same once more."""
    with locked(tools.store.directory / "pass.lock", job, LOCK_SECONDS):
        job.cancel.check()
        return put_request(tools, request)


def _without_trouble(target: Target, *, tolerate: bool = False) -> Target:
    if target.error is not None and not tolerate:
        if not target.error.app:
            target.error.app = target.desired.app
        raise target.error
    return target


def _target_of(target: Target) -> str:
    """Empty while the source is away: the pin then holds until `resume`."""
    return "" if target.desired.trouble else target_hash(target.desired)


def _serving(tools: Tools, app: str) -> Deployment:
    row = tools.store.find_app(app)
    served = tools.store.find_deployment(row.serving) if row and row.serving else None
    if served is None:
        raise UsageError(
            f"{app} has no successful deployment", todo="Use `reconcile deploy` or `apply`."
        )
    return served


def _find_earlier(tools: Tools, app: str, served: Deployment, to: str | None) -> Deployment:
    if to is None:
        for row in tools.store.list_succeeded(app):
            if (row.image_id, row.facts) != (served.image_id, served.facts):
                return row
        raise UsageError(f"{app} has no earlier successful deployment that differs")
    chosen = tools.store.find_deployment(to)
    if chosen is None or chosen.app != app or chosen.outcome != "succeeded":
        raise UsageError(
            f"{to!r} is no successful deployment of {app}",
            todo="`reconcile history` lists them.",
        )
    return chosen


# -- ending ----------------------------------------------------------------------------------


@frozen
class Stop:
    """How a stop went. `row` is None when nothing was in progress; `killed`: what was killed."""

    row: Deployment | None
    killed: str = ""


def cancel(tools: Tools, app: str) -> Stop:
    """End the app's deployment in progress; the old container serves on."""
    row = queue.request_stop(tools.store, app, "cancel")
    if row is None:
        return Stop(None)
    reason = stop_reason("cancel", app)
    return Stop(_await_end(tools, row, CANCEL_PATIENCE_SECONDS) or _end_here(tools, row, reason))


def cancel_next(tools: Tools, app: str) -> Stop:
    """The same and, where nothing is in progress yet, the one that waits ends instead: to whoever
    only sees the app's status, it runs.
    """
    stop = cancel(tools, app)
    if stop.row is None and not queue.cancel_waiting(tools.store, tools.clock(), app=app):
        return cancel(tools, app)  # it may have begun in between
    return stop


def kill(tools: Tools, app: str) -> Stop:
    """End it by force: its child processes are killed, and if its owner doesn't react, this
    process takes the deployment over and ends it.
    """
    row = queue.request_stop(tools.store, app, "kill")
    if row is None:
        return Stop(None)
    killed = _kill_child(row)
    ended = _await_end(tools, row, KILL_PATIENCE_SECONDS)
    if ended is None:  # its owner may have started another child meanwhile
        killed = _kill_child(tools.store.find_deployment(row.id) or row) or killed
        ended = _end_here(tools, row, stop_reason("kill", app))
    return Stop(ended, killed)


def _await_end(tools: Tools, row: Deployment, patience: float) -> Deployment | None:
    """The row once it has ended; None when the patience ends first, or its owner has died."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        current = tools.store.find_deployment(row.id)
        if current is None or current.ended:
            return current
        if queue.is_orphan(current, tools.clock()):
            return None
        time.sleep(0.02)
    return None


def _end_here(tools: Tools, row: Deployment, reason: Stopped) -> Deployment | None:
    claim = queue.take_over(tools.store, row.id, current_owner(), tools.clock())
    if claim is not None:
        leases = Leases(tools)
        keeper = leases.start()
        leases.add(claim)
        stopped = Cancellation()
        stopped.cancel(reason)
        run_deployment(tools, claim, stopped)
        leases.end()
        keeper.join()
    return tools.store.find_deployment(row.id)


def _kill_child(row: Deployment) -> str:
    """What was killed, for people; empty when no child works for the deployment."""
    if not row.child or not is_alive(row.child):
        return ""
    group = pid_of(row.child)
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return ""
    return f"process group {group} of stage {row.stage}"


# -- holding ---------------------------------------------------------------------------------


def suspend(tools: Tools, app: str, reason: str, seconds: float | None) -> HoldRow:
    """The loop leaves the app alone, for `seconds` or until `resume`."""
    until = None if seconds is None else tools.clock() + seconds
    hold = HoldRow("suspended", reason or "suspended by hand", until)
    with tools.store.transaction() as connection:
        set_hold(connection, app, hold)
    return hold


def resume(tools: Tools, app: str) -> str:
    """Lift a suspension or a pin; why it was held, empty when it wasn't."""
    row = tools.store.find_app(app)
    if row is None or not row.hold_kind:
        return ""
    with tools.store.transaction() as connection:
        set_hold(connection, app, HoldRow())
    return row.hold_reason
