"""What the lists of a manager say, as one `Container` for each deployment of each app. Pure.

A deployment runs as long as the Swarm keeps its tasks running or is about to: where they go when
a node is lost is the Swarm's own business. It has ended when tasks have, and nobody starts them
again; and it is restarting when they end again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from reconciler.host.labels import (
    LABEL_BUILD_HASH,
    LABEL_REVISION,
    LABEL_RUN_HASH,
    LABEL_TASK,
)
from reconciler.plan.states import Container, Observed
from reconciler.runtime.base import Replica
from reconciler.runtime.docker_crew import container_name
from reconciler.runtime.swarm_crew import (
    CRASH_LOOP,
    UNDERWAY,
    Document,
    Service,
    SwarmTask,
    deployment_in,
    labels_of,
    parse_time,
)
from reconciler.runtime.swarm_drift import describe_drift
from reconciler.runtime.swarm_names import LABEL_IMAGE_ID, identify


def parse_observed(services: Iterable[Service], host: str) -> Observed:
    """By app, newest first; `host` is the manager's name."""
    apps: dict[str, list[Container]] = {}
    for service in services:
        if service.app:
            found = [replace(one, host=host) for one in parse_containers(service)]
            apps.setdefault(service.app, []).extend(found)
    for containers in apps.values():
        containers.sort(key=lambda container: -container.created)
    return Observed({app: tuple(containers) for app, containers in apps.items()})


def parse_containers(service: Service) -> list[Container]:
    """What its deployments run, newest first."""
    task = labels_of(service.spec).get(LABEL_TASK, "")
    now = _container(service, service.spec, service.deployment)
    if task:
        return [replace(now, task=task, name=service.name)]
    base = container_name(service.app)
    name = base if service.is_settled else f"{base}-{service.deployment}"
    current = replace(now, name=name, drift=describe_drift(service.spec))
    if not service.former or service.previous is None:
        return [current]
    before = _container(service, service.previous, service.former)
    state = "running" if any(t.runs for t in service.of(service.former)) else "exited"
    name = f"{base}-previous-{service.former}"
    created = min(before.created, current.created)
    return [current, replace(before, name=name, state=state, created=created)]


def parse_replicas(services: Iterable[Service], host: str) -> tuple[Replica, ...]:
    """The deployments of which something runs; of a service, the newest first."""
    return tuple(
        Replica(identify(service.id, deployment), deployment, host=host)
        for service in services
        if LABEL_TASK not in labels_of(service.spec)
        for deployment in (service.deployment, service.former)
        if deployment and any(task.runs for task in service.of(deployment))
    )


def _container(service: Service, spec: Document, deployment: str) -> Container:
    labels = labels_of(spec)
    state, code = judge_state(service, deployment)
    running = [task for task in service.of(deployment) if task.runs and service.is_up(task.node)]
    created = service.document["CreatedAt" if spec is not service.spec else "UpdatedAt"]
    return Container(
        app=service.app,
        id=identify(service.id, deployment),
        name=service.name,
        deployment=deployment_in(spec),
        state=state,
        image_id=labels.get(LABEL_IMAGE_ID, ""),
        build_hash=labels.get(LABEL_BUILD_HASH, ""),
        run_hash=labels.get(LABEL_RUN_HASH, ""),
        revision=labels.get(LABEL_REVISION, ""),
        exit_code=code,
        status=describe(service, deployment),
        created=int(parse_time(created)),
        runtime="swarm",
        tasks=(len(service.serving(deployment)), service.count(deployment)),
        nodes=tuple(sorted({service.node_name(task.node) for task in running})),
    )


def judge_state(service: Service, deployment: str) -> tuple[str, int | None]:
    """running, restarting or exited, and the exit code of what ended."""
    own = service.of(deployment)
    alive = [task for task in own if task.runs and task.wanted]
    coming = [task for task in own if task.coming]
    failures = service.failures(deployment)
    if not alive and coming and _is_crash_loop(own, failures):
        return "restarting", failures[0].exit_code
    shall = max(service.count(deployment), 1)
    if len(alive) + len(coming) >= shall or service.update in UNDERWAY:
        return "running", None
    ended = [task for task in own if not task.coming and not task.runs]
    return "exited", ended[0].exit_code if ended else None


def _is_crash_loop(own: Sequence[SwarmTask], failures: Sequence[SwarmTask]) -> bool:
    """Whether the last ones that ended all did by themselves."""
    ended = [task for task in own if not task.coming][:CRASH_LOOP]
    return len(ended) == CRASH_LOOP and all(task in failures for task in ended)


def describe(service: Service, deployment: str) -> str:
    """For people, such as `2 of 3 tasks run; no suitable node (…)`."""
    running, shall = len(service.serving(deployment)), service.count(deployment)
    said = f"{running} of {shall} tasks run"
    if service.deployment == deployment and service.update in UNDERWAY:
        said += f", {service.update.replace('_', ' ')}"
    waiting = [task for task in service.of(deployment) if task.coming and task.error]
    return f"{said}; {waiting[0].error}" if waiting else said
