"""Checks of a Swarm: its managers, its nodes, and whether they can do what the spec asks for."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.engine.findings import Finding
from reconciler.errors import EngineUnavailable
from reconciler.host.engine import Engine
from reconciler.host.hosts import Hosts
from reconciler.plan.places import SWARM
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import App

Document = Mapping[str, Any]
CALL_SECONDS = 5.0
_SHOWN = 3


def swarms_of(loaded: LoadedSpec) -> dict[tuple[str, ...], list[str]]:
    """The apps on each Swarm, by the managers that the spec names for it."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name, app in loaded.spec.apps.items():
        if app.runtime == SWARM:
            found.setdefault(app.host, []).append(name)
    return found


def examine_swarm(
    hosts: Hosts, managers: Sequence[str], apps: Mapping[str, App]
) -> Iterator[Finding]:
    """`managers`: host names; each is asked what it is, and the first good one for the rest.
    Raises `EngineUnavailable` when that goes away."""
    subject = f"swarm {managers[0]}"
    chosen: Engine | None = None
    for name in managers:
        engine = hosts.engine(name)
        try:
            swarm = engine.get("/info", timeout=CALL_SECONDS).get("Swarm") or {}
        except EngineUnavailable as error:
            yield Finding("error", subject, f"the manager {name} can't be asked", error.todo)
            continue
        trouble = judge_manager(name, swarm)
        if trouble is not None:
            yield trouble
        else:
            chosen = chosen or engine
    if chosen is None:
        return
    nodes = chosen.get("/nodes", timeout=CALL_SECONDS)
    yield from judge_nodes(subject, nodes)
    yield from judge_pulls(subject, chosen.get("/tasks", timeout=CALL_SECONDS), nodes)
    needing = sorted(name for name, app in apps.items() if needs_ipvs(app))
    if needing:
        here = chosen.access.is_here
        yield judge_ipvs(subject, needing, has_ipvs() if here else None)


def judge_manager(name: str, swarm: Document) -> Finding | None:
    """What is wrong with a host as the manager of a Swarm, by its `/info`; None when nothing is."""
    if swarm.get("ControlAvailable") and not swarm.get("Error"):
        return None
    if swarm.get("Error"):
        text = f"{name} can't reach the other managers: {swarm['Error']}"
        return Finding("error", f"swarm {name}", text, "Bring back a majority of the managers.")
    part = swarm.get("LocalNodeState") == "active"
    text = f"{name} is a worker" if part else f"{name} isn't part of a Swarm"
    todo = f"Run `docker node promote {name}` on a manager, or name a manager as the app's host."
    if not part:
        todo = "Run `docker swarm init` or `docker swarm join` there."
    return Finding("error", f"swarm {name}", text, todo)


def judge_nodes(subject: str, nodes: Sequence[Document]) -> Iterator[Finding]:
    """The managers' majority, and who is away or takes no tasks."""
    managers = [node for node in nodes if node.get("ManagerStatus")]
    reachable = sum(node["ManagerStatus"].get("Reachability") == "reachable" for node in managers)
    yield _majority(subject, reachable, len(managers))
    down = [_name(node) for node in nodes if node["Status"]["State"] != "ready"]
    if down:
        todo = "Bring them back; `docker node rm` forgets one for good."
        yield Finding("warning", subject, f"down: {', '.join(down)}", todo)
    idle = [
        f"{_name(node)} ({node['Spec']['Availability']})"
        for node in nodes
        if node["Spec"]["Availability"] != "active"
    ]
    taking = len(nodes) - len(idle)
    suffix = f"; not {', '.join(idle)}" if idle else ""
    yield Finding("ok", subject, f"{taking} of {len(nodes)} nodes take tasks{suffix}")


def _majority(subject: str, reachable: int, total: int) -> Finding:
    """More than half must be there, or the Swarm can't be changed."""
    spare = reachable - (total // 2 + 1)
    text = f"{reachable} of {total} managers reachable"
    if reachable < total:
        todo = "Bring the others back: " + (
            "with one more away, nothing can be changed." if spare == 0 else "soon, best."
        )
        return Finding("warning", subject, text, todo)
    if total % 2 == 0:
        todo = "Have an odd number: the last one adds no safety."
        return Finding("warning", subject, text, todo)
    lost = "without it nothing can be changed" if total == 1 else f"{spare} may be away"
    return Finding("ok", subject, f"{text}; {lost}")


def judge_pulls(
    subject: str, tasks: Sequence[Document], nodes: Sequence[Document]
) -> Iterator[Finding]:
    """Nodes that couldn't get an image, as their tasks say: nobody else can ask them."""
    names = {node["ID"]: _name(node) for node in nodes}
    failed: dict[str, str] = {}
    for task in tasks:
        error = str(task["Status"].get("Err", ""))
        image = str(task["Spec"].get("ContainerSpec", {}).get("Image", "")).partition("@")[0]
        if task["Status"]["State"] == "rejected" and "No such image" in error:
            failed[names.get(task.get("NodeID"), "a node that is gone")] = image
    for node, image in sorted(failed.items())[:_SHOWN]:
        todo = f"Run `docker pull {image}` there: it says what is wrong."
        yield Finding("warning", subject, f"{node} couldn't get {image}", todo)


def needs_ipvs(app: App) -> bool:
    """Whether its service has one address for all tasks, or a port on every node."""
    if app.swarm is None:
        return True
    return app.swarm.endpoint_mode == "vip" or bool(app.ports and app.swarm.publish == "ingress")


def judge_ipvs(subject: str, apps: Sequence[str], found: bool | None) -> Finding:
    """`found`: whether the kernel has it; None when that can't be seen."""
    some = ", ".join(apps[:_SHOWN]) + (" …" if len(apps) > _SHOWN else "")
    what = f"which one address for all tasks and ingress ports need ({some})"
    todo = "Load ip_vs on every node, or use `endpoint_mode: dnsrr` and `publish: host`."
    if found is None:
        text = f"whether the nodes' kernels have IPVS, {what}, can't be seen from here"
        return Finding("unknown", subject, text, "`modprobe ip_vs` on each node tells.")
    if not found:
        return Finding("warning", subject, f"this machine's kernel has no IPVS, {what}", todo)
    return Finding("ok", subject, "this machine's kernel has IPVS; other nodes can't be seen")


def has_ipvs(proc: Path = Path("/proc"), modules: Path = Path("/lib/modules")) -> bool | None:
    """Whether this machine's kernel has it, or could load it; None when that can't be seen."""
    if (proc / "net/ip_vs").exists():
        return True
    lists = [modules / platform.release() / f"modules.{kind}" for kind in ("builtin", "dep")]
    texts = [one.read_text(errors="replace") for one in lists if one.is_file()]
    return any("/ip_vs.ko" in text for text in texts) if texts else None


def _name(node: Document) -> str:
    return str(node["Description"]["Hostname"])
