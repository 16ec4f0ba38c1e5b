"""The runtime `swarm`: a service for each app, asked of and told to a manager of the Swarm.

A pass without work only observes; what changes services is imported when there is something to
change.

    swarm_api       the manager's calls          swarm_deploy    create, update, go back, remove
    swarm_names     names, labels, ids           swarm_checks    what is refused before that
    swarm_spec      from a workload to a spec    swarm_means     networks and secrets
    swarm_drift     what was changed by hand     swarm_instance  whether all of it works
    swarm_crew      a service and its tasks      swarm_reasons   and why not
    swarm_observe   …as the plan sees them       swarm_hooks     commands that run once
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.host.engine import Engine
from reconciler.host.job import Cancellation, Job
from reconciler.host.labels import LABEL_APP, LABEL_PROJECT
from reconciler.plan.states import Observed
from reconciler.runtime.background import Background
from reconciler.runtime.base import Instance, Replica, Task, TaskEnd, Workload
from reconciler.runtime.docker_api import Document, refusals
from reconciler.runtime.swarm_api import SwarmApi
from reconciler.runtime.swarm_crew import Service, parse_services
from reconciler.runtime.swarm_observe import parse_observed, parse_replicas
from reconciler.spec.hosts import LOCAL

if TYPE_CHECKING:
    from reconciler.runtime.swarm_deploy import SwarmDeploy
    from reconciler.runtime.swarm_hooks import SwarmHooks


class SwarmRuntime:
    """The runtime `swarm` at one manager. `state_dir` holds locks and the key of the secrets'
    names, `host` is the manager's name in the spec."""

    def __init__(self, engine: Engine, state_dir: Path, host: str = LOCAL) -> None:
        self._api = SwarmApi(engine)
        self._state_dir = state_dir
        self._host = host

    @functools.cached_property
    def _deploy(self) -> SwarmDeploy:
        from reconciler.runtime.swarm_deploy import SwarmDeploy

        return SwarmDeploy(self._api, self._state_dir)

    @functools.cached_property
    def _hooks(self) -> SwarmHooks:
        from reconciler.runtime.swarm_hooks import SwarmHooks
        from reconciler.runtime.swarm_means import SwarmMeans

        return SwarmHooks(self._api, SwarmMeans(self._api, self._state_dir))

    def observe(self, project: str) -> Observed:
        """Three calls, side by side. Raises `EngineUnavailable`."""
        with refusals(project):
            return parse_observed(self._services(f"{LABEL_PROJECT}={project}"), self._host)

    def instance(self, app: str, container: str) -> Instance:
        """What an id of `observe` stands for."""
        from reconciler.runtime.swarm_instance import SwarmInstance

        return SwarmInstance(self._api, app, container)

    def deploy(self, workload: Workload, job: Job) -> Instance:
        """Create or update the service, until its first task has started. See `swarm_deploy`."""
        return self._deploy.deploy(workload, job)

    def settle(self, workload: Workload, job: Job) -> None:
        """What ran before plays no part any more."""
        self._deploy.settle(workload, job)

    def revert(self, workload: Workload, job: Job) -> bool:
        """Back to what ran before; whether that serves again."""
        return self._deploy.revert(workload, job)

    def remove(self, app: str, job: Job, containers: Collection[str] | None = None) -> int:
        """Remove the app's services, or those of these ids; how many."""
        return self._deploy.remove(app, job, containers)

    def running(self, app: str, former: Collection[str] = ()) -> tuple[Replica, ...]:
        """The deployments of which tasks run. Raises `EngineUnavailable`."""
        with refusals(app):
            found = [
                replica
                for name in (app, *former)
                for replica in parse_replicas(self._services(f"{LABEL_APP}={name}"), self._host)
            ]
        return tuple(found)

    def run_task(self, workload: Workload, task: Task, job: Job) -> TaskEnd:
        """Run a command once, as a service of its own. See `swarm_hooks`."""
        return self._hooks.run(workload, task, job)

    def clear_tasks(self, app: str) -> None:
        """Remove the services of the app's tasks. Raises `EngineUnavailable`."""
        self._deploy.clear_tasks(app)

    def _services(self, label: str) -> list[Service]:
        services, tasks, nodes = _side_by_side(
            lambda: self._api.services(label), lambda: self._api.tasks(label), self._api.nodes
        )
        return parse_services(services, tasks, nodes)


def _side_by_side(*calls: Callable[[], Sequence[Document]]) -> list[Any]:
    """What they answer; the first is made here."""
    first, *others = calls
    backgrounds = [Background(call) for call in others]
    answers = [first()]
    for background in backgrounds:
        background.wait(Cancellation())
        answers.append(background.result())
    return answers
