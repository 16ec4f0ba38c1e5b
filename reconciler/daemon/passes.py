"""One pass of the daemon: load the spec, run the pass, and say once what it met."""

from __future__ import annotations

import sqlite3
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reconciler.daemon.logs import Level
from reconciler.daemon.loop import Wish
from reconciler.daemon.reports import Reports
from reconciler.engine.configuration import Configuration
from reconciler.engine.desired import Policy
from reconciler.engine.reconcile import Pass, run_pass
from reconciler.errors import Locked, ReconcilerError, UsageError
from reconciler.pipeline.tools import Tools
from reconciler.source.memory import VersionMemory
from reconciler.spec.loaded import LoadedSpec
from reconciler.values import frozen

TOLD = ("block", "quarantine", "keep", "hold")
"""Kinds of actions that a person should know of, once."""


@frozen
class After:
    """Who is told of a pass: of a spec in force, of what it did, and how it ended.

    `met`: what kept it from going through. `finished`: seconds it took, and whether it did.
    """

    loaded: Callable[[LoadedSpec], None]
    done: Callable[[LoadedSpec, Pass], None]
    met: Callable[[Exception], None]
    finished: Callable[[float, bool], None]


class Passes:
    """Runs passes, one after the other. `spec` is in force from the first valid one on."""

    def __init__(
        self, tools: Tools, configuration: Configuration, policy: Policy, reports: Reports
    ) -> None:
        self.spec: LoadedSpec | None = None
        self.memory = policy.memory or VersionMemory(tools.clock, tools.retry_delay)
        self._tools = tools
        self._configuration = configuration
        self._policy = replace(policy, memory=self.memory, made={})
        self._reports = reports

    def run(self, wishes: Sequence[Wish], after: After) -> None:
        """One pass; what goes wrong is reported, never raised."""
        started = time.monotonic()
        ok = False
        try:
            self._run(wishes, after)
            ok = True
        except Locked as error:
            self._reports.say("pass", f"no pass: {error}", level="info")
        except (ReconcilerError, sqlite3.Error, OSError) as error:
            self._reports.say("pass", f"no pass: {error}")
            after.met(error)
        except Exception as error:  # a bug: loudly, and without an end to everything else
            self._reports.say(
                "pass", f"no pass, by a fault of this program: {error!r}", level="error"
            )
            self._reports.tell("traceback", traceback.format_exc())
            after.met(error)
        after.finished(time.monotonic() - started, ok)

    def _run(self, wishes: Sequence[Wish], after: After) -> None:
        self._refresh(wishes)
        loaded = self._load(wishes)
        after.loaded(loaded)
        done = run_pass(self._tools, loaded, self._policy, "daemon")
        self._spend_removals(done)
        self._report(done, wishes)
        after.done(loaded, done)

    def _refresh(self, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            if wish.look == "now":
                self.memory.forget(wish.apps)
            elif wish.look == "due":
                self.memory.expire()

    def _load(self, wishes: Sequence[Wish]) -> LoadedSpec:
        """The newest valid spec; the configuration itself tells of a newer one that isn't."""
        local = bool(self._configuration.files)
        if self.spec is None or local or any(wish.look for wish in wishes):
            self.spec = self._configuration.load()
        return self.spec  # a repository has news only when its host is asked

    def _spend_removals(self, done: Pass) -> None:
        """`--allow-removals` is for one time."""
        removed = any(action.kind == "remove" for action in done.snapshot.plan.actions)
        if removed and self._policy.allow_removals is not None:
            self._policy = replace(self._policy, allow_removals=None)

    def _report(self, done: Pass, wishes: Sequence[Wish]) -> None:
        self._reports.over("pass", "passes go through again")
        for row in done.queued:
            why = ", ".join(wish.cause for wish in wishes)
            self._reports.tell("plan", f"{row.kind}: {row.cause} (seen after: {why})", app=row.app)
        for trouble in done.front.troubles:
            self._reports.say("proxy", f"{trouble}", app=trouble.app)
        troubled = {trouble.app for trouble in done.front.troubles}
        self._reports.keep_only("proxy", troubled, "the proxy is as it shall be")
        told: set[str] = set()
        for action in done.snapshot.plan.actions:
            if action.kind in TOLD:
                told.add(action.app)
                todo = f" → {action.todo}" if action.todo else ""
                text = f"{action.kind}: {action.cause}{todo}"
                level: Level = "info" if action.kind == "hold" else "warning"
                self._reports.say("held back", text, app=action.app, level=level)
        self._reports.keep_only("held back", told, "goes on")


def next_moment(done: Pass, memory: VersionMemory, pause: float | None = None) -> datetime | None:
    """When time alone brings something: by the plan, or the end of the pause of a failed host.

    `pause`: seconds until a host of apps that is away may be asked again, if nobody watches it.
    """
    planned = done.snapshot.plan.next_at
    times = [planned] if planned else []
    source = memory.next_at()
    if source is not None:
        times.append(datetime.fromtimestamp(source, UTC))
    if pause is not None:
        times.append(datetime.now(UTC) + timedelta(seconds=pause))
    return min(times, default=None)


def spec_in_force(passes: Passes) -> LoadedSpec:
    """Raises `UsageError` before the first valid one."""
    if passes.spec is None:
        raise UsageError(
            "there is no valid spec yet", todo="Correct the spec; the daemon's log says what."
        )
    return passes.spec
