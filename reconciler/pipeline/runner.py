"""Runs one claimed deployment through its stages to its end, whatever happens on the way.

    claimed ─▶ clone ─▶ build ─▶ push ─▶ (distribute ─▶ pre_deploy) ─┬─ failed
                                                       ┌─────────────┘
                 deploy ─▶ health ─▶ (replicas ─▶ switch ─▶ watch ─▶ post_deploy) ─┬─ settle
                                                       ▼                           ▼
                                      revert ─▶ rolled_back | failed           succeeded

Stages in brackets are there where the spec asks for them. `distribute` brings the image to hosts
that it wasn't made on, `switch` gives the new containers the traffic (blue-green, canary), `watch`
looks whether they keep it well, and `settle` lets the old ones finish what they have and removes
them.

A lost lease ends the work without a word: the other process writes the end. A process that ends
in order hands over: what was swapped is put back, and the deployment waits for the next process.
"""

from __future__ import annotations

import functools
import shutil
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import ModuleType
from typing import TypeVar

from reconciler import queue
from reconciler.errors import (
    EngineUnavailable,
    HandedOver,
    Interrupted,
    LeaseLost,
    ReconcilerError,
    Stopped,
    TimedOut,
)
from reconciler.host.job import Cancellation, Job
from reconciler.host.owner import describe_process, is_alive, pid_of
from reconciler.host.process import end_group
from reconciler.pipeline import (
    build,
    clone,
    deploy,
    distribute,
    health,
    post_deploy,
    pre_deploy,
    push,
    remove,
    replicas,
    switch,
    traffic,
    watch,
)
from reconciler.pipeline.context import Context
from reconciler.pipeline.ending import describe_end, stop_reason
from reconciler.pipeline.log import DeploymentLog
from reconciler.pipeline.tools import Tools, with_credentials
from reconciler.queue import Claim, Ending, StageResult
from reconciler.spec.hosts import LOCAL
from reconciler.spec.models import App, Hooks
from reconciler.spec.plain import from_plain
from reconciler.spec.scalars import seconds
from reconciler.state.apps import FailedTry
from reconciler.state.records import Deployment

STAGES: Mapping[str, ModuleType] = {
    "clone": clone,
    "build": build,
    "push": push,
    "distribute": distribute,
    "pre_deploy": pre_deploy,
    "deploy": deploy,
    "health": health,
    "replicas": replicas,
    "switch": switch,
    "watch": watch,
    "post_deploy": post_deploy,
}
"""One that has `wanted` is there only where that says so. One that has `check` doesn't begin where
that raises."""

ONCE = ("pre_deploy", "post_deploy")
"""What ran before a crash isn't run again."""

TOUCHING = ("deploy", "health", "replicas", "switch", "watch", "post_deploy")
"""From the first of them on, containers of the app may have been touched."""

REMOVE: Mapping[str, ModuleType] = {"remove": remove}

MAX_ATTEMPTS = 20
"""A deployment whose process dies this often is ended as `interrupted` instead of resumed."""

REVERT_PATIENCE_SECONDS, REVERT_ELSEWHERE_SECONDS = 120.0, 15.0
"""How long putting the old container back waits for an engine that is away. One of another machine
may be away for long, and whoever waits for it keeps others waiting; when it is back, a pass puts
right what is there."""


T = TypeVar("T")

BUG = "this is a bug in reconciler, please report it:\n"


def run_deployment(tools: Tools, claim: Claim, cancel: Cancellation) -> Deployment | None:
    """Run it; the row as it ended, or None when another process took it over, or will."""
    row = claim.deployment
    log = DeploymentLog(tools.store.log_path(row.app, row.id), row, tools.redactor, tools.listen)
    try:
        try:
            return _run(_make_context(tools, claim, cancel, log), log)
        except (ReconcilerError, sqlite3.Error):
            raise  # the state can't be written now: whoever comes next resumes it
        except Exception as error:
            return _end_by_bug(tools, claim, log, error)
    except LeaseLost as lost:
        log.write(str(lost))
        return None
    finally:
        log.close()


