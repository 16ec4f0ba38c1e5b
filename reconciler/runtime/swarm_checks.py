"""What can be refused before anything of a service is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.errors import DeployError
from reconciler.host.labels import LABEL_APP
from reconciler.host.refusals import Fault, fault_of
from reconciler.runtime.base import Workload
from reconciler.runtime.docker_api import Refused
from reconciler.runtime.swarm_api import SwarmApi
from reconciler.runtime.swarm_crew import Document, labels_of
from reconciler.runtime.swarm_names import service_name
from reconciler.runtime.swarm_spec import order_of, swarm_of
from reconciler.spec.scalars import Port, parse_port


def check_image(api: SwarmApi, workload: Workload) -> None:
    """Refuse an image that no node could fetch, as far as the registry says so."""
    if not workload.image:
        raise DeployError(
            "there is no image that the nodes of the Swarm can fetch",
            app=workload.app,
            todo="Set image.repository and image.push: true, so that a registry has it.",
        )
    try:
        api.distribution(workload.image, workload.auth)
    except Refused as error:
        if fault_of(error.text) is Fault.MISSING:
            raise DeployError(
                f"the image is gone from the registry: {workload.image}",
                app=workload.app,
                todo="Deploy again; the image is built or pushed anew.",
            ) from error
        # nodes may reach what this one doesn't, or have it already


def check_ports(services: Iterable[Document], workload: Workload) -> None:
    """Refuse a port that another service publishes on every node."""
    own = service_name(workload.app)
    in_host_mode = swarm_of(workload.spec).publish == "host"
    for port in map(parse_port, workload.spec.ports):
        for service in services:
            name = service["Spec"]["Name"]
            if name != own and _clashes(service, port, in_host_mode=in_host_mode):
                raise DeployError(
                    f"port {port.host}/{port.protocol} is published by the service {name}",
                    app=workload.app,
                    todo="Choose another port in `ports`, or remove that service.",
                )


def _clashes(service: Document, port: Port, *, in_host_mode: bool) -> bool:
    """Two in host mode may be on different nodes."""
    for other in (service["Spec"].get("EndpointSpec") or {}).get("Ports") or ():
        both = in_host_mode and other.get("PublishMode") == "host"
        same = (other.get("PublishedPort"), other.get("Protocol", "tcp"))
        if same == (port.host, port.protocol) and not both:
            return True
    return False


def check_room(nodes: Iterable[Document], workload: Workload, *, exists: bool) -> None:
    """Refuse ports in host mode that would be needed twice on a node. `exists`: so that tasks run
    which are to be replaced."""
    app, swarm = workload.spec, swarm_of(workload.spec)
    if not app.ports or swarm.publish != "host" or swarm.mode == "global":
        return
    fit = sum(fits(node, swarm.constraints) for node in nodes)
    if app.replicas > fit:
        raise DeployError(
            f"{app.replicas} tasks need a port of their own node each, and {fit} nodes may run "
            "them",
            app=workload.app,
            todo="Lower `replicas`, widen swarm.constraints, or bring up more nodes.",
        )
    if exists and app.replicas == fit and order_of(app) == "start-first":
        raise DeployError(
            "with start-first, a new task needs a node on which the port is free, and there is "
            "none",
            app=workload.app,
            todo="Set swarm.order: stop-first, or bring up one more node.",
        )


def check_owner(service: Document | None, workload: Workload) -> None:
    """Refuse a service of somebody else, which is never touched."""
    if service is None:
        return
    if labels_of(service["Spec"]).get(LABEL_APP) not in (workload.app, *workload.former):
        name = service["Spec"]["Name"]
        raise DeployError(
            f"the name {name} belongs to a service that isn't one of this app",
            app=workload.app,
            todo=f"Remove it (docker service rm {name}), or rename the app.",
        )


def fits(node: Document, constraints: Iterable[str]) -> bool:
    """Whether a node may run a task. A constraint that isn't understood here counts as met."""
    ready = node["Status"]["State"] == "ready" and node["Spec"].get("Availability") == "active"
    return ready and all(_meets(node, constraint) for constraint in constraints)


def _meets(node: Document, constraint: str) -> bool:
    for sign in ("!=", "=="):
        key, found, wanted = constraint.partition(sign)
        if found:
            value = _value(node, key.strip())
            return value is None or (value.lower() == wanted.strip().lower()) == (sign == "==")
    return True


def _value(node: Document, key: str) -> str | None:
    """None for what isn't known here."""
    description: Mapping[str, Any] = node.get("Description") or {}
    platform = description.get("Platform") or {}
    simple = {
        "node.id": node["ID"],
        "node.hostname": description.get("Hostname", ""),
        "node.role": node["Spec"].get("Role", ""),
        "node.platform.os": platform.get("OS", ""),
    }
    if key in simple:
        return str(simple[key])
    for prefix, labels in (
        ("node.labels.", node["Spec"].get("Labels")),
        ("engine.labels.", (description.get("Engine") or {}).get("Labels")),
    ):
        if key.startswith(prefix):
            return str((labels or {}).get(key.removeprefix(prefix), ""))
    return None
