"""What every runtime can do. One module a kind; `RUNTIMES` in the package lists them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.plan.states import Observed
from reconciler.spec.hosts import LOCAL
from reconciler.spec.models import App, Health
from reconciler.values import frozen

if TYPE_CHECKING:
    from reconciler.host.images import Auth


@frozen
class Workload:
    """What shall run: a container of an app, with everything that it needs.

    `app` is `<project>/<name>`. `env` has the values themselves. `base_dir` is what relative bind
    mounts start from. `labels` are this program's own (`LABEL_…`); the user's are in `spec`.
    `former`: names of the app that its older containers may still carry.
    `replica`: which of the app's containers on a host it is, from 1, and `host` the name of that
    host. `image`: the image as `repository@sha256:…` where a registry has it, else empty, and
    `auth` what that registry asks for. `secrets`: values of files below /run/secrets by name, for
    a Swarm.
    """

    app: str
    deployment: str
    image_id: str
    spec: App
    env: Mapping[str, str]
    base_dir: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    former: tuple[str, ...] = ()
    replica: int = 1
    host: str = LOCAL
    image: str = ""
    auth: Auth | None = field(default=None, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def beside(self) -> bool:
        """Whether it starts while the old ones go on."""
        return self.spec.strategy != "recreate"

    @property
    def project(self) -> str:
        return self.app.partition("/")[0]

    @property
    def name(self) -> str:
        return self.app.partition("/")[2]


@frozen
class InstanceState:
    """`status` as docker's State.Status; `health` as its HEALTHCHECK's, empty without one.

    `restarts` counts what the engine did by itself. `addresses` are the container's own
    addresses that `dial` reaches, `published` maps a container port (tcp) to the
    `(address, port)` where it can be reached as well. `memory_limit` is in bytes, 0 for none.
    `health_command` is the argv of the image's HEALTHCHECK.
    """

    status: str
    restarts: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    health: str = ""
    health_output: str = ""
    error: str = ""
    addresses: tuple[str, ...] = ()
    published: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    memory_limit: int = 0
    health_command: tuple[str, ...] = ()


class Instance(Protocol):
    """One running copy of an app, as the health check sees it."""

    @property
    def id(self) -> str:
        """What the runtime knows it by."""

    def inspect(self) -> InstanceState:
        """Its state now. Raises `EngineUnavailable`; `HealthError` when it is gone."""

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """A TCP connection to one of the places that `inspect` named. Raises `OSError`."""

    def execute(self, argv: tuple[str, ...], timeout: float) -> tuple[int, str]:
        """Run a command inside: exit code and the last lines of its output.

        124 when it didn't end within `timeout` seconds, 126 or 127 when it can't be run at all.
        """

    def last_lines(self, count: int) -> list[str]:
        """The last lines that it wrote to stdout and stderr. Never fails."""

    def listening(self) -> tuple[tuple[str, int], ...]:
        """`(address, tcp port)` of every listening socket inside; empty when that can't be seen."""


@runtime_checkable
class SelfChecking(Protocol):
    """An instance that stands for several, of which its runtime itself says when all work."""

    def verify(self, health: Health, job: Job) -> str:
        """Wait until it works, and return how that was seen. Raises `HealthError` with the reason,
        `EngineUnavailable`, or the job's `Stopped`."""


@frozen
class Task:
    """A command that runs once for a deployment, in a container of its own beside the app.

    `name` tells it from the deployment's other tasks, such as `pre-deploy-1`; `title` names it
    to people. `timeout` is in seconds.
    """

    name: str
    title: str
    command: tuple[str, ...]
    timeout: float


@frozen
class TaskEnd:
    """How a task ended: its exit code, and the last line that it wrote."""

    code: int
    last_line: str = ""


@frozen
class Replica:
    """A container of an app that runs. `address` is its own, empty where that isn't known."""

    id: str
    deployment: str
    number: int = 1
    address: str = ""
    host: str = LOCAL


class Runtime(Protocol):
    """Where containers run. `deploy` and the three after it are safe to repeat after a crash."""

    def observe(self, project: str) -> Observed:
        """All containers of the project's apps, with one list call."""

    def instance(self, app: str, container: str) -> Instance:
        """One of the containers that were observed, for a closer look."""

    def deploy(self, workload: Workload, job: Job) -> Instance:
        """Start the workload's container and return it.

        The container is created first (`image_id` must be present); only then the old one of the
        same number is stopped and set aside, still able to come back, unless the new one starts
        `beside` it. A container of the same deployment and number that is already there is used,
        not doubled. When it can't be started, raises `DeployError` with the old one still set
        aside; when the job is cancelled, its reason, within a second and at any point: the caller
        calls `revert`.
        """

    def settle(self, workload: Workload, job: Job) -> None:
        """The new containers are verified: stop and remove every other one of this app, and those
        of its own above the number of replicas.

        Doesn't ask whether the job is cancelled. Raises `DeployError` when the new one is gone.
        """

    def revert(self, workload: Workload, job: Job) -> bool:
        """Remove the new containers and let those that were set aside serve again.

        Returns whether the new one had been started and an old one serves again, or still: False
        when nothing of the old one was at stake, or when there is none. Doesn't ask whether the
        job is cancelled. Raises `DeployError` when the old one can't be started any more.
        """

    def remove(self, app: str, job: Job, containers: Collection[str] | None = None) -> int:
        """Stop and remove all containers of this app, or those of these ids; returns how many.

        Volumes and networks stay.
        """

    def running(self, app: str, former: Collection[str] = ()) -> tuple[Replica, ...]:
        """The app's containers that run, of all deployments, by number and then newest first.

        `former`: names of the app that its older containers may still carry.
        """

    def run_task(self, workload: Workload, task: Task, job: Job) -> TaskEnd:
        """Run a command once, with the workload's image, environment, volumes and networks.

        Its output goes to `job.log`, a line at a time. A task of this name that the deployment
        has begun before is awaited, or its end is read: it never runs twice. Raises `HookError`
        when it doesn't end in time, `DeployError` when it can't be run, and the job's reason
        within a second; it has ended then.
        """

    def clear_tasks(self, app: str) -> None:
        """Forget the app's tasks: nobody will ask again how they ended."""


MakeRuntime = Callable[[Engine, Path, str], Runtime]
"""From an engine, the state directory (for locks between processes) and the name of the engine's
host to a runtime."""
