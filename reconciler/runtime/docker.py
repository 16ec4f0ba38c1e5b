"""The runtime `docker`: containers on one engine.

A pass without work only observes; what changes containers is in `docker_swap`, and imported when
there is something to change.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.host.container import own_container
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.host.labels import LABEL_APP
from reconciler.plan.states import Observed
from reconciler.runtime.base import Instance, Replica, Task, TaskEnd, Workload
from reconciler.runtime.docker_api import DockerApi, refusals
from reconciler.runtime.docker_observe import observe, parse_replicas
from reconciler.spec.hosts import LOCAL

if TYPE_CHECKING:
    from reconciler.runtime.docker_swap import DockerSwap
    from reconciler.runtime.docker_tasks import DockerTasks


class DockerRuntime:
    """The runtime `docker`. `state_dir` holds the locks between processes.

    `own`: id of the container that this process runs in, empty outside of one. `host`: the name
    of the engine's host.
    """

    def __init__(
        self, engine: Engine, state_dir: Path, own: str | None = None, host: str = LOCAL
    ) -> None:
        self._host = host
        self._api = DockerApi(engine)
        self._locks = state_dir / "locks"
        self._own = own

    @functools.cached_property
    def _swap(self) -> DockerSwap:
        from reconciler.runtime.docker_swap import DockerSwap

        own = self._own
        if own is None:
            own = own_container() if self._host == LOCAL else ""
        return DockerSwap(self._api, self._locks, own)

    @functools.cached_property
    def _tasks(self) -> DockerTasks:
        from reconciler.runtime.docker_tasks import DockerTasks

        return DockerTasks(self._api, self._locks)

    def observe(self, project: str) -> Observed:
        """One GET. Raises `EngineUnavailable`."""
        with refusals(project):
            return observe(self._api, project, self._host)

    def instance(self, app: str, container: str) -> Instance:
        """One container, for a closer look."""
        from reconciler.runtime.docker_instance import DockerInstance

        return DockerInstance(self._api, app, container)

    def deploy(self, workload: Workload, job: Job) -> Instance:
        """Start the new container, the old one set aside. See `docker_swap`."""
        return self._swap.deploy(workload, job)

    def settle(self, workload: Workload, job: Job) -> None:
        """Remove everything but the workload's container."""
        self._swap.settle(workload, job)

    def revert(self, workload: Workload, job: Job) -> bool:
        """Remove the new container; whether the old one was stopped and serves again."""
        return self._swap.revert(workload, job)

    def remove(self, app: str, job: Job, containers: Collection[str] | None = None) -> int:
        """Stop and remove the app's containers, or those of these ids; how many."""
        return self._swap.remove(app, job, containers)

    def running(self, app: str, former: Collection[str] = ()) -> tuple[Replica, ...]:
        """What runs of the app, with one call for each name. Raises `EngineUnavailable`."""
        with refusals(app):
            names = (app, *former)
            lists = [self._api.list_running(f"{LABEL_APP}={name}") for name in names]
        return parse_replicas(itertools.chain.from_iterable(lists), self._host)

    def run_task(self, workload: Workload, task: Task, job: Job) -> TaskEnd:
        """Run a command once in a container of its own. See `docker_tasks`."""
        return self._tasks.run(workload, task, job)

    def clear_tasks(self, app: str) -> None:
        """Remove the containers of the app's tasks. Raises `EngineUnavailable`."""
        with refusals(app):
            self._tasks.clear(app)
