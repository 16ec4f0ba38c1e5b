"""What changes services. Each step looks at what is there, so a crash behind any of them is safe:

    1  networks and secrets are made     the service is as it was
    2  the service is created, or its    from here on the Swarm replaces the tasks by itself, and
       spec updated: one call            goes back by itself when they break (failure_action)
       (health check: all of it runs)
    3  settle: a label                   the spec before plays no part any more
    4  the secrets of before go          done

A service whose spec has the deployment's label is at step 2, whoever wrote it, and isn't written
again. `revert` asks for the previous spec, or, when the Swarm has gone back already, waits for
that; a label then says that it was done. A first deployment is taken back by removing the service.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.errors import DeployError
from reconciler.host.job import Cancellation, Job
from reconciler.host.labels import LABEL_APP, LABEL_TASK
from reconciler.host.refusals import disk_full, is_disk_full
from reconciler.runtime.base import Workload
from reconciler.runtime.docker_api import Refused, refusals
from reconciler.runtime.swarm_api import SwarmApi
from reconciler.runtime.swarm_checks import check_image, check_owner, check_ports, check_room
from reconciler.runtime.swarm_crew import Service, labels_of
from reconciler.runtime.swarm_drift import describe_drift, fingerprint
from reconciler.runtime.swarm_instance import STUCK_SECONDS, SwarmInstance
from reconciler.runtime.swarm_look import Watch, await_end, look
from reconciler.runtime.swarm_means import SwarmMeans
from reconciler.runtime.swarm_names import (
    LABEL_REVERTED,
    LABEL_SETTLED,
    LABEL_SPEC,
    identify,
    service_name,
)
from reconciler.runtime.swarm_observe import judge_state, parse_containers
from reconciler.runtime.swarm_reasons import is_unplaced, why_failed, why_waiting
from reconciler.runtime.swarm_spec import make_service

STARTING_SECONDS = 1.0
"""A task that is starting for so long has a process, and its health check is waited for."""
BACK_SECONDS = 120.0
"""Without any progress, while the old tasks come back."""
_MOST_CONFLICTS = 20


class SwarmDeploy:
    """What `SwarmRuntime` does to services."""

    def __init__(self, api: SwarmApi, state_dir: Path) -> None:
        self._api = api
        self._means = SwarmMeans(api, state_dir)

    # -- deploy ------------------------------------------------------------------------------

    def deploy(self, workload: Workload, job: Job) -> SwarmInstance:
        """Steps 1 and 2, until the first new task has started."""
        job.cancel.check()
        with _explained(workload):
            service = look(self._api, service_name(workload.app))
            check_owner(service.document if service else None, workload)
            if service is None or not _is_on_its_way(service, workload):
                self._write(service, workload, job)
            return self._await_start(workload, job)

    def _write(self, service: Service | None, workload: Workload, job: Job) -> None:
        self._check(service, workload)
        means = self._means.ensure(workload, job)
        for _ in range(_MOST_CONFLICTS):
            job.cancel.check()
            dead = service is not None and _is_dead(service, workload.deployment)
            spec = make_service(workload, means, _force(service) + dead)
            spec["Labels"] = {**spec["Labels"], LABEL_SPEC: fingerprint(spec)}
            if service is None:
                return self._create(spec, workload, job)
            if not dead and _is_as_written(service, spec, workload):
                return None
            job.log(f"updating the service {service.name}")
            if self._api.update_service(service.document, spec, workload.auth):
                return None
            service = look(self._api, service_name(workload.app))
        raise DeployError(
            "somebody else keeps changing the service", app=workload.app, todo="Deploy it again."
        )

    def _create(self, spec: dict[str, Any], workload: Workload, job: Job) -> None:
        job.log(f"creating the service {spec['Name']}")
        try:
            self._api.create_service(spec, workload.auth)
        except Refused as error:
            made = look(self._api, spec["Name"]) if error.is_conflict else None
            if made is None or made.deployment != workload.deployment:
                raise

    def _check(self, service: Service | None, workload: Workload) -> None:
        """Everything that can be refused before anything is changed."""
        check_image(self._api, workload)
        self._means.check(workload)
        if workload.spec.ports:
            check_ports(self._api.all_services(), workload)
            replaces = service is not None and service.deployment != workload.deployment
            check_room(self._api.nodes(), workload, exists=replaces)

    def _await_start(self, workload: Workload, job: Job) -> SwarmInstance:
        watch = Watch(self._api, service_name(workload.app), job)
        first: dict[str, float] = {}
        while True:
            service = watch.look()
            if service is None:
                raise DeployError(
                    "the service was removed by somebody else",
                    app=workload.app,
                    todo="Find out who did that, and deploy it again.",
                )
            now = time.monotonic()
            own = service.of(workload.deployment)
            self._check_start(service, workload)
            for task in own:
                if task.state == "starting" or is_unplaced(service, workload.deployment):
                    first.setdefault(f"{task.id} {task.state}", now)
            started = [t for t in own if t.runs or _since(first, t.id, "starting", now)]
            ended = [t for t in own if t.broke or t.state == "complete"]
            if started or ended or service.deployment != workload.deployment:
                identity = identify(service.id, workload.deployment)
                return SwarmInstance(self._api, workload.app, identity, workload)
            if any(_since(first, t.id, t.state, now, STUCK_SECONDS) for t in own):
                reason = why_waiting(service, workload.deployment)
                raise DeployError(reason.what, app=workload.app, todo=reason.todo)

    def _check_start(self, service: Service, workload: Workload) -> None:
        """Raises `DeployError` when a task can't be started at all."""
        for task in service.failures(workload.deployment):
            reason = why_failed(service, task, workload)
            if reason.never_ran and is_disk_full(task.error):
                raise disk_full(task.error, workload.app)
            if reason.never_ran:
                raise DeployError(reason.what, app=workload.app, todo=reason.todo)

    # -- settle, revert, remove --------------------------------------------------------------

    def settle(self, workload: Workload, job: Job) -> None:
        """Steps 3 and 4."""
        with _explained(workload):
            service = look(self._api, service_name(workload.app))
            if service is None or service.deployment != workload.deployment:
                raise DeployError(
                    "the new service is gone", app=workload.app, todo="Deploy it again."
                )
            if not service.is_settled:
                service = self._label(service, LABEL_SETTLED, workload.deployment)
            self._means.drop_secrets(workload.app, service.spec)
            for former in workload.former:
                self.remove(former, job)

    def _label(self, service: Service, label: str, value: str) -> Service:
        """Set a label of the service, which no task notices; the service as it is then."""
        for _ in range(_MOST_CONFLICTS):
            labels = {**labels_of(service.spec), label: value}
            done = self._api.update_service(service.document, {**service.spec, "Labels": labels})
            service = look(self._api, service.id) or service
            if done:
                break
        return service

    def revert(self, workload: Workload, job: Job) -> bool:
        """Back to what ran before this deployment."""
        job = replace(job, cancel=Cancellation())
        with _explained(workload):
            service = look(self._api, service_name(workload.app))
            if service is None or service.app != workload.app:
                return False
            if service.deployment != workload.deployment:
                return self._finish_going_back(service, workload, job)
            if service.previous is None:
                self._remove([service], job)
                self._means.drop_secrets(workload.app, None)
                return False
            if service.is_settled or (not service.former and describe_drift(service.previous)):
                return False  # it has been verified, or what was before is worse
            job.log(f"taking the service {service.name} back")
            if not self._api.roll_back(service.document):
                return self.revert(workload, job)
            return self._come_back(service.id, workload, job)

    def _finish_going_back(self, service: Service, workload: Workload, job: Job) -> bool:
        """Whether the Swarm has gone back by itself, or for a process that died meanwhile."""
        began = bool(service.of(workload.deployment))
        if not began or service.reverted == workload.deployment or service.update == "":
            return False
        return self._come_back(service.id, workload, job)

    def _come_back(self, service_id: str, workload: Workload, job: Job) -> bool:
        """Wait until all that ran before runs again, and write down that this was done."""
        watch = Watch(self._api, service_id, job)
        progress, before = time.monotonic(), 0
        while (service := watch.look()) is not None:
            running = len(service.serving(service.deployment))
            if running > before:
                progress, before = time.monotonic(), running
            wanted = sum(task.wanted for task in service.tasks)
            if running and running == wanted == service.count(service.deployment):
                self._label(service, LABEL_REVERTED, workload.deployment)
                return True
            if time.monotonic() > progress + BACK_SECONDS or service.update == "rollback_paused":
                reason = why_waiting(service, service.deployment)
                raise DeployError(
                    f"the tasks of before don't all run again: {reason.what}",
                    app=workload.app,
                    todo=reason.todo,
                )
        return False

    def remove(self, app: str, job: Job, containers: Collection[str] | None = None) -> int:
        """Services, or what a service remembers of the deployment before; how many."""
        with refusals(app):
            count = 0
            doomed = []
            for document in self._api.services(f"{LABEL_APP}={app}"):
                service = look(self._api, document["ID"])
                for one in parse_containers(service) if service else ():
                    if service is None or (containers is not None and one.id not in containers):
                        continue
                    count += 1
                    if one.deployment == service.deployment:
                        doomed.append(service)
                    elif containers is not None:
                        self._label(service, LABEL_SETTLED, service.deployment)
            self._remove(doomed, job)
            if doomed and not self._api.services(f"{LABEL_APP}={app}"):
                self._means.drop_secrets(app, None)
        return count

    def clear_tasks(self, app: str) -> None:
        """Remove the services of the app's one-off tasks."""
        with refusals(app):
            for document in self._api.services(f"{LABEL_APP}={app}"):
                if LABEL_TASK in labels_of(document["Spec"]):
                    self._api.remove_service(document["ID"])

    def _remove(self, services: Collection[Service], job: Job) -> None:
        """Returns when their tasks have ended."""
        for service in services:
            self._api.remove_service(service.id)
            job.log(f"removed the service {service.name}")
        for service in services:
            await_end(self._api, service)


