"""From a workload to the service that a manager shall keep, as a value. Pure.

What is decided here:

- A check of the spec becomes the service's HEALTHCHECK, so that the Swarm itself goes from task to
  task only when the new one works. `http` asks with the wget or curl of the image, `tcp` reads
  what listens. A port that is published in host mode is asked from outside instead, for which the
  image needs nothing.
- Without a setting a task starts before the one that it replaces stops. A port of the host can't be
  had twice, and two that write to one volume may destroy it, so there it is the other way round.
- Going back takes no longer than it must: without the pauses of an update, and hardly watched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from reconciler.host.labels import LABEL_APP, LABEL_DEPLOYMENT, LABEL_PROJECT, LABEL_TASK
from reconciler.runtime.base import Task, Workload
from reconciler.runtime.docker_config import amounts
from reconciler.runtime.docker_crew import container_name
from reconciler.runtime.swarm_names import (
    LABEL_IMAGE_ID,
    LABEL_SERVICE_APP,
    LABEL_SERVICE_DEPLOYMENT,
    service_name,
    task_service_name,
)
from reconciler.spec.models import App, Health, Resources, Swarm
from reconciler.spec.scalars import parse_port, parse_volume, seconds, share
from reconciler.values import frozen

Document = Mapping[str, Any]

PROBE_SECONDS = 2.0
"""Between two probes, also of the first: engines before 25 know no shorter pause at the start."""
PROBE_LIMIT_SECONDS = 5.0
PROBE_RETRIES = 3
ROLLBACK_MONITOR_SECONDS = 1.0
RESTART_SECONDS = 2.0
"""Between the end of a task and its successor."""

_HTTP = (
    'grep -qsw "${HOSTNAME:-none}" /etc/hosts && host=$HOSTNAME || host=127.0.0.1; '
    'url="http://$host:$0$1"; '
    'if command -v wget >/dev/null; then exec wget -q -O /dev/null "$url"; '
    'elif command -v curl >/dev/null; then exec curl -fsS -o /dev/null "$url"; '
    'else echo "the image has neither wget nor curl" >&2; exit 1; fi'
)
"""Asks by the container's own name: what listens on loopback alone works for nobody else. On the
network of the host that name may be unknown."""
_TCP = 'grep -Eqs "$0" /proc/net/tcp /proc/net/tcp6 || { echo "nothing listens" >&2; exit 1; }'
BRIDGE = "bridge"
_RESTART = {"no": "none", "always": "any", "unless-stopped": "any", "on-failure": "on-failure"}


@frozen
class SecretFile:
    """A secret of the Swarm, and the file below /run/secrets that it shall be."""

    file: str
    id: str
    name: str


@frozen
class Means:
    """What the spec refers to, as the Swarm knows it. `networks`: ids by name."""

    networks: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[SecretFile] = ()


def make_service(workload: Workload, means: Means, force: int = 0) -> dict[str, Any]:
    """The body that creates or updates the workload's service, without what is known later.

    A higher `force` replaces the tasks even though nothing else has changed.
    """
    app, swarm = workload.spec, swarm_of(workload.spec)
    template = {
        "ContainerSpec": _container(workload, means),
        "Resources": _resources(app.resources, swarm.reserve),
        "RestartPolicy": _restart(app.restart),
        "Placement": _placement(swarm),
        "Networks": _networks(workload, means),
        "ForceUpdate": force,
    }
    replicated = {"Replicated": {"Replicas": app.replicas}}
    return {
        "Name": service_name(workload.app),
        "Labels": service_labels(workload),
        "TaskTemplate": _drop_empty(template),
        "Mode": {"Global": {}} if swarm.mode == "global" else replicated,
        "UpdateConfig": _update(app),
        "RollbackConfig": {
            **_update(app),
            "Delay": 0,
            "Monitor": _nanoseconds(ROLLBACK_MONITOR_SECONDS),
            "FailureAction": "pause",
        },
        "EndpointSpec": _endpoint(app),
    }


def make_task_service(workload: Workload, task: Task, means: Means) -> dict[str, Any]:
    """A service that runs a command once: nothing finds it, and nothing starts it again."""
    service = make_service(workload, means)
    template = service["TaskTemplate"]
    container = {
        **template["ContainerSpec"],
        "Args": list(task.command),
        "Healthcheck": {"Test": ["NONE"]},
        "StopGracePeriod": 0,
    }
    networks = [{"Target": one["Target"]} for one in template.get("Networks", ())]
    placement = {k: v for k, v in template.get("Placement", {}).items() if k != "MaxReplicas"}
    return {
        "Name": task_service_name(workload.app, workload.deployment, task.name),
        "Labels": {**service["Labels"], LABEL_TASK: task.name},
        "TaskTemplate": _drop_empty(
            {
                **template,
                "ContainerSpec": container,
                "RestartPolicy": {"Condition": "none"},
                "Networks": networks,
                "Placement": placement,
            }
        ),
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def swarm_of(app: App) -> Swarm:
    """Its section, or what holds without one."""
    return app.swarm or Swarm()


def service_labels(workload: Workload) -> dict[str, str]:
    """What ties the service to the app and its deployment."""
    return {
        **workload.labels,
        LABEL_PROJECT: workload.project,
        LABEL_APP: workload.app,
        LABEL_DEPLOYMENT: workload.deployment,
        LABEL_IMAGE_ID: workload.image_id,
    }


def order_of(app: App) -> str:
    """start-first or stop-first: what the spec says, or what suits the app."""
    swarm = swarm_of(app)
    if swarm.order is not None:
        return swarm.order
    writes = any(not parse_volume(text).read_only for text in app.volumes)
    return "stop-first" if writes or (app.ports and swarm.publish == "host") else "start-first"


def network_names(workload: Workload) -> tuple[str, ...]:
    """The networks of the Swarm that it joins, in the order of the spec.

    The default isn't called like the project: on the manager there may be a bridge of that name,
    for the apps that run on one machine. `bridge` alone is what tasks without a network have.
    """
    names = workload.spec.networks or (f"{workload.project}-swarm",)
    return () if names == (BRIDGE,) else names


def asked_outside(app: App) -> int:
    """The port of the host at which the check is asked from outside, 0 where it runs inside."""
    health = app.health
    wanted = health.http.port if health.http else health.tcp
    if swarm_of(app).publish == "host":
        for port in map(parse_port, app.ports):
            if (port.container, port.protocol) == (wanted, "tcp"):
                return port.host
    return 0


# -- the parts -------------------------------------------------------------------------------


def _container(workload: Workload, means: Means) -> dict[str, Any]:
    app = workload.spec
    labels = {
        **app.labels,
        LABEL_SERVICE_APP: workload.app,
        LABEL_SERVICE_DEPLOYMENT: workload.deployment,
    }
    return _drop_empty(
        {
            "Image": workload.image,
            "Command": (list(app.entrypoint) or [""]) if app.entrypoint is not None else None,
            "Args": list(app.command) if app.command is not None else None,
            "Env": [f"{name}={value}" for name, value in workload.env.items()],
            "Labels": labels,
            "User": app.user,
            "Dir": app.workdir,
            "StopGracePeriod": _nanoseconds(seconds(app.stop_grace_period)),
            "Healthcheck": None if asked_outside(app) else _healthcheck(app.health),
            "Mounts": [_mount(text, workload) for text in app.volumes],
            "Secrets": [_secret(secret) for secret in means.secrets],
        }
    )


def _healthcheck(health: Health) -> dict[str, Any] | None:
    """None leaves the image's own."""
    test: list[str]
    if health.command is not None:
        test = ["CMD", *health.command]
    elif health.http is not None:
        test = ["CMD", "sh", "-c", _HTTP, str(health.http.port), health.http.path]
    elif health.tcp is not None:
        test = ["CMD", "sh", "-c", _TCP, _listens_at(health.tcp)]
    else:
        return None
    counted = PROBE_RETRIES * PROBE_SECONDS
    return {
        "Test": test,
        "Interval": _nanoseconds(PROBE_SECONDS),
        "Timeout": _nanoseconds(PROBE_LIMIT_SECONDS),
        "StartPeriod": _nanoseconds(max(seconds(health.timeout) - counted, 0)),
        "Retries": PROBE_RETRIES,
    }


