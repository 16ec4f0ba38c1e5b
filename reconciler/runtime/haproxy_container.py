"""The containers that a project's proxy runs in: one, and for a while the one it replaces.

It is in the host's network, so that it reaches containers by their addresses and may listen on
further ports without being made again. The engine starts it again whenever it ends. A newer one
starts beside the one that serves, gets its listening sockets from it, and then the former one
takes no connections any more, finishes those it has, and ends.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.errors import DeployError
from reconciler.host.engine import Engine
from reconciler.host.images import image_id_of, pull_image
from reconciler.host.job import Job
from reconciler.host.labels import LABEL_PROJECT, LABEL_PROXY
from reconciler.host.registry import registry_auth
from reconciler.host.secrets import Secrets
from reconciler.runtime.docker_api import DockerApi, Document, Refused
from reconciler.runtime.docker_config import restart_policy
from reconciler.runtime.haproxy_config import (
    CONFIG_FILE,
    INSIDE,
    MASTER_SOCKET,
    WORKER_SOCKET,
    Host,
)
from reconciler.spec.routes import ProxySettings

LOG_LINES = 8
_ROOT_CAPABILITIES = ("NET_BIND_SERVICE",)
_USER_CAPABILITIES = ("NET_BIND_SERVICE", "DAC_OVERRIDE", "CHOWN", "FOWNER")
"""Where the state belongs to another user than root, its files have to be read, and the sockets
given to that user."""


def container_hash(settings: ProxySettings, directory: Path, host: Host) -> str:
    """What the container is made of."""
    body = make_body(settings, directory, host, "")
    return f"v1:{hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]}"


def make_body(settings: ProxySettings, directory: Path, host: Host, project: str) -> dict[str, Any]:
    """The engine's create call, without our hash of it."""
    mode = f"mode,600,uid,{host.uid}"
    return {
        "Image": settings.image,
        "Entrypoint": ["haproxy"],
        "Cmd": [
            *("-W", "-S", f"{INSIDE}/{MASTER_SOCKET},{mode}", "-f", f"{INSIDE}/{CONFIG_FILE}"),
            *("-x", f"{INSIDE}/{WORKER_SOCKET}"),
        ],
        "User": "0:0",
        "WorkingDir": "/",
        "StopSignal": "SIGUSR1",
        "StopTimeout": 1,
        "Labels": {LABEL_PROJECT: project, LABEL_PROXY: project},
        "HostConfig": {
            "NetworkMode": "host",
            "UsernsMode": "host",
            "RestartPolicy": restart_policy("always"),
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "CapAdd": list(_USER_CAPABILITIES if host.uid else _ROOT_CAPABILITIES),
            "SecurityOpt": ["no-new-privileges"],
            "Mounts": [
                {"Type": "bind", "Source": str(directory), "Target": INSIDE, "ReadOnly": True},
                {
                    "Type": "bind",
                    "Source": str(directory / "run"),
                    "Target": f"{INSIDE}/run",
                    "ReadOnly": False,
                },
            ],
        },
    }


class Containers:
    """The proxy's containers of one project on one engine."""

    def __init__(self, engine: Engine, api: DockerApi, project: str) -> None:
        self._engine = engine
        self._api = api
        self._project = project

    def all(self) -> Sequence[Document]:
        """Those of this project, newest first."""
        return self._api.list(f"{LABEL_PROXY}={self._project}")

    def find(self, wanted: str) -> Document | None:
        """The one that was made for this hash."""
        return next((c for c in self.all() if c["Labels"].get(LABEL_PROXY_HASH) == wanted), None)

    def start(self, settings: ProxySettings, directory: Path, host: Host, job: Job) -> str:
        """The id of a started one that is what is wanted; made when there is none."""
        wanted = container_hash(settings, directory, host)
        found = self.find(wanted)
        if found and found["State"] not in ("running", "restarting"):
            self._api.remove(found["Id"], volumes=True)
            found = None
        if found:
            return str(found["Id"])
        self._fetch(settings.image, job)
        body = make_body(settings, directory, host, self._project)
        body["Labels"][LABEL_PROXY_HASH] = wanted
        name = f"{self._project}-proxy-{wanted.rpartition(':')[2][:8]}"
        job.log(f"starting the proxy {name} ({settings.image})")
        identity = self._api.create(name, body)
        self._api.start(identity)
        return identity

    def _fetch(self, image: str, job: Job) -> None:
        if image_id_of(self._engine, image):
            return
        auth = registry_auth(image, None, Secrets(Path("/")), "")
        pull_image(self._engine, image, auth, job)

    def others(self, wanted: str) -> list[str]:
        """The ids of all that weren't made for this hash."""
        return [c["Id"] for c in self.all() if c["Labels"].get(LABEL_PROXY_HASH) != wanted]

    def strangers(self, directory: Path) -> list[str]:
        """The ids of those that have another directory: the state was somewhere else before, and
        their listening sockets can't be taken over."""
        own = str(directory)
        return [c["Id"] for c in self.all() if all(m["Source"] != own for m in c["Mounts"])]

    def retire(self, container: str) -> None:
        """Let it finish what it has and end; nothing starts it again."""
        with suppress(Refused):  # it has ended
            self._api.set_restart_policy(container, restart_policy("no"))
            self._api.kill(container, "SIGUSR1")

    def remove_ended(self, containers: Sequence[str], patience: float) -> list[str]:
        """Remove those that end within so many seconds; the others."""
        deadline = time.monotonic() + patience
        left = list(containers)
        while left:
            for container in list(left):
                document = self._api.inspect(container)
                if document is None or not document["State"]["Running"]:
                    self._api.remove(container, volumes=True)
                    left.remove(container)
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return left

    def remove(self, container: str) -> None:
        """At once."""
        self._api.remove(container, volumes=True)

    def last_lines(self, container: str) -> str:
        """What it said last, without control characters."""
        lines = self._api.logs(container, LOG_LINES).decode("utf-8", "replace").splitlines()
        return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in lines)

    def restarts(self, container: str) -> int | None:
        """How often the engine had to start it again; None when it doesn't any more."""
        document = self._api.inspect(container)
        if document is None or document["State"]["Status"] not in ("running", "restarting"):
            return None
        return int(document.get("RestartCount") or 0)


LABEL_PROXY_HASH = f"{LABEL_PROXY}.hash"


def path_on_host(directory: Path, mounts: Sequence[Document]) -> Path:
    """What the engine knows `directory` by, for a process in a container with these mounts."""
    inside = (m for m in mounts if directory.is_relative_to(m["Destination"]))
    found = max(inside, key=lambda mount: len(mount["Destination"]), default=None)
    if found is None:
        raise DeployError(
            f"the state directory {directory} is in no volume of the container that this runs in",
            todo="Mount a volume or a directory of the host there; the proxy needs it, too.",
        )
    return Path(found["Source"]) / directory.relative_to(found["Destination"])


def check_local(engine: Engine) -> None:
    """Raises `DeployError` for an engine on another machine: its sockets are out of reach."""
    if not engine.url.startswith("unix:"):
        raise DeployError(
            f"`expose` needs an engine on this machine, and this one is at {engine.url}",
            todo="Run reconcile on the engine's machine, or publish `ports` instead.",
        )