@contextmanager
def _explained(workload: Workload) -> Iterator[None]:
    """Turns what the manager refuses into a `DeployError` that says what to do."""
    with refusals(workload.app):
        try:
            yield
        except Refused as error:
            if is_disk_full(error.text):
                raise
            said = error.text.rpartition("desc = ")[2]
            raise DeployError(
                f"the Swarm refused the service: {said}",
                app=workload.app,
                todo="Correct what it says in the spec, and deploy again.",
            ) from error


def _is_on_its_way(service: Service, workload: Workload) -> bool:
    """The Swarm is at this very deployment, or has taken it back already. Writing it again would
    make it forget what to go back to."""
    if service.deployment == workload.deployment:
        return not service.is_settled and not _is_dead(service, workload.deployment)
    before = service.of(workload.deployment)
    return bool(before) and service.reverted != workload.deployment and service.update != ""


def _is_as_written(service: Service, spec: dict[str, Any], workload: Workload) -> bool:
    return (
        service.deployment == workload.deployment
        and labels_of(service.spec).get(LABEL_SPEC) == spec["Labels"][LABEL_SPEC]
        and not describe_drift(service.spec)
    )


def _is_dead(service: Service, deployment: str) -> bool:
    """Its tasks have ended, and the Swarm starts them no more."""
    if service.deployment != deployment or not service.of(deployment):
        return False
    return judge_state(service, deployment)[0] == "exited"


def _force(service: Service | None) -> int:
    """What is there; another one would replace the tasks."""
    return int(service.spec["TaskTemplate"].get("ForceUpdate", 0)) if service else 0


def _since(
    first: dict[str, float], task: str, state: str, now: float, limit: float = STARTING_SECONDS
) -> bool:
    return now - first.get(f"{task} {state}", now) >= limit
