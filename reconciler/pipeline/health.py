"""Stage `health`: the new container works, or the reason why not.

What is asked, in this order: `http`, `tcp` or `command` of the spec; the image's HEALTHCHECK,
whose command is run at once rather than after the engine's first interval; without any of them,
whether it keeps running. Beside it the container's state is watched, so that one that ends is
noticed at once. The engine's restarts are allowed for (a database may not be up yet), up to the
third.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field, replace

from reconciler.errors import HealthError
from reconciler.host.job import Job
from reconciler.pipeline import deploy, health_reasons
from reconciler.pipeline.context import Context
from reconciler.pipeline.health_reasons import Story
from reconciler.pipeline.probes import Answer, CommandProbe, HttpProbe, Probe, TcpProbe
from reconciler.queue import StageResult
from reconciler.runtime.background import Background
from reconciler.runtime.base import Instance, InstanceState, SelfChecking
from reconciler.spec.models import Health
from reconciler.spec.scalars import seconds

FIRST_PAUSE_SECONDS = 0.01
PAUSE_FACTOR = 1.5
LONGEST_PAUSE_SECONDS = 1.0
LOOK_SECONDS = 0.1
CRASH_LOOP_RESTARTS = 3
LAST_LINES = 10
HANGING_SECONDS = 1.0
SIGKILLED = 137


def skip(context: Context) -> str:
    """Nothing was deployed, nothing to verify."""
    return deploy.skip(context)


def run(context: Context) -> StageResult:
    """Wait until it works. Raises `HealthError`."""
    instance = next(iter(context.found.instances.values()), None)
    if instance is None:
        raise HealthError("there is no container to check", app=context.name, todo="Deploy again.")
    verified = check_health(instance, context.app.health, context.job)
    context.job.log(f"healthy: {verified}")
    return StageResult(data={"verified": verified})


def check_health(instance: Instance, health: Health, job: Job) -> str:
    """Wait until it works, and return how that was seen.

    Such as `GET :8000/healthz answered 200 after 0.04 s, 3 probes`. Raises `HealthError` with
    the reason and the container's last lines, `EngineUnavailable`, or the job's `Stopped`.
    """
    if isinstance(instance, SelfChecking):
        return instance.verify(health, job)
    watch = _Watch(instance, job)
    state = watch.look()
    probe = choose_probe(instance, health, state)
    if probe is None:
        return _wait_stable(watch, health)
    return _wait_for_answer(watch, probe, health)


def choose_probe(instance: Instance, health: Health, state: InstanceState) -> Probe | None:
    """What is asked; None where there is no check."""
    if health.http is not None:
        return HttpProbe(instance, health.http)
    if health.tcp is not None:
        return TcpProbe(instance, health.tcp)
    if health.command is not None:
        return CommandProbe(instance, health.command, f"the command {health.command[0]}")
    if state.health_command:
        return CommandProbe(instance, state.health_command, "the image's HEALTHCHECK")
    return None


def _wait_for_answer(watch: _Watch, probe: Probe, health: Health) -> str:
    limit, stable = seconds(health.timeout), seconds(health.stable)
    by_image = health.http is None and health.tcp is None and health.command is None
    answer = Answer("failed", "was not asked yet")
    pause, asked = FIRST_PAUSE_SECONDS, 0
    while watch.elapsed < limit:
        watch.rest(min(pause, limit - watch.elapsed))
        pause = min(pause * PAUSE_FACTOR, LONGEST_PAUSE_SECONDS)
        if by_image and watch.state.health == "healthy" and watch.confirm(stable):
            return f"{probe.name} said healthy after {watch.elapsed:.2f} s"
        if by_image and watch.state.health == "unhealthy":
            raise health_reasons.unhealthy(watch.tell(watch.state))
        if watch.state.status != "running":
            continue
        asked += 1
        answer = watch.ask(probe, limit, answer if asked > 1 else None)
        if answer.kind == "ok" and watch.confirm(stable):
            count = "1 probe" if asked == 1 else f"{asked} probes"
            return f"{probe.name} {answer.said} after {watch.elapsed:.2f} s, {count}"
    listening = watch.instance.listening() if answer.kind == "refused" else ()
    raise health_reasons.timed_out(watch.tell(), health.timeout, probe, answer, listening)


def _wait_stable(watch: _Watch, health: Health) -> str:
    """It has to run for `stable` without a restart; each restart begins anew."""
    stable, limit = seconds(health.stable), seconds(health.timeout)
    while watch.uptime < stable or watch.state.status != "running":
        watch.rest(min(LOOK_SECONDS, max(stable - watch.uptime, FIRST_PAUSE_SECONDS)))
        watch.look()
        if watch.elapsed > limit + stable:
            raise health_reasons.never_stable(watch.tell(watch.state), health.stable)
    return f"ran for {health.stable} without a restart"


@dataclass
class _Watch:
    """A container's state over time. Times are monotonic seconds.

    `ended` is the last state that was seen of an ended process, before the engine started it
    anew and forgot. `since` is when the process that runs now was first seen.
    """

    instance: Instance
    job: Job
    began: float = field(default_factory=time.monotonic)
    state: InstanceState = field(default_factory=lambda: InstanceState("unknown"))
    ended: InstanceState | None = None
    out_of_memory: bool = False
    first_restarts: int | None = None
    restarts: int = 0
    since: float = 0.0
    looked: float = 0.0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    @property
    def uptime(self) -> float:
        return time.monotonic() - self.since

    def look(self) -> InstanceState:
        """Its state now. Raises `HealthError` when it ended for good, or does so in a loop."""
        state = self.instance.inspect()
        self.looked = time.monotonic()
        if self.first_restarts is None:
            self.first_restarts, self.since = state.restarts, self.looked
        restarts = state.restarts - self.first_restarts
        if restarts != self.restarts or state.status != "running":
            self.restarts, self.since = restarts, self.looked
        if state.status == "restarting":
            self.ended = state
        self.state = state
        self.out_of_memory = self.out_of_memory or state.oom_killed
        if state.status in ("exited", "dead", "created", "removing"):
            raise health_reasons.exited(self.tell(self._finish(state)))
        if restarts >= CRASH_LOOP_RESTARTS:
            raise health_reasons.crash_loop(self.tell(self._finish(self.ended or state)))
        return state

    def _finish(self, state: InstanceState) -> InstanceState:
        """The engine hears that memory ran out a moment after the end, and forgets it later."""
        if state.exit_code == SIGKILLED and state.memory_limit and not self.out_of_memory:
            self.job.cancel.wait(LOOK_SECONDS)
            self.out_of_memory = self.instance.inspect().oom_killed
        return replace(state, oom_killed=self.out_of_memory)

    def rest(self, duration: float) -> None:
        """Wait, looking from time to time. Raises what `look` does, and the job's `Stopped`."""
        until = time.monotonic() + duration
        while True:
            now = time.monotonic()
            next_look = max(self.looked + LOOK_SECONDS, now)
            self.job.cancel.wait(min(until, next_look) - now)
            if next_look > until:
                return
            self.look()

    def ask(self, probe: Probe, limit: float, last: Answer | None) -> Answer:
        """One probe, in a thread of its own so that the container can be watched meanwhile.

        One that the end of the time cuts off says less than the `last` answer, unless it hung.
        """
        began = self.elapsed
        question = Background(functools.partial(probe.ask, self.state))
        while not question.wait(self.job.cancel, LOOK_SECONDS):
            self.look()
            if self.elapsed > limit:
                if last is None or self.elapsed - began > HANGING_SECONDS:
                    return Answer("failed", "did not answer in time")
                return last
        return question.result()

    def confirm(self, stable: float) -> bool:
        """Whether a good answer came from the process that runs now and will last.

        One that was restarted before has to run for `stable` seconds first.
        """
        before = self.restarts
        state = self.look()
        lasts = self.restarts == 0 or self.uptime >= stable
        return state.status == "running" and self.restarts == before and lasts

    def tell(self, last: InstanceState | None = None) -> Story:
        """For the reason; reads the container's last lines."""
        return Story(
            app=self.job.app,
            last=last or self.ended or self.state,
            restarts=self.restarts,
            seconds=self.elapsed,
            lines=self.instance.last_lines(LAST_LINES),
        )
