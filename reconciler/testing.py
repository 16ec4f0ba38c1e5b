"""Fakes for tests, also for yours. Each passes the same behavioural suite as the real part.

runtime = FakeRuntime()
runtime.fail_start["shop/api"] = "port 8080/tcp of the host is taken by the container web"
runtime.unhealthy["shop/api"] = InstanceState("exited", exit_code=3)
"""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Collection
from dataclasses import dataclass

from reconciler.errors import DeployError, HealthError
from reconciler.host.job import Job
from reconciler.host.labels import LABEL_BUILD_HASH, LABEL_REVISION, LABEL_RUN_HASH
from reconciler.plan.states import Container, Observed
from reconciler.runtime.base import InstanceState, Replica, Task, TaskEnd, Workload

NEW, SERVING, ASIDE = "new", "serving", "aside"


@dataclass
class FakeContainer:
    """One container in memory. `role`: new (not verified), serving, or aside.

    `state` is created, running or exited, as an engine says it.
    """

    id: str
    workload: Workload
    created: int
    state: str = "created"
    role: str = NEW
    exit_code: int = 0

    @property
    def name(self) -> str:
        base = self.workload.app.replace("/", "-")
        suffix = {
            NEW: f"-{self.workload.deployment}",
            ASIDE: f"-previous-{self.workload.deployment}",
        }
        number = "" if self.workload.replica == 1 else f"-{self.workload.replica}"
        return base + suffix.get(self.role, "") + number


class FakeInstance:
    """A fake container, as a health check sees it: running, unless its app is `unhealthy`."""

    def __init__(self, runtime: FakeRuntime, container: FakeContainer) -> None:
        self._runtime = runtime
        self._container = container

    @property
    def id(self) -> str:
        return self._container.id

    def inspect(self) -> InstanceState:
        """Its state. Raises `HealthError` when it was removed."""
        app = self._container.workload.app
        if self.id not in self._runtime.containers:
            raise HealthError("the new container was removed by somebody else", app=app)
        found = self._runtime.unhealthy.get(app)
        return found or InstanceState(self._container.state, exit_code=self._container.exit_code)

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """Whatever listens there."""
        return socket.create_connection((address, port), timeout)

    def execute(self, argv: tuple[str, ...], timeout: float) -> tuple[int, str]:  # noqa: ARG002
        """`true` succeeds and everything else fails, as in an almost empty image."""
        return (0, "") if argv == ("true",) else (127, f"{argv[0]}: not found")

    def last_lines(self, count: int) -> list[str]:
        return self._runtime.output.get(self._container.workload.app, [])[-count:]

    def listening(self) -> tuple[tuple[str, int], ...]:
        return ()


