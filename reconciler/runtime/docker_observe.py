"""What the engine's one list call says, as the `Container`s of each app. Runs on every pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from reconciler.host.labels import (
    LABEL_APP,
    LABEL_BUILD_HASH,
    LABEL_DEPLOYMENT,
    LABEL_HOST,
    LABEL_PROJECT,
    LABEL_REPLICA,
    LABEL_REVISION,
    LABEL_RUN_HASH,
    LABEL_TASK,
)
from reconciler.plan.states import Container, Observed
from reconciler.runtime.base import Replica
from reconciler.runtime.docker_api import DockerApi, Document
from reconciler.spec.hosts import LOCAL

_EXITED = re.compile(r"(?:Exited|Restarting|Dead) \((\d+)\)")
_HEALTH = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)$")


def observe(api: DockerApi, project: str, host: str = LOCAL) -> Observed:
    """All containers of the project's apps, by one call. Raises `EngineUnavailable`."""
    return parse_observed(api.list(f"{LABEL_PROJECT}={project}"), host)


def parse_observed(documents: Iterable[Document], host: str = LOCAL) -> Observed:
    """Containers by app, newest first. What has no app's label is left out."""
    apps: dict[str, list[Container]] = {}
    for document in documents:
        container = parse_container(document, host)
        if container.app:
            apps.setdefault(container.app, []).append(container)
    for containers in apps.values():
        containers.sort(key=lambda container: -container.created)
    return Observed({app: tuple(containers) for app, containers in apps.items()})


def parse_container(document: Document, host: str = LOCAL) -> Container:
    """One entry. Exit code and health stand only in the text for people, `Status`.

    `host`: who was asked; a container knows better under which of its engine's names it was made.
    """
    labels: Mapping[str, str] = document.get("Labels") or {}
    status: str = document["Status"]
    exited = _EXITED.match(status)
    health = _HEALTH.search(status)
    return Container(
        app=labels.get(LABEL_APP, ""),
        id=document["Id"],
        name=name_of(document),
        deployment=labels.get(LABEL_DEPLOYMENT, ""),
        state=document["State"],
        image_id=document["ImageID"],
        build_hash=labels.get(LABEL_BUILD_HASH, ""),
        run_hash=labels.get(LABEL_RUN_HASH, ""),
        revision=labels.get(LABEL_REVISION, ""),
        health=health[1] if health else "",
        exit_code=int(exited[1]) if exited else None,
        status=status,
        created=document["Created"],
        task=labels.get(LABEL_TASK, ""),
        address=address_of(document),
        replica=int(labels.get(LABEL_REPLICA, 1)),
        host=labels.get(LABEL_HOST, host),
    )


def parse_replicas(documents: Iterable[Document], host: str = LOCAL) -> tuple[Replica, ...]:
    """Of one app, by number and then newest first; tasks are left out."""
    containers = sorted(documents, key=lambda document: -document["Created"])
    found = [_parse_replica(one, host) for one in containers if LABEL_TASK not in one["Labels"]]
    return tuple(sorted(found, key=lambda replica: replica.number))


def _parse_replica(document: Document, host: str) -> Replica:
    labels = document["Labels"]
    return Replica(
        id=document["Id"],
        deployment=labels.get(LABEL_DEPLOYMENT, ""),
        number=int(labels.get(LABEL_REPLICA, 1)),
        address=address_of(document),
        host=labels.get(LABEL_HOST, host),
    )


def address_of(document: Document) -> str:
    """Where the host reaches a container that runs; empty where it doesn't."""
    if (document.get("HostConfig") or {}).get("NetworkMode") == "host":
        return "127.0.0.1" if document["State"] == "running" else ""
    networks = (document.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = (network.get("IPAddress") for network in networks.values())
    return next(filter(None, addresses), "")


def name_of(document: Document) -> str:
    """Its own name; others are those of links."""
    names: list[str] = [name.lstrip("/") for name in document.get("Names") or [""]]
    return min(names, key=lambda name: name.count("/"))


def published_ports(documents: Iterable[Document]) -> list[tuple[str, int, str, str]]:
    """`(container name, host port, protocol, address)` of everything that is published."""
    return [
        (name_of(document), port["PublicPort"], port["Type"], port.get("IP", ""))
        for document in documents
        for port in document.get("Ports") or ()
        if port.get("PublicPort")
    ]