def _listens_at(port: int) -> str:
    """Lines of /proc/net/tcp: number, own address, other side, state; 0A listens."""
    return f"^ *[0-9]+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A "


def _resources(limits: Resources, reserve: Resources) -> dict[str, Any]:
    return _drop_empty({"Limits": _amounts(limits), "Reservations": _amounts(reserve)})


def _amounts(resources: Resources) -> dict[str, int]:
    return amounts(resources, ("NanoCPUs", "MemoryBytes", "Pids"))


def _restart(policy: str) -> dict[str, Any]:
    name, _, times = policy.partition(":")
    wanted: dict[str, Any] = {"Condition": _RESTART[name]}
    if name != "no":
        wanted["Delay"] = _nanoseconds(RESTART_SECONDS)
    if times:
        wanted["MaxAttempts"] = int(times)
    return wanted


def _placement(swarm: Swarm) -> dict[str, Any]:
    spread = [{"Spread": {"SpreadDescriptor": label}} for label in swarm.spread]
    return _drop_empty(
        {
            "Constraints": list(swarm.constraints),
            "Preferences": spread,
            "MaxReplicas": swarm.max_per_node,
        }
    )


def _networks(workload: Workload, means: Means) -> list[dict[str, Any]]:
    names = network_names(workload)
    if names == ("host",):
        return [{"Target": means.networks["host"]}]
    aliases = list(dict.fromkeys((workload.name, container_name(workload.app))))
    aliases = [alias for alias in aliases if alias != service_name(workload.app)]
    return [{"Target": means.networks[name], "Aliases": aliases} for name in names]