def _end_by_bug(tools: Tools, claim: Claim, log: DeploymentLog, error: Exception) -> Deployment:
    """The last resort: it ends all the same, and keeps no other from going on."""
    log.write(BUG + traceback.format_exc())
    reason = tools.redactor.hide(f"internal error: {error!r}")
    return queue.finish(
        tools.store, claim, Ending("failed", reason, FailedTry(reason)), tools.clock()
    )


def _make_context(tools: Tools, claim: Claim, cancel: Cancellation, log: DeploymentLog) -> Context:
    def note_child(pid: int | None) -> None:
        queue.note_child(tools.store, claim, describe_process(pid) if pid else "")

    request = claim.deployment.read_request()
    tools.hosts.learn_described(request.hosts)
    job = Job(claim.deployment.app, log.write, cancel, note_child)
    app = with_credentials(from_plain(App, request.spec), tools.urls)
    return Context(claim, request, app, tools, job)


def _run(context: Context, log: DeploymentLog) -> Deployment | None:
    started = time.monotonic()
    _end_leftover_child(context.row)
    context.emit("started", attempt=context.row.attempt, resumed=context.row.attempt > 1)
    if context.request.cause:
        log.write(f"cause: {context.request.cause}")
    try:
        _run_stages(context, log)
        ending = Ending("succeeded", context.found.unchanged or "")
    except LeaseLost:
        raise
    except Exception as error:
        if isinstance(context.job.cancel.reason, HandedOver) and not _asked_to_stop(context):
            _hand_over(context, log)
            return None
        ending = _end_badly(context, log, error)
    _clear_tasks(context)
    log.stage = "end"
    log.write(f"{ending.outcome}: {ending.reason}" if ending.reason else ending.outcome)
    shutil.rmtree(context.checkout, ignore_errors=True)
    row = queue.finish(context.tools.store, context.claim, ending, context.tools.clock())
    context.emit(
        "finished",
        outcome=ending.outcome,
        reason=ending.reason,
        seconds=time.monotonic() - started,
    )
    return row


def _end_leftover_child(row: Deployment) -> None:
    """After a takeover: whatever the dead owner had started for this deployment ends."""
    if row.child and is_alive(row.child):
        end_group(pid_of(row.child), grace=0)


# -- stages ----------------------------------------------------------------------------------


def _run_stages(context: Context, log: DeploymentLog) -> None:
    if _is_verified(context):
        if not deploy.skip(context):
            _settle(context)
        return
    if context.row.attempt > MAX_ATTEMPTS:
        raise Interrupted(f"its process died {context.row.attempt - 1} times", app=context.name)
    ran = _done_before(context)
    for name, stage in _stages_of(context).items():
        if name not in ONCE or name not in ran:
            log.stage = name
            _run_stage(context, name, stage)
    if context.request.kind != "remove" and not deploy.skip(context):
        _settle(context)


def _is_verified(context: Context) -> bool:
    """From there on nothing is put back, whoever asks: the old container may be gone already."""
    *_, last = _stages_of(context)
    return context.request.kind != "remove" and last in _done_before(context)


def _done_before(context: Context) -> set[str]:
    """The stages that an earlier attempt has committed."""
    stages = context.tools.store.list_stages(context.row.id) if context.row.attempt > 1 else ()
    return {stage.name for stage in stages if stage.status in ("done", "skipped")}


def _stages_of(context: Context) -> Mapping[str, ModuleType]:
    if context.request.kind == "remove":
        return REMOVE
    return {name: stage for name, stage in STAGES.items() if _is_wanted(context, stage)}


def _is_wanted(context: Context, stage: ModuleType) -> bool:
    wanted: Callable[[Context], bool] | None = getattr(stage, "wanted", None)
    return wanted is None or wanted(context)


def _run_stage(context: Context, name: str, stage: ModuleType) -> None:
    store, clock = context.tools.store, context.tools.clock
    context.job.cancel.check()
    with _time_limit(context, name):
        reason: str = stage.skip(context)
        if reason:
            image = context.found.image_id  # from now on nobody removes it
            columns = {"image_id": image} if image else {}
            columns |= context.found.columns
            result = StageResult("skipped", {"reason": reason}, columns)
            queue.end_stage(store, context.claim, name, result, clock())
            context.emit("stage", stage=name, status="skipped", seconds=0.0)
            return
        if check := getattr(stage, "check", None):
            check(context)
        started = time.monotonic()
        queue.begin_stage(store, context.claim, name, clock())
        context.emit("stage", stage=name, status="running", seconds=0.0)
        try:
            result = stage.run(context)
        except Exception:
            elapsed = time.monotonic() - started
            context.emit("stage", stage=name, status="failed", seconds=elapsed)
            raise
    queue.end_stage(store, context.claim, name, result, clock())
    elapsed = time.monotonic() - started
    context.emit("stage", stage=name, status="done", seconds=elapsed)


