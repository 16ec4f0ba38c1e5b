"""The tasks of one deployment of a service, as the health check sees them together.

Its own word for healthy is `verify`: the update has ended well, and every task that there shall be
runs on a node that is there. An update that was merely accepted is nothing yet, and one that the
Swarm has taken back by itself is a failure with the reason of the task that broke.
"""

from __future__ import annotations

import functools
import socket
import time
from dataclasses import dataclass, field

from reconciler.errors import EngineUnavailable, HealthError
from reconciler.host.job import Job
from reconciler.runtime.background import call_cancellable
from reconciler.runtime.base import InstanceState, Workload
from reconciler.runtime.docker_api import Refused
from reconciler.runtime.docker_instance import NOT_RUNNABLE, clean_lines
from reconciler.runtime.swarm_api import SwarmApi
from reconciler.runtime.swarm_crew import CRASH_LOOP, UNDERWAY, Service, SwarmTask
from reconciler.runtime.swarm_look import Watch, look
from reconciler.runtime.swarm_names import deployment_of, service_of
from reconciler.runtime.swarm_observe import describe, judge_state
from reconciler.runtime.swarm_probe import ask_outside
from reconciler.runtime.swarm_reasons import Reason, is_unplaced, why_failed, why_waiting
from reconciler.runtime.swarm_spec import asked_outside, swarm_of
from reconciler.spec.models import Health
from reconciler.spec.scalars import seconds, share

LAST_LINES = 10
SLACK_SECONDS = 10.0
STUCK_SECONDS = 3.0
"""So long, tasks for which there is no node, or that nobody starts again, may be just a moment."""
_SHOWN_TASKS = 3


class SwarmInstance:
    """What `id` (of `swarm_names.identify`) stands for. `workload`: where it was just deployed."""

    def __init__(
        self,
        api: SwarmApi,
        app: str,
        id: str,  # noqa: A002 - as in `Instance`
        workload: Workload | None = None,
    ) -> None:
        self._api = api
        self._app = app
        self._workload = workload
        self.id = id

    @property
    def deployment(self) -> str:
        return deployment_of(self.id)

    def inspect(self) -> InstanceState:
        """Of all its tasks together. Raises `HealthError` when the service is gone."""
        service = self._look()
        status, code = judge_state(service, self.deployment)
        failures = service.failures(self.deployment)
        return InstanceState(
            status,
            restarts=len(failures),
            exit_code=code or 0,
            error=failures[0].error if failures and status != "running" else "",
        )

    def _look(self) -> Service:
        service = look(self._api, service_of(self.id))
        if service is None:
            raise gone(self._app)
        return service

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """A connection to a place that a manager knows. Raises `OSError`."""
        return self._api.engine.dial(address, port, timeout)

    def execute(self, argv: tuple[str, ...], timeout: float) -> tuple[int, str]:  # noqa: ARG002
        """A manager can't run anything in a task."""
        return NOT_RUNNABLE, f"{argv[0]} can't be run in the tasks of a service"

    def last_lines(self, count: int) -> list[str]:
        """Of its newest tasks; one line in brackets where they can't be read."""
        try:
            tasks = self._look().of(self.deployment)[:_SHOWN_TASKS]
            lines = [line for task in reversed(tasks) for line in self._task_lines(task, count)]
            return lines[-count:]
        except (HealthError, EngineUnavailable) as error:
            return [f"(its output can't be read: {error})"]

    def _task_lines(self, task: SwarmTask, count: int) -> list[str]:
        try:
            return clean_lines(self._api.task_log(task.id, count))
        except (Refused, EngineUnavailable) as error:
            return [f"(the output of task {task.id[:12]} can't be read: {error})"]

    def listening(self) -> tuple[tuple[str, int], ...]:
        """Nothing of the tasks' network can be seen from a manager."""
        return ()

    def verify(self, health: Health, job: Job) -> str:
        """Wait until all of it works, and return how that was seen. See `base.SelfChecking`."""
        if self._workload is None:
            raise HealthError("it isn't known what shall run", app=self._app, todo="Deploy again.")
        return _Verification(self, self._api, self._workload, health, job).run()

    def error(self, service: Service, task: SwarmTask, workload: Workload) -> HealthError:
        """Why a task broke, with its last lines."""
        return self._error(why_failed(service, task, workload), task)

    def _error(self, reason: Reason, task: SwarmTask | None) -> HealthError:
        lines = [] if task is None or reason.never_ran else self._task_lines(task, LAST_LINES)
        return HealthError(reason.what, app=self._app, todo=reason.todo, detail="\n".join(lines))

    def waiting(self, service: Service) -> HealthError:
        """Why not all tasks run, with the last lines of one that was at it."""
        reason = why_waiting(service, self.deployment)
        own = service.of(self.deployment)
        return self._error(reason, own[0] if own else None)


def gone(app: str) -> HealthError:
    """The error for a service that isn't there any more."""
    todo = "Find out who did that, and deploy it again."
    return HealthError("the service was removed by somebody else", app=app, todo=todo)


