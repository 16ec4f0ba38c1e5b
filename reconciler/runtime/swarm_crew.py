"""What a manager says of one service, as the parts that its deployments play in it. Pure.

A service has one spec, and remembers the one before. Each has the label of its deployment, and so
have the tasks:

    spec           what the Swarm runs, or is just bringing up
    previous spec  what ran before, as long as the first isn't settled: what `revert` goes back to

A task that shall run and doesn't yet is *coming*: the Swarm is at it, whatever the reason, also
when its node was lost and it goes elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from reconciler.host.labels import LABEL_APP, LABEL_DEPLOYMENT
from reconciler.runtime.swarm_names import (
    LABEL_REVERTED,
    LABEL_SERVICE_DEPLOYMENT,
    LABEL_SETTLED,
    identify,
)
from reconciler.values import frozen

Document = Mapping[str, Any]

ENDED = ("complete", "failed", "rejected", "shutdown", "orphaned", "remove")
BROKEN = ("failed", "rejected")
CRASH_LOOP = 3
"""So many ends in a row are no chance."""
UNDERWAY = ("updating", "rollback_started")


@frozen
class SwarmTask:
    """One task. `wanted`: whether the Swarm wants it to run. `at`: when its state began, in
    seconds since 1970. `node` is its node's id, `ports` what it publishes in host mode."""

    id: str
    deployment: str
    slot: str
    node: str
    wanted: bool
    state: str
    error: str
    message: str
    exit_code: int | None
    container: str
    at: float
    created: float
    ports: Sequence[tuple[int, int]] = ()

    @property
    def runs(self) -> bool:
        return self.state == "running"

    @property
    def coming(self) -> bool:
        return self.wanted and self.state not in ("running", *ENDED)

    @property
    def broke(self) -> bool:
        """It ended by itself, or never could start. A node that refuses it is no such case."""
        return self.state in BROKEN


@frozen
class Node:
    """One machine of the Swarm. `address` is where it is reached from here, maybe."""

    id: str
    name: str
    address: str
    ready: bool
    active: bool


@frozen
class Service:
    """One service, its tasks and the nodes, as of one moment."""

    document: Document
    tasks: Sequence[SwarmTask]
    nodes: Mapping[str, Node]

    @property
    def id(self) -> str:
        return str(self.document["ID"])

    @property
    def spec(self) -> Document:
        spec: Document = self.document["Spec"]
        return spec

    @property
    def previous(self) -> Document | None:
        return self.document.get("PreviousSpec")

    @property
    def name(self) -> str:
        return str(self.spec["Name"])

    @property
    def app(self) -> str:
        return labels_of(self.spec).get(LABEL_APP, "")

    @property
    def deployment(self) -> str:
        return deployment_in(self.spec)

    @property
    def former(self) -> str:
        """The deployment to go back to; empty when there is none, or not any more."""
        before = deployment_in(self.previous) if self.previous else ""
        return "" if self.is_settled or before == self.deployment else before

    @property
    def is_settled(self) -> bool:
        return labels_of(self.spec).get(LABEL_SETTLED) == self.deployment

    @property
    def reverted(self) -> str:
        return labels_of(self.spec).get(LABEL_REVERTED, "")

    @property
    def identity(self) -> str:
        """The id of what its deployment runs."""
        return identify(self.id, self.deployment)

    @property
    def update(self) -> str:
        """UpdateStatus.State; empty without one."""
        return str((self.document.get("UpdateStatus") or {}).get("State", ""))

    @property
    def update_message(self) -> str:
        return str((self.document.get("UpdateStatus") or {}).get("Message", ""))

    @functools.cached_property
    def newest(self) -> Sequence[SwarmTask]:
        """All tasks, newest first."""
        return sorted(self.tasks, key=lambda task: -task.created)

    def of(self, deployment: str) -> list[SwarmTask]:
        """The tasks of a deployment, newest first."""
        return [task for task in self.newest if task.deployment == deployment]

    @property
    def is_global(self) -> bool:
        return "Global" in self.spec["Mode"]

    def count(self, deployment: str) -> int:
        """How many tasks of it there shall be. A global service has as many as nodes fit."""
        if self.is_global:
            own = self.of(deployment)
            return len({one.node for one in own if one.wanted and one.state not in ENDED})
        replicated = self.spec["Mode"].get("Replicated") or {}
        return int(replicated.get("Replicas", 1))

    def serving(self, deployment: str) -> list[SwarmTask]:
        """Those that run, on nodes that are there."""
        return [t for t in self.of(deployment) if t.runs and t.wanted and self.is_up(t.node)]

    def is_up(self, node: str) -> bool:
        return node not in self.nodes or self.nodes[node].ready

    def node_name(self, node: str) -> str:
        """What people call it; its id where that isn't known."""
        return self.nodes[node].name if node in self.nodes else node[:12]

    def failures(self, deployment: str) -> list[SwarmTask]:
        """What broke by itself, newest first. A container on a node that was lost didn't."""
        return [t for t in self.of(deployment) if t.broke and self.is_up(t.node)]


def labels_of(spec: Document) -> Mapping[str, str]:
    """The service's own labels."""
    return spec.get("Labels") or {}


def deployment_in(spec: Document) -> str:
    """Which deployment a spec belongs to."""
    return labels_of(spec).get(LABEL_DEPLOYMENT, "")


def parse_services(
    services: Iterable[Document], tasks: Iterable[Document], nodes: Iterable[Document]
) -> list[Service]:
    """Each service with its own tasks."""
    known = {node.id: node for node in map(parse_node, nodes)}
    by_service: dict[str, list[SwarmTask]] = {}
    for document in tasks:
        by_service.setdefault(document["ServiceID"], []).append(parse_task(document))
    return [Service(one, by_service.get(one["ID"], []), known) for one in services]


def parse_task(document: Document) -> SwarmTask:
    """One entry of the list call."""
    status = document["Status"]
    container = status.get("ContainerStatus") or {}
    spec = document["Spec"].get("ContainerSpec") or {}
    state = status["State"]
    ports = (status.get("PortStatus") or {}).get("Ports") or ()
    return SwarmTask(
        id=document["ID"],
        deployment=(spec.get("Labels") or {}).get(LABEL_SERVICE_DEPLOYMENT, ""),
        slot=str(document.get("Slot") or document.get("NodeID", "")),
        node=document.get("NodeID", ""),
        wanted=document["DesiredState"] in ("running", "ready", "accepted", "complete"),
        state=state,
        error=status.get("Err", ""),
        message=status.get("Message", ""),
        exit_code=container.get("ExitCode") if state in ENDED else None,
        container=container.get("ContainerID", ""),
        at=parse_time(status["Timestamp"]),
        created=parse_time(document["CreatedAt"]),
        ports=tuple({(port["TargetPort"], port["PublishedPort"]) for port in ports}),
    )


def parse_node(document: Document) -> Node:
    """One entry of the list call."""
    status = document["Status"]
    return Node(
        id=document["ID"],
        name=(document.get("Description") or {}).get("Hostname", ""),
        address=status.get("Addr", ""),
        ready=status["State"] == "ready",
        active=document["Spec"].get("Availability") == "active",
    )


def parse_time(text: str) -> float:
    """Seconds since 1970, of a time as engines write it."""
    whole, _, rest = text.partition(".")
    moment = datetime.fromisoformat(whole.removesuffix("Z") + "+00:00")
    return moment.timestamp() + float(f"0.{rest.removesuffix('Z') or '0'}")
