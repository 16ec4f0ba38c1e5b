"""Networks: made when missing, never twice, never removed.

Engines before 25 happily make twelve networks of one name when twelve ask at once
(`CheckDuplicate` doesn't help), and after that no container can join any of them by name. So
making one is guarded by a file lock between the processes of one state directory. A process that
dies inside of it may still leave a second one, which the next one that comes by takes away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.host.job import Job
from reconciler.host.labels import LABEL_PROJECT
from reconciler.host.lock import locked
from reconciler.runtime.docker_api import DockerApi, Document, Refused


def ensure_network(
    api: DockerApi, name: str, labels: Mapping[str, str], locks: Path, job: Job
) -> None:
    """Make the bridge network `name` unless there is one, whoever made it."""
    if len(api.networks(name)) == 1:
        return
    with locked(locks / f"network-{name}", job):
        if not api.networks(name):
            api.create_network(name, labels)
        _drop_doubles(api, api.networks(name))


def _drop_doubles(api: DockerApi, networks: Sequence[Document]) -> None:
    """Leave one. Takes only what this program made, newest first, and nothing that is used.

    Raises `Refused` as the engine would at the start, but before anything is stopped for it.
    """
    left = len(networks)
    for network in reversed(networks):
        if left > 1 and LABEL_PROJECT in (network.get("Labels") or {}):
            try:
                api.remove_network(network["Id"])
            except Refused:
                continue  # a container uses it: another one is the double
            left -= 1
    if left > 1:
        raise Refused(400, f"network {networks[0]['Name']} is ambiguous")