class FakeRuntime:
    """A runtime in memory, for one process; its methods may be called from several threads.

    What goes wrong is set by app (`<project>/<name>`): `fail_create` and `fail_start` map to the
    reason of a `DeployError`, `unhealthy` to the state that every later inspection shows,
    `output` to the lines that its container wrote, `task_ends` to how its tasks end. `latency`
    is how many seconds each change takes, `stop_seconds` how long a container needs to stop.
    `changes` lists what was done to which container, such as `("start", "shop-api-k3x9")`; a pass
    without work adds nothing.
    """

    def __init__(self, *, latency: float = 0.0, stop_seconds: float = 0.0) -> None:
        self.latency = latency
        self.stop_seconds = stop_seconds
        self.containers: dict[str, FakeContainer] = {}
        self.fail_create: dict[str, str] = {}
        self.fail_start: dict[str, str] = {}
        self.unhealthy: dict[str, InstanceState] = {}
        self.output: dict[str, list[str]] = {}
        self.task_ends: dict[str, TaskEnd] = {}
        self.tasks: dict[tuple[str, str, str], TaskEnd] = {}
        self.changes: list[tuple[str, str]] = []
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)

    def observe(self, project: str) -> Observed:
        """What is there now; counts as one list call."""
        apps: dict[str, tuple[Container, ...]] = {}
        with self._lock:
            for container in self._newest_first():
                app = container.workload.app
                if container.workload.project == project:
                    apps[app] = (*apps.get(app, ()), _observed(container))
        return Observed(apps)

    def instance(self, app: str, container: str) -> FakeInstance:  # noqa: ARG002
        """One container, for a closer look."""
        return FakeInstance(self, self.containers[container])

    def deploy(self, workload: Workload, job: Job) -> FakeInstance:
        """Create, stop and set aside, start; a repeat goes on where it ended."""
        job.cancel.check()
        new = self._of(workload) or self._create(workload, job)
        if new.state != "running":
            self._make_way(workload, job)
            if reason := self.fail_start.get(workload.app):
                raise DeployError(reason, app=workload.app)
            self._change("start", new, job, state="running")
        return FakeInstance(self, new)

    def _create(self, workload: Workload, job: Job) -> FakeContainer:
        if reason := self.fail_create.get(workload.app):
            raise DeployError(reason, app=workload.app)
        with self._lock:
            number = next(self._numbers)
            new = FakeContainer(f"{number:064x}", workload, created=number)
            self.containers[new.id] = new
        self._change("create", new, job)
        return new

    def _make_way(self, workload: Workload, job: Job) -> None:
        if workload.beside:
            return
        others = [c for c in self._others(workload) if c.state != "created"]
        others = [c for c in others if c.workload.replica == workload.replica]
        old = min(others, key=lambda c: (c.state != "running", c.role != SERVING), default=None)
        if old is not None:
            old.role = ASIDE
        for container in others:
            if container.state == "running":
                job.cancel.wait(self.stop_seconds)
                self._change("stop", container, job, state="exited")

    def settle(self, workload: Workload, job: Job) -> None:
        """Remove every other container of the app."""
        new = [c for c in self._own(workload) if c.workload.replica <= workload.spec.replicas]
        if not new:
            raise DeployError("the new container is gone", app=workload.app)
        for container in self._newest_first():
            names = (workload.app, *workload.former)
            if container.workload.app in names and container not in new:
                self._remove(container, job)
        for container in new:
            container.role = SERVING

    def revert(self, workload: Workload, job: Job) -> bool:
        """Remove the new ones, start those that were set aside."""
        others = self._others(workload)
        new = [c for c in self._own(workload) if c.role != SERVING]
        for container in [*new, *(c for c in others if c.state == "created")]:
            self._remove(container, job)
        served = {c.workload.replica for c in others if c.role == SERVING}
        brought_back = 0
        for old in others:
            if old.role == ASIDE and old.workload.replica not in served:
                served.add(old.workload.replica)
                brought_back += 1
                old.state, old.role = "running", SERVING
                self.changes.append(("start", old.name))
        began = any(container.state != "created" for container in new)
        names = (workload.app, *workload.former)
        left = [c for c in self._newest_first() if c.workload.app in names]
        return bool(brought_back) or (began and any(c.state == "running" for c in left))

    def remove(self, app: str, job: Job, containers: Collection[str] | None = None) -> int:
        """Remove all containers of the app, or those of these ids."""
        doomed = [
            c for c in self._newest_first() if c.workload.app == app and _wanted(c, containers)
        ]
        for container in doomed:
            self._remove(container, job)
        return len(doomed)

    def running(self, app: str, former: Collection[str] = ()) -> tuple[Replica, ...]:
        """What runs of the app, also under its former names."""
        found = [
            Replica(c.id, c.workload.deployment, c.workload.replica, f"10.0.0.{c.created}")
            for c in self._newest_first()
            if c.workload.app in (app, *former) and c.state == "running"
        ]
        return tuple(sorted(found, key=lambda replica: replica.number))

    def run_task(self, workload: Workload, task: Task, job: Job) -> TaskEnd:
        """As `task_ends` says, at once; a repeat says the same and runs nothing."""
        key = (workload.app, workload.deployment, task.name)
        job.cancel.check()
        if key not in self.tasks:
            for line in self.output.get(workload.app, []):
                job.log(line)
            self.tasks[key] = self.task_ends.get(workload.app, TaskEnd(0))
            self.changes.append(("task", task.name))
        return self.tasks[key]

    def clear_tasks(self, app: str) -> None:
        """Forget what has run."""
        self.tasks = {key: end for key, end in self.tasks.items() if key[0] != app}

    # -- for tests ---------------------------------------------------------------------------

    def exit(self, container: str, code: int = 1) -> None:
        """The running container of this id ends by itself, and stays ended."""
        with self._lock:
            self.containers[container].state = "exited"
            self.containers[container].exit_code = code

    # -- within ------------------------------------------------------------------------------

    def _newest_first(self) -> list[FakeContainer]:
        with self._lock:
            return sorted(self.containers.values(), key=lambda c: -c.created)

    def _of(self, workload: Workload) -> FakeContainer | None:
        own = (c for c in self._own(workload) if c.workload.replica == workload.replica)
        return next(own, None)

    def _own(self, workload: Workload) -> list[FakeContainer]:
        names = (workload.app, *workload.former)
        own = [c for c in self._newest_first() if c.workload.app in names]
        return [c for c in own if c.workload.deployment == workload.deployment]

    def _others(self, workload: Workload) -> list[FakeContainer]:
        names = (workload.app, *workload.former)
        own = (c for c in self._newest_first() if c.workload.app in names)
        return [c for c in own if c.workload.deployment != workload.deployment]

    def _change(self, verb: str, container: FakeContainer, job: Job, *, state: str = "") -> None:
        if self.latency:
            job.cancel.wait(self.latency)
        job.cancel.check()
        with self._lock:
            container.state = state or container.state
            self.changes.append((verb, container.name))

    def _remove(self, container: FakeContainer, job: Job) -> None:
        job.log(f"removing {container.name}")
        with self._lock:
            self.containers.pop(container.id, None)
            self.changes.append(("remove", container.name))


def _wanted(container: FakeContainer, ids: Collection[str] | None) -> bool:
    return ids is None or container.id in ids


def _observed(container: FakeContainer) -> Container:
    workload = container.workload
    return Container(
        app=workload.app,
        id=container.id,
        name=container.name,
        deployment=workload.deployment,
        state=container.state,
        image_id=workload.image_id,
        build_hash=workload.labels.get(LABEL_BUILD_HASH, ""),
        run_hash=workload.labels.get(LABEL_RUN_HASH, ""),
        revision=workload.labels.get(LABEL_REVISION, ""),
        exit_code=container.exit_code if container.state == "exited" else None,
        status=container.state,
        created=container.created,
        replica=workload.replica,
        host=workload.host,
    )
