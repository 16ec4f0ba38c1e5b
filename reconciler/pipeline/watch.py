"""Stage `watch`: the new containers go on working while the old ones could still take over.

Watched is what an outsider can see: that no container ends or is restarted, that the image's
HEALTHCHECK doesn't call it unhealthy, and that the check of the spec goes on being answered.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

from reconciler.errors import HealthError
from reconciler.pipeline import deploy, health_reasons, traffic
from reconciler.pipeline.context import Context
from reconciler.pipeline.health import LAST_LINES, choose_probe
from reconciler.pipeline.health_reasons import Story
from reconciler.pipeline.probes import Probe
from reconciler.queue import StageResult
from reconciler.runtime.background import call_cancellable
from reconciler.runtime.base import Instance, InstanceState
from reconciler.spec.scalars import seconds

LOOK_SECONDS = 0.1
ASK_SECONDS = 0.5
ASK_AGAIN_SECONDS = 0.2
MANY_FAILURES = 3
"""One answer that fails may be chance."""


def wanted(context: Context) -> bool:
    """Only where the old ones are still there to go back to."""
    return context.app.strategy != "recreate" and seconds(context.app.rollout.watch) > 0


def skip(context: Context) -> str:
    """Nothing was deployed, or nothing could take over."""
    reason = deploy.skip(context)
    if reason or traffic.observe(context).old:
        return reason
    return "there is nothing to go back to"


def run(context: Context) -> StageResult:
    """Watch for `rollout.watch`. Raises `HealthError`."""
    duration = context.app.rollout.watch
    context.job.log(f"watching the new version for {duration}")
    keep_watch(context, seconds(duration))
    return StageResult()


def keep_watch(context: Context, duration: float, check: Callable[[], None] = lambda: None) -> None:
    """Watch the new containers for so many seconds, and call `check` each time. It doesn't end
    on a bad answer, which may be chance or the first of many.

    Raises `HealthError`, what `check` raises, or the job's `Stopped`.
    """
    began = time.monotonic()
    watched = [
        _Watched(context, instance, instance.inspect(), began)
        for instance in context.found.instances.values()
    ]
    while True:
        for one in watched:
            one.look()
        check()
        left = began + duration - time.monotonic()
        if left <= 0 and not any(one.failures for one in watched):
            return
        context.job.cancel.wait(min(LOOK_SECONDS, max(left, ASK_AGAIN_SECONDS)))


@dataclass
class _Watched:
    """One verified container. `first` is its state when the watch began."""

    context: Context
    instance: Instance
    first: InstanceState
    began: float
    failures: int = 0
    next_ask: float = 0.0

    def look(self) -> None:
        """Raises `HealthError` when it works no more."""
        state = self.instance.inspect()
        if state.status != "running":
            raise _late(health_reasons.exited(self._tell(state)))
        if state.restarts != self.first.restarts:
            story = self._tell(state)
            raise _late(
                story.error("the container was restarted", "See its last lines in the log.")
            )
        if state.health == "unhealthy" and self.first.health != "unhealthy":
            raise _late(health_reasons.unhealthy(self._tell(state)))
        if time.monotonic() >= self.next_ask and (probe := self._probe()):
            self._ask(probe, state)

    def _probe(self) -> Probe | None:
        """That of the spec; the image's is asked by the engine."""
        health = self.context.app.health
        if health.http is None and health.tcp is None and health.command is None:
            return None
        return choose_probe(self.instance, health, self.first)

    def _ask(self, probe: Probe, state: InstanceState) -> None:
        answer = call_cancellable(self.context.job.cancel, functools.partial(probe.ask, state))
        self.failures = 0 if answer.kind == "ok" else self.failures + 1
        if self.failures >= MANY_FAILURES:
            what = f"{probe.name} {answer.said}"
            raise _late(self._tell(state).error(what, "Correct what it answers."))
        pause = ASK_AGAIN_SECONDS if self.failures else ASK_SECONDS
        self.next_ask = time.monotonic() + pause

    def _tell(self, state: InstanceState) -> Story:
        return Story(
            app=self.context.name,
            last=state,
            restarts=state.restarts - self.first.restarts,
            seconds=time.monotonic() - self.began,
            lines=self.instance.last_lines(LAST_LINES),
        )


def _late(error: HealthError) -> HealthError:
    """The same, said of a container that was healthy before."""
    what = f"healthy at first, then: {error.what}"
    return HealthError(what, todo=error.todo, app=error.app, detail=error.detail)
