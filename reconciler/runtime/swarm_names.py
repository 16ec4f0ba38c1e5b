"""The names and labels that tie services, tasks and secrets of a Swarm to apps. Pure.

A service carries the labels of `host.labels`, as a container does on a single engine. What its
tasks' containers carry has names of its own: on a manager they would look like containers that
the runtime `docker` made, and be cleaned away.
"""

from __future__ import annotations

import hashlib
import re

from reconciler.host.labels import LABEL

LABEL_SERVICE_APP = f"{LABEL}.service.app"
LABEL_SERVICE_DEPLOYMENT = f"{LABEL}.service.deployment"
"""On the containers of tasks: which app, and which deployment of it."""
LABEL_SPEC = f"{LABEL}.spec"
"""What the service was made of, as `swarm_drift.fingerprint` says it."""
LABEL_SETTLED = f"{LABEL}.settled"
"""The deployment that was verified last; that of before it plays no part any more."""
LABEL_REVERTED = f"{LABEL}.reverted"
"""The deployment that was taken back last."""
LABEL_IMAGE_ID = f"{LABEL}.image-id"

LONGEST = 63
_SERVICE = re.compile(r"[a-zA-Z0-9](?:[-_]*[a-zA-Z0-9]+)*")
_DIGITS = 8


def service_name(app: str) -> str:
    """`<project>-<app>`; where a Swarm wouldn't take that, as much of it and a hash."""
    return _fit(app.replace("/", "-"), LONGEST)


def task_service_name(app: str, deployment: str, task: str) -> str:
    """The service of a one-off task."""
    return _fit(f"{app.replace('/', '-')}-{deployment}-{task}", LONGEST)


def secret_name(app: str, name: str, digest: str) -> str:
    """`<project>-<app>-<name>-<hash>`; a Swarm's secrets have up to 64 characters."""
    return f"{_fit(f'{service_name(app)}-{name}', LONGEST - len(digest))}-{digest}"


def _fit(name: str, longest: int) -> str:
    if len(name) <= longest and _SERVICE.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    plain = re.sub(r"[^a-zA-Z0-9]+", "-", name)[: longest - _DIGITS - 1].strip("-")
    return f"{plain}-{digest}"


def identify(service: str, deployment: str) -> str:
    """The id of what stands for a deployment's tasks, from the service's id."""
    return f"{service}.{deployment}"


def service_of(identity: str) -> str:
    """The service's id in an id of `identify`."""
    return identity.partition(".")[0]


def deployment_of(identity: str) -> str:
    """The deployment in an id of `identify`."""
    return identity.partition(".")[2]