@dataclass
class _Verification:
    """One wait. `seen`: since when tasks are known to run; `answered`: those that were asked from
    outside and did well."""

    instance: SwarmInstance
    api: SwarmApi
    workload: Workload
    health: Health
    job: Job
    seen: dict[str, float] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    refused: str = ""
    said: str = ""
    progress: float = field(default_factory=time.monotonic)
    stuck: float | None = None

    def run(self) -> str:
        watch = Watch(self.api, service_of(self.instance.id), self.job)
        while True:
            service = watch.look()
            if service is None:
                raise gone(self.job.app)
            self._note(service)
            self._check(service)
            if self._is_done(service):
                tasks = len(service.serving(self.deployment))
                nodes = {task.node for task in service.serving(self.deployment)}
                on = f"{len(nodes)} node" + ("s" if len(nodes) > 1 else "")
                return f"{tasks} of {tasks} tasks run on {on} after {watch.elapsed:.1f} s"
            self._check_time(service)

    @property
    def deployment(self) -> str:
        return self.instance.deployment

    def _note(self, service: Service) -> None:
        """What is new: tasks that run, and a line for the log when there is something to say."""
        running = {task.id for task in service.serving(self.deployment)}
        now = time.monotonic()
        if running - self.seen.keys():
            self.progress = now
        self.seen = {task: self.seen.get(task, now) for task in running}
        said = describe(service, self.deployment)
        if said != self.said:
            self.said = said
            self.job.log(said)

    def _check(self, service: Service) -> None:
        """Raises `HealthError` when it can't come to a good end any more."""
        failures = service.failures(self.deployment)
        if service.deployment != self.deployment:
            if failures and service.update.startswith("rollback"):
                raise self._failure(service, failures[0])
            raise HealthError(
                "the service was taken back to another deployment",
                app=self.job.app,
                todo="Find out who did that (docker service ps --no-trunc), and deploy again.",
                detail=service.update_message,
            )
        tolerated = share(swarm_of(self.workload.spec).max_failure_ratio)
        most = max(CRASH_LOOP - 1, tolerated * service.count(self.deployment))
        if failures and (service.update == "paused" or len(failures) > most):
            raise self._failure(service, failures[0])
        if service.update in ("paused", "rollback_paused"):
            raise self._wait_error(service)

    def _is_done(self, service: Service) -> bool:
        serving = service.serving(self.deployment)
        wanted = [task for task in service.tasks if task.wanted]
        if service.update in UNDERWAY or not serving:
            return False
        if len(serving) != service.count(self.deployment) or len(wanted) != len(serving):
            return False
        if asked_outside(self.workload.spec):
            return self._ask(service, serving)
        own_check = self.health.http or self.health.tcp or self.health.command
        if own_check or service.update == "completed":
            return True  # the Swarm has waited for it, or has watched it
        return min(self.seen.values()) + seconds(self.health.stable) <= time.monotonic()

    def _ask(self, service: Service, serving: list[SwarmTask]) -> bool:
        """Whether each of them has answered, at the address of its node."""
        port = asked_outside(self.workload.spec)
        for task in serving:
            if task.id in self.answered:
                continue
            node = service.nodes[task.node]
            dial = functools.partial(self.api.engine.dial, node.address, port)
            ask = functools.partial(ask_outside, dial, f":{port}", self.health)
            refusal = call_cancellable(self.job.cancel, ask)
            if refusal:
                self.refused = f"{refusal} (on {node.name})"
                return False
            self.answered.add(task.id)
            self.progress = time.monotonic()
        return True

    def _check_time(self, service: Service) -> None:
        """Each task that begins to run gives the next one its time."""
        now = time.monotonic()
        self.stuck = (self.stuck or now) if self._is_stuck(service) else None
        if self.stuck and now > self.stuck + STUCK_SECONDS:
            failures = service.failures(self.deployment)
            raise self._failure(service, failures[0]) if failures else self._wait_error(service)
        if self.refused and len(self.seen) == service.count(self.deployment):
            if now > self.progress + seconds(self.health.timeout):
                what = f"not healthy within {self.health.timeout}: {self.refused}"
                todo = "Correct the port or path in `health`, or what the app answers."
                raise HealthError(what, app=self.job.app, todo=todo)
        elif now > self.progress + self._allowance():
            raise self._wait_error(service)

    def _is_stuck(self, service: Service) -> bool:
        """The Swarm does nothing that would help."""
        coming = any(task.coming for task in service.of(self.deployment))
        missing = len(service.serving(self.deployment)) < service.count(self.deployment)
        idle = missing and not coming and service.update not in UNDERWAY
        return idle or is_unplaced(service, self.deployment)

    def _failure(self, service: Service, task: SwarmTask) -> HealthError:
        return self.instance.error(service, task, self.workload)

    def _wait_error(self, service: Service) -> HealthError:
        return self.instance.waiting(service)

    def _allowance(self) -> float:
        """From one sign of progress to the next."""
        swarm, app = swarm_of(self.workload.spec), self.workload.spec
        pauses = (self.health.timeout, swarm.delay, swarm.monitor, app.stop_grace_period)
        return sum(map(seconds, pauses)) + SLACK_SECONDS
