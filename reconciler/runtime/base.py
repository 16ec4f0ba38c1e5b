"""What every runtime can do. One module a kind; `RUNTIMES` in the package lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reconciler.host.job import Job
from reconciler.host.labels import (
    LABEL,
    LABEL_APP,
    LABEL_BUILD_HASH,
    LABEL_DEPLOYMENT,
    LABEL_PROJECT,
    LABEL_REVISION,
    LABEL_RUN_HASH,
)
from reconciler.plan.states import Observed
from reconciler.spec.models import App

__all__ = [
    "LABEL",
    "LABEL_APP",
    "LABEL_BUILD_HASH",
    "LABEL_DEPLOYMENT",
    "LABEL_PROJECT",
    "LABEL_REVISION",
    "LABEL_RUN_HASH",
    "Instance",
    "InstanceState",
    "Runtime",
    "Workload",
]


@dataclass(frozen=True)
class Workload:
    """What shall run: one app's container, with everything that it needs.

    `app` is `<project>/<name>`. `env` has the values themselves. `base_dir` is what relative bind
    mounts start from. `labels` are this program's own (`host.labels`); the user's are in `spec`.
    """

    app: str
    deployment: str
    image_id: str
    spec: App
    env: Mapping[str, str]
    base_dir: Path
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def project(self) -> str:
        return self.app.partition("/")[0]

    @property
    def name(self) -> str:
        return self.app.partition("/")[2]


class Instance(Protocol):
    """One running copy of an app, as the health check sees it."""

    id: str

    def inspect(self) -> InstanceState:
        """Its state now. Raises `EngineUnavailable`; `HealthError` when it is gone."""

    def execute(self, argv: tuple[str, ...], timeout: float) -> tuple[int, str]:
        """Run a command inside: exit code and the last lines of its output."""

    def last_lines(self, count: int) -> list[str]:
        """The last lines that it wrote to stdout and stderr."""


@dataclass(frozen=True, slots=True)
class InstanceState:
    """`status` as docker's State.Status; `health` as its HEALTHCHECK's, empty without one.

    `addresses` are the container's own addresses, `published` maps a container port (tcp) to
    the `(address, port)` of the host where it can be reached as well.
    """

    status: str
    restarts: int
    exit_code: int
    oom_killed: bool
    health: str = ""
    health_output: str = ""
    error: str = ""
    addresses: tuple[str, ...] = ()
    published: Mapping[int, tuple[str, int]] = field(default_factory=dict)


class Runtime(Protocol):
    """Where containers run. `deploy` and the two after it are safe to repeat after a crash."""

    def observe(self, project: str) -> Observed:
        """All containers of the project's apps, with one list call."""

    def deploy(self, workload: Workload, job: Job) -> Instance:
        """Start the workload's container and return it.

        The container is created first (`image_id` must be present); only then the old one is
        stopped and set aside, still able to come back. A container of the same deployment that
        is already there is used, not doubled. When it can't be started, raises `DeployError`
        with the old one still set aside: the caller calls `revert`.
        """

    def settle(self, workload: Workload, job: Job) -> None:
        """The new container is verified: remove every other container of this app."""

    def revert(self, workload: Workload, job: Job) -> bool:
        """Remove the new container and let the one that was set aside serve again.

        Returns whether an old one had been stopped and serves again.
        """

    def remove(self, app: str, job: Job) -> int:
        """Stop and remove all containers of this app; returns how many."""
