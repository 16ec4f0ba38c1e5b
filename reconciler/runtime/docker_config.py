"""From a workload to the engine's create call, as a value. Pure.

What is decided here:

- A missing directory of a bind mount is refused by the engine. `docker run -v` would make it,
  owned by root, and hide a mistyped path behind an empty directory.
- A named volume has the name that is written, as `docker run -v` does; a missing one is made by
  the engine with our labels.
- Logs go where the engine's own configuration says.
- On each network the container answers to the app's name and to `<project>-<app>`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from reconciler.host.labels import (
    LABEL_APP,
    LABEL_DEPLOYMENT,
    LABEL_PROJECT,
    LABEL_REPLICA,
    LABEL_TASK,
)
from reconciler.runtime.base import Task, Workload
from reconciler.runtime.docker_crew import (
    LABEL_RESTART,
    LABEL_STOP_GRACE,
    container_name,
    replica_name,
)
from reconciler.spec.models import App, Resources
from reconciler.spec.scalars import parse_port, parse_volume, seconds, size_bytes
from reconciler.values import frozen

PREDEFINED = frozenset({"bridge", "host", "none"})
"""Networks that every engine has, which know no aliases."""
MANY_NETWORKS_VERSION = (1, 44)
"""The first API version whose create call takes more than one network."""


@frozen
class CreateCall:
    """`POST /containers/create?name=NAME` with `body`, and what it can't say itself.

    `networks` have to be there before it. `connect` are endpoints to add after it, by network,
    for engines that take one network only.
    """

    name: str
    body: Mapping[str, Any]
    networks: tuple[str, ...] = ()
    connect: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def make_create_call(workload: Workload, *, takes_many_networks: bool = True) -> CreateCall:
    """The call that makes the workload's container, not started, under its temporary name.

    `takes_many_networks`: whether the engine's API is at `MANY_NETWORKS_VERSION`.
    """
    app = workload.spec
    endpoints = _endpoints(workload)
    first, *_ = endpoints
    later = {} if takes_many_networks else dict(list(endpoints.items())[1:])
    body = {
        "Image": workload.image_id,
        "Env": [f"{name}={value}" for name, value in workload.env.items()],
        "Labels": container_labels(workload),
        "ExposedPorts": {key: {} for key in _port_bindings(app.ports)},
        "StopTimeout": stop_grace(app),
        "HostConfig": {
            "NetworkMode": first,
            "PortBindings": _port_bindings(app.ports),
            "Mounts": [_mount(text, workload) for text in app.volumes],
            "RestartPolicy": restart_policy(app.restart),
            **amounts(app.resources, ("NanoCpus", "Memory", "PidsLimit")),
        },
        "NetworkingConfig": {
            "EndpointsConfig": {name: endpoints[name] for name in endpoints if name not in later}
        },
        **_process(app),
    }
    return CreateCall(
        name=replica_name(
            f"{container_name(workload.app)}-{workload.deployment}", workload.replica
        ),
        body=body,
        networks=tuple(name for name in endpoints if name not in PREDEFINED),
        connect=later,
    )


def make_task_call(
    workload: Workload, task: Task, *, takes_many_networks: bool = True
) -> CreateCall:
    """The call that makes the container of a task: what runs differs, and nothing finds it."""
    call = make_create_call(workload, takes_many_networks=takes_many_networks)
    host: Mapping[str, Any] = call.body["HostConfig"]
    endpoints = call.body["NetworkingConfig"]["EndpointsConfig"]
    labels = {
        **our_labels(workload),
        LABEL_DEPLOYMENT: workload.deployment,
        LABEL_TASK: task.name,
    }
    body = {
        **call.body,
        "Cmd": list(task.command),
        "Labels": labels,
        "ExposedPorts": {},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            **host,
            "PortBindings": {},
            "RestartPolicy": restart_policy("no"),
            "LogConfig": {"Type": "json-file"},  # its output has to be readable
        },
        "NetworkingConfig": {"EndpointsConfig": {name: {} for name in endpoints}},
    }
    later: Mapping[str, Mapping[str, Any]] = {name: {} for name in call.connect}
    return replace(call, name=f"{call.name}-{task.name}", body=body, connect=later)


def our_labels(workload: Workload) -> dict[str, str]:
    """What marks a volume or network as made for this app."""
    return {LABEL_PROJECT: workload.project, LABEL_APP: workload.app}


def container_labels(workload: Workload) -> dict[str, str]:
    """The user's labels and ours; ours can't be overruled."""
    number = {LABEL_REPLICA: str(workload.replica)} if workload.replica > 1 else {}
    return {
        **workload.spec.labels,
        **workload.labels,
        **our_labels(workload),
        **number,
        LABEL_DEPLOYMENT: workload.deployment,
        LABEL_RESTART: workload.spec.restart,
        LABEL_STOP_GRACE: str(stop_grace(workload.spec)),
    }


def stop_grace(app: App) -> int:
    """Whole seconds, rounded up."""
    return math.ceil(seconds(app.stop_grace_period))


def restart_policy(text: str) -> dict[str, Any]:
    """`on-failure:3` as the engine's document."""
    name, _, times = text.partition(":")
    return {"Name": name, "MaximumRetryCount": int(times)} if times else {"Name": name}


def bind_source(source: str, base_dir: Path) -> str:
    """The absolute path on the host of a bind mount."""
    return os.path.normpath(base_dir / Path(source).expanduser())


def _process(app: App) -> dict[str, Any]:
    """What runs, only where the spec says something; the image has the rest.

    An empty entrypoint is sent as `[""]`, which takes the image's away; `[]` would keep it.
    """
    wanted: dict[str, Any] = {
        "Cmd": list(app.command) if app.command is not None else None,
        "Entrypoint": (list(app.entrypoint) or [""]) if app.entrypoint is not None else None,
        "User": app.user,
        "WorkingDir": app.workdir,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def amounts(resources: Resources, names: tuple[str, str, str]) -> dict[str, int]:
    """What is set, by the engine's `names` for billionths of a core, bytes and processes."""
    given = (
        None if resources.cpus is None else round(resources.cpus * 1e9),
        None if resources.memory is None else size_bytes(resources.memory),
        resources.pids,
    )
    return {name: value for name, value in zip(names, given, strict=True) if value is not None}


def _port_bindings(ports: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in map(parse_port, ports):
        binding = {"HostIp": port.address.strip("[]"), "HostPort": str(port.host)}
        bindings.setdefault(f"{port.container}/{port.protocol}", []).append(binding)
    return bindings


def _mount(text: str, workload: Workload) -> dict[str, Any]:
    volume = parse_volume(text)
    mount: dict[str, Any] = {"Target": volume.target, "ReadOnly": volume.read_only}
    if volume.is_bind:
        return {
            "Type": "bind",
            "Source": bind_source(volume.source, workload.base_dir),
            **mount,
        }
    return {
        "Type": "volume",
        "Source": volume.source,
        "VolumeOptions": {"Labels": our_labels(workload)},
        **mount,
    }


def _endpoints(workload: Workload) -> dict[str, dict[str, Any]]:
    """Endpoint settings by network, in the order of the spec; at least one."""
    aliases = list(dict.fromkeys((workload.name, container_name(workload.app))))
    names = workload.spec.networks or (workload.project,)
    return {name: {} if name in PREDEFINED else {"Aliases": aliases} for name in names}
