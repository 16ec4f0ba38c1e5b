"""What services need of the Swarm: overlay networks and secrets, made when missing.

A secret can't be changed, so each value is a secret of its own; its name has a hash of the value,
made with a key that only this program has. The networks stay, and the secrets go when no service
uses them any more.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from reconciler.errors import DeployError
from reconciler.host.job import Job
from reconciler.host.labels import LABEL_APP, LABEL_PROJECT
from reconciler.host.lock import locked
from reconciler.runtime.base import Workload
from reconciler.runtime.docker_api import Refused
from reconciler.runtime.docker_config import our_labels
from reconciler.runtime.swarm_api import SwarmApi
from reconciler.runtime.swarm_crew import Document
from reconciler.runtime.swarm_names import secret_name
from reconciler.runtime.swarm_spec import Means, SecretFile, network_names

HOST_NETWORK = "host"
_KEY_BYTES = 32
_DIGITS = 12


class SwarmMeans:
    """`state_dir` has the key for the names of secrets, and locks."""

    def __init__(self, api: SwarmApi, state_dir: Path) -> None:
        self._api = api
        self._state_dir = state_dir

    def check(self, workload: Workload) -> None:
        """Raises `DeployError` for a network that is there and can't be used; makes nothing."""
        for name in network_names(workload):
            self._find_network(name, workload)

    def ensure(self, workload: Workload, job: Job) -> Means:
        """All that the workload's service refers to."""
        networks = {name: self._network(name, workload, job) for name in network_names(workload)}
        return Means(networks, self._secrets(workload, job))

    # -- networks ----------------------------------------------------------------------------

    def _network(self, name: str, workload: Workload, job: Job) -> str:
        if found := self._find_network(name, workload):
            return found
        with locked(self._state_dir / "locks" / f"network-{name}", job):
            if not self._find_network(name, workload):
                job.log(f"creating the overlay network {name}")
                self._api.create_overlay(name, {LABEL_PROJECT: workload.project})
        return self._find_network(name, workload)

    def _find_network(self, name: str, workload: Workload) -> str:
        """Its id; empty when there is none."""
        found = self._api.networks(name)
        usable = [one for one in found if one["Scope"] == "swarm" or name == HOST_NETWORK]
        if found and not usable:
            raise DeployError(
                f"the network {name} is a {found[0]['Driver']} network of one machine, which the "
                "tasks of a service can't join",
                app=workload.app,
                todo="Give another name in `networks`, or remove it when nothing uses it.",
            )
        return str(usable[0]["Id"]) if usable else ""

    # -- secrets -----------------------------------------------------------------------------

    def _secrets(self, workload: Workload, job: Job) -> list[SecretFile]:
        if not workload.secrets:
            return []
        known = {one["Spec"]["Name"]: one["ID"] for one in self._own_secrets(workload.app)}
        files = []
        for file, value in sorted(workload.secrets.items()):
            name = secret_name(workload.app, file, self._digest(value))
            if name not in known:
                job.log(f"creating the secret {name}")
                data = base64.b64encode(value.encode()).decode()
                known[name] = self._create_secret(name, data, workload)
            files.append(SecretFile(file, known[name], name))
        return files

    def _create_secret(self, name: str, data: str, workload: Workload) -> str:
        try:
            return self._api.create_secret(name, data, our_labels(workload))
        except Refused as error:
            made = {one["Spec"]["Name"]: one["ID"] for one in self._own_secrets(workload.app)}
            if name in made:  # somebody else was faster
                return str(made[name])
            raise DeployError(
                f"the secret {name} can't be made: {error.text}",
                app=workload.app,
                todo="Correct the secret, or remove what has its name (docker secret rm).",
            ) from error

    def drop_secrets(self, app: str, kept: Document | None) -> None:
        """Remove the app's secrets but those that the spec `kept` refers to."""
        container = ((kept or {}).get("TaskTemplate") or {}).get("ContainerSpec") or {}
        used = {one["SecretID"] for one in container.get("Secrets") or ()}
        for secret in self._own_secrets(app):
            if secret["ID"] not in used:
                self._api.remove_secret(secret["ID"])

    def _own_secrets(self, app: str) -> list[Document]:
        return list(self._api.secrets(f"{LABEL_APP}={app}"))

    def _digest(self, value: str) -> str:
        return hmac.digest(_load_key(self._state_dir), value.encode(), "sha256").hex()[:_DIGITS]


def _load_key(state_dir: Path) -> bytes:
    """Made at first use. Whoever is second takes what the first has made."""
    path = state_dir / "swarm.key"
    with suppress(FileNotFoundError):
        return path.read_bytes()
    state_dir.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f"swarm.key.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
    with suppress(FileExistsError):
        os.link(made, path)
    made.unlink()
    return path.read_bytes()
