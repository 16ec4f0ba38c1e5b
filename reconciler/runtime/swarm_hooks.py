"""Tasks of hooks: a command that runs once, as a service that starts nothing again.

It is made once for a deployment and stays until `clear_tasks`, so that whoever comes after a crash
finds it by its name. One that is cancelled or takes too long is removed at once.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from reconciler.errors import DeployError, HandedOver, HookError, Stopped
from reconciler.host.job import Cancellation, Job
from reconciler.runtime.background import Background
from reconciler.runtime.base import Task, TaskEnd, Workload
from reconciler.runtime.docker_api import Refused, refusals
from reconciler.runtime.docker_tasks import Output
from reconciler.runtime.swarm_api import SwarmApi
from reconciler.runtime.swarm_checks import check_image
from reconciler.runtime.swarm_crew import Service, SwarmTask
from reconciler.runtime.swarm_look import Watch, await_end, look
from reconciler.runtime.swarm_means import SwarmMeans
from reconciler.runtime.swarm_reasons import why_failed
from reconciler.runtime.swarm_spec import make_task_service

LEAST_SECONDS = 1.0
"""What one that is found after its time still gets: it may have ended meanwhile."""
QUIET_SECONDS = 0.5
"""Nothing more comes after its end when it was quiet for so long."""
DRAIN_SECONDS = 5.0


class SwarmHooks:
    """Runs them."""

    def __init__(self, api: SwarmApi, means: SwarmMeans) -> None:
        self._api = api
        self._means = means

    def run(self, workload: Workload, task: Task, job: Job) -> TaskEnd:
        """Run it to its end, or find how it ended. See `Runtime.run_task`."""
        job.cancel.check()
        with refusals(workload.app):
            service = self._find_or_create(workload, task, job)
            try:
                return self._await(service, workload, task, job)
            except HandedOver:
                raise  # it goes on, and whoever takes over finds it
            except (HookError, DeployError, Refused, Stopped):
                self._api.remove_service(service.id)
                await_end(self._api, service)
                raise

    def _find_or_create(self, workload: Workload, task: Task, job: Job) -> Service:
        spec = make_task_service(workload, task, self._means.ensure(workload, job))
        found = look(self._api, spec["Name"])
        if found is not None:
            job.log("it has begun before; its output from the beginning:")
            return found
        check_image(self._api, workload)
        try:
            self._api.create_service(spec, workload.auth)
        except Refused as error:  # made in this moment, for a process that died
            if not error.is_conflict:
                raise
        made = look(self._api, spec["Name"])
        if made is None:
            raise DeployError(
                f"{task.title} was removed by somebody else",
                app=workload.app,
                todo="Deploy it again.",
            )
        return made

    def _await(self, service: Service, workload: Workload, task: Task, job: Job) -> TaskEnd:
        stream = _Stream(self._api, service.id, job)
        try:
            ended = self._await_task(service, workload, task, job)
            stream.drain()
        finally:
            stream.close()
        return TaskEnd(ended.exit_code or 0, stream.output.last)

    def _await_task(self, service: Service, workload: Workload, task: Task, job: Job) -> SwarmTask:
        watch = Watch(self._api, service.id, job)
        deadline: float | None = None
        while True:
            now = watch.look()
            newest = now.newest[0] if now and now.newest else None
            if now is None or (newest and newest.state in ("orphaned", "shutdown", "remove")):
                raise HookError(
                    f"{task.title} was ended from outside",
                    app=job.app,
                    todo="See whether its node is up; then deploy again.",
                )
            if newest and newest.state == "complete":
                return newest
            if newest and newest.broke:
                return self._judge(now, newest, workload)
            deadline = deadline or time.monotonic() + self._left(newest, task)
            if time.monotonic() > deadline:
                raise _too_long(task, newest, job.app)

    def _judge(self, service: Service, ended: SwarmTask, workload: Workload) -> SwarmTask:
        """One that ran and failed; raises `DeployError` when it never could run."""
        reason = why_failed(service, ended, workload)
        if reason.never_ran:
            raise DeployError(reason.what, app=workload.app, todo=reason.todo)
        return ended

    def _left(self, newest: SwarmTask | None, task: Task) -> float:
        """Of its time; it may have begun before this process."""
        elapsed = max(time.time() - newest.at, 0) if newest and newest.runs else 0
        return max(task.timeout - elapsed, LEAST_SECONDS)


class _Stream:
    """What the task writes, into the log. `output.last`: its last line."""

    def __init__(self, api: SwarmApi, service: str, job: Job) -> None:
        self.output = Output(job.log)
        self._last = time.monotonic()
        self._end: Callable[[], None] | None = None
        follow = functools.partial(api.follow_service, service, self._take, self._opened)
        self._following = Background(follow)

    def _opened(self, end: Callable[[], None]) -> None:
        self._end = end

    def _take(self, piece: bytes) -> None:
        self._last = time.monotonic()
        self.output.take(piece)

    def drain(self) -> None:
        """Until it is quiet, for a moment at most."""
        self._last = began = time.monotonic()
        while True:
            left = min(self._last + QUIET_SECONDS, began + DRAIN_SECONDS) - time.monotonic()
            if left <= 0:
                return
            time.sleep(left)

    def close(self) -> None:
        """No more."""
        if self._end is not None:
            self._end()
        self._following.wait(Cancellation(), DRAIN_SECONDS)
        self.output.end()


def _too_long(task: Task, newest: SwarmTask | None, app: str) -> HookError:
    why = f" ({newest.error})" if newest and newest.error else ""
    return HookError(
        f"{task.title} did not end within {task.timeout:g} s{why}",
        app=app,
        todo="Find out in its log what it waits for, or raise the hook's timeout.",
    )