@contextmanager
def _time_limit(context: Context, stage: str) -> Iterator[None]:
    """A stage over its time is stopped like a killed one; health keeps its own time."""
    limit: str | None = getattr(context.app.timeouts, stage, None)
    if limit is None:
        yield
        return
    reason = TimedOut(
        f"the stage {stage} took longer than {limit}",
        app=context.name,
        todo=f"Find out what hangs in its log, or raise timeouts.{stage}.",
    )
    timer = threading.Timer(seconds(limit), context.job.cancel.cancel, (reason,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _settle(context: Context) -> None:
    """The new container serves; what can't be removed now is left over for the next pass."""
    calm = replace(context, job=replace(context.job, cancel=Cancellation()))
    try:
        traffic.drain_old(calm, context.job.cancel)
        context.runtime.settle(context.bare_workload(), calm.job)
    except Exception as error:  # whatever it is, nothing may be put back any more
        context.job.log(f"the old container could not be removed yet: {error}")


def _clear_tasks(context: Context) -> None:
    """The hooks' containers; what can't be removed now is left over for a later pass."""
    if context.app.hooks != Hooks():
        with suppress(ReconcilerError):
            context.runtime.clear_tasks(context.name)


# -- a bad end -------------------------------------------------------------------------------


def _end_badly(context: Context, log: DeploymentLog, error: Exception) -> Ending:
    """Put the old container back if it was stopped, and say how and why it ended."""
    error = _asked_to_stop(context) or error
    if isinstance(error, ReconcilerError):
        log.write(str(error))
    else:
        log.write(BUG + traceback.format_exc())
    log.stage = "revert"
    restored = _revert(context, log)
    return describe_end(context, error, restored=restored)


def _hand_over(context: Context, log: DeploymentLog) -> None:
    log.write("this process ends; the next one goes on with the deployment")
    log.stage = "revert"
    _revert(context, log)
    shutil.rmtree(context.checkout, ignore_errors=True)
    queue.hand_over(context.tools.store, context.claim, context.tools.clock())


def _asked_to_stop(context: Context) -> Stopped | None:
    """A killed child looks like a broken build, until one looks at what was asked for."""
    how = queue.read_stop(context.tools.store, context.claim)
    if how == "lost":
        raise stop_reason(how, context.name)
    return stop_reason(how, context.name) if how else None


def _revert(context: Context, log: DeploymentLog) -> bool:
    """Whether the new container had been started and the old one serves again, or still."""
    if context.request.kind == "remove" or not _touched_containers(context):
        return False
    calm = replace(context, job=replace(context.job, cancel=Cancellation()))
    here = all(host == LOCAL for _, host in context.station.here)
    deadline = time.monotonic() + (REVERT_PATIENCE_SECONDS if here else REVERT_ELSEWHERE_SECONDS)
    patiently = functools.partial(_patiently, log, deadline)
    patiently("the traffic could not be given back", lambda: traffic.give_back(calm))
    restored = patiently(
        "the old container could not be put back",
        lambda: calm.runtime.revert(calm.bare_workload(), calm.job),
    )
    patiently("the traffic could not be given back", lambda: traffic.give_to_rest(calm))
    return bool(restored)


def _patiently(
    log: DeploymentLog, deadline: float, failure: str, work: Callable[[], T]
) -> T | None:
    """What it returns; None when the engine stays away, or refuses."""
    while True:
        try:
            return work()
        except EngineUnavailable as error:
            if time.monotonic() > deadline:
                log.write(f"{failure}: {error}")
                return None
            time.sleep(0.25)
        except ReconcilerError as error:
            log.write(f"{failure}: {error}")
            return None


def _touched_containers(context: Context) -> bool:
    row = context.tools.store.find_deployment(context.row.id)
    return row is not None and row.stage in TOUCHING