def _update(app: App) -> dict[str, Any]:
    swarm = swarm_of(app)
    return {
        "Parallelism": swarm.parallelism,
        "Delay": _nanoseconds(seconds(swarm.delay)),
        "Monitor": _nanoseconds(seconds(swarm.monitor)),
        "FailureAction": swarm.failure_action,
        "MaxFailureRatio": share(swarm.max_failure_ratio),
        "Order": order_of(app),
    }


def _endpoint(app: App) -> dict[str, Any]:
    swarm = swarm_of(app)
    ports = [
        {
            "Protocol": port.protocol,
            "TargetPort": port.container,
            "PublishedPort": port.host,
            "PublishMode": swarm.publish,
        }
        for port in map(parse_port, app.ports)
    ]
    return _drop_empty({"Mode": swarm.endpoint_mode, "Ports": ports})


def _mount(text: str, workload: Workload) -> dict[str, Any]:
    volume = parse_volume(text)
    mount: dict[str, Any] = {"Target": volume.target, "Source": volume.source}
    if volume.read_only:
        mount["ReadOnly"] = True
    if volume.is_bind:
        return {"Type": "bind", **mount}
    labels = {LABEL_PROJECT: workload.project, LABEL_APP: workload.app}
    return {"Type": "volume", **mount, "VolumeOptions": {"Labels": labels}}


def _secret(secret: SecretFile) -> dict[str, Any]:
    """Readable by whoever the process runs as, as docker has it."""
    return {
        "SecretID": secret.id,
        "SecretName": secret.name,
        "File": {"Name": secret.file, "UID": "0", "GID": "0", "Mode": 0o444},
    }


def _nanoseconds(duration: float) -> int:
    return round(duration * 1e9)


def _drop_empty(document: Document) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value not in (None, {}, [])}
