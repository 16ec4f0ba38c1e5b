"""Networks: made when missing, never twice, never removed.

Engines before 25 happily make twelve networks of one name when twelve ask at once
(`CheckDuplicate` doesn't help), and after that no container can join any of them by name. So
making one is guarded by a file lock between the processes of one state directory.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reconciler.runtime.docker_api import DockerApi


def ensure_network(api: DockerApi, name: str, labels: Mapping[str, str], state_dir: Path) -> None:
    """Make the bridge network `name` unless there is one, whoever made it."""
    if api.has_network(name):
        return
    with _locked(state_dir / "locks" / f"network-{name}"):
        if not api.has_network(name):
            api.create_network(name, labels)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
