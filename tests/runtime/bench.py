"""A runtime under test, with what a test wants to make and to see, whichever runtime it is."""

import itertools
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.host.labels import LABEL_PROJECT, LABEL_RUN_HASH
from reconciler.plan.states import Container
from reconciler.runtime.base import Instance, Runtime, Workload
from reconciler.runtime.docker import DockerRuntime
from reconciler.runtime.docker_api import DockerApi, Refused
from reconciler.runtime.swarm import SwarmRuntime
from reconciler.spec.models import App
from reconciler.spec.plain import from_plain
from reconciler.testing import FakeRuntime
from tests.support.engine import BASE_IMAGE, PrivateEngine
from tests.support.sshd import SshHost
from tests.support.swarm import Swarm
from tests.support.system import wait_until

SERVE = (
    "sh",
    "-c",
    "trap 'exit 0' TERM; echo ${PAGE:-hello} >/tmp/index.html; httpd -p 8000 -h /tmp; "
    "while :; do sleep 1 & wait $!; done",
)
"""Answers on port 8000 with $PAGE, and stops at once on SIGTERM."""
STUBBORN = ("sh", "-c", "trap '' TERM; while :; do sleep 1; done")
"""Doesn't stop on SIGTERM."""

_numbers = itertools.count(1)


def make_app(**fields: Any) -> App:
    return from_plain(App, {"source": {"path": "."}, **fields})


class Bench(ABC):
    """Common to both."""

    image_id = "sha256:" + "1" * 64
    going_back_seconds = 0.5
    """How long `revert` may take while the old one is about to stop."""
    runtime: Runtime

    def __init__(self, runtime: Runtime, project: str, base_dir: Path) -> None:
        self.runtime = runtime
        self.project = project
        self.base_dir = base_dir
        self.lines: list[str] = []
        self.job = Job(log=self.lines.append)

    def workload(self, name: str = "web", **fields: Any) -> Workload:
        """A workload of a new deployment. `env` and `image_id` are its own, the rest is spec."""
        env = fields.pop("env", {})
        image_id = fields.pop("image_id", self.image_id)
        fields.setdefault("command", SERVE)
        deployment = f"d{next(_numbers):04d}"
        labels = {LABEL_PROJECT: self.project, LABEL_RUN_HASH: f"v1:{deployment}"}
        app = f"{self.project}/{name}"
        return Workload(app, deployment, image_id, make_app(**fields), env, self.base_dir, labels)

    def deploy(self, workload: Workload) -> Instance:
        return self.runtime.deploy(workload, self.job)

    def settled(self, name: str = "web", **fields: Any) -> Instance:
        """A workload that was deployed and verified."""
        workload = self.workload(name, **fields)
        instance = self.deploy(workload)
        self.runtime.settle(workload, self.job)
        return instance

    def containers(self, name: str = "web") -> tuple[Container, ...]:
        return self.runtime.observe(self.project).apps.get(f"{self.project}/{name}", ())

    def running(self, name: str = "web") -> list[str]:
        """Ids of the containers that run."""
        return [c.id for c in self.containers(name) if c.state == "running"]

    # What each runtime does in its own way

    @abstractmethod
    def unstartable(self) -> Workload:
        """Its container can be created and not started."""

    @abstractmethod
    def impossible(self) -> Workload:
        """Its container can't be created."""

    @abstractmethod
    def slow_to_stop(self) -> Instance:
        """A settled container that takes many seconds to stop."""

    @abstractmethod
    def end(self, instance: Instance) -> None:
        """Its process ends, and nothing starts it again."""


class FakeBench(Bench):
    runtime: FakeRuntime

    def unstartable(self) -> Workload:
        workload = self.workload()
        self.runtime.fail_start[workload.app] = "there is no program 'nope' in the image"
        return workload

    def impossible(self) -> Workload:
        workload = self.workload()
        self.runtime.fail_create[workload.app] = "the image is gone from the engine"
        return workload

    def slow_to_stop(self) -> Instance:
        instance = self.settled()
        self.runtime.stop_seconds = 20
        return instance

    def end(self, instance: Instance) -> None:
        self.runtime.exit(instance.id)


@dataclass
class Facts:
    """What the engine itself says of a container."""

    document: Any = field(repr=False)

    @property
    def started_at(self) -> str:
        return str(self.document["State"]["StartedAt"])

    @property
    def policy(self) -> str:
        return str(self.document["HostConfig"]["RestartPolicy"]["Name"])


class DockerBench(Bench):
    runtime: DockerRuntime

    def __init__(
        self,
        runtime: DockerRuntime,
        project: str,
        base_dir: Path,
        image_id: str,
        engine: PrivateEngine,
    ) -> None:
        super().__init__(runtime, project, base_dir)
        self.image_id = image_id
        self.engine = engine

    def facts(self, container: str) -> Facts:
        return Facts(self.engine.inspect(container))

    def unstartable(self) -> Workload:
        return self.workload(command=("nope",))

    def impossible(self) -> Workload:
        return self.workload(image_id="sha256:" + "0" * 64)

    def slow_to_stop(self) -> Instance:
        return self.settled(command=STUBBORN, stop_grace_period="20s")

    def end(self, instance: Instance) -> None:
        self.engine.docker("update", "--restart", "no", instance.id)
        self.engine.docker("kill", instance.id)


class SwarmBench(Bench):
    """Stops first and is watched briefly, as what the others promise is about one at a time."""

    runtime: SwarmRuntime
    going_back_seconds = 10

    def __init__(self, runtime: SwarmRuntime, project: str, base_dir: Path, swarm: Swarm) -> None:
        super().__init__(runtime, project, base_dir)
        self.swarm = swarm
        self.image = swarm.base_image()

    def workload(self, name: str = "web", **fields: Any) -> Workload:
        swarm = {
            "order": "stop-first",
            "monitor": "100ms",
            "endpoint_mode": "dnsrr",
            "failure_action": "pause",
        }
        fields["swarm"] = {**swarm, **fields.get("swarm", {})}
        fields.setdefault("networks", ["bridge"])  # on others each end takes two seconds more
        fields.setdefault("restart", "no")
        fields.setdefault("health", {"stable": "100ms"})
        fields.setdefault("stop_grace_period", "2s")
        image, secrets = fields.pop("image", self.image), fields.pop("secrets", {})
        workload = super().workload(name, runtime="swarm", **fields)
        return replace(workload, image=image, secrets=secrets)

    def service(self, name: str = "web") -> Any:
        """What the manager itself says of it."""
        return self.swarm.manager.request("GET", f"/services/{self.project}-{name}")

    def tasks(self, name: str = "web") -> list[Any]:
        return self.swarm.tasks(f"{self.project}-{name}")

    def unstartable(self) -> Workload:
        return self.workload(command=("nope",))

    def impossible(self) -> Workload:
        return self.workload(image=self.image[:-8] + "00000000")

    def slow_to_stop(self) -> Instance:
        return self.settled(command=STUBBORN, stop_grace_period="4s")

    def end(self, instance: Instance) -> None:
        (task,) = [t for t in self.tasks() if t["Status"]["State"] == "running"]
        (node,) = [node for node in self.swarm.nodes if node.id == task["NodeID"]]
        node.docker("kill", task["Status"]["ContainerStatus"]["ContainerID"])
        wait_until(lambda: instance.inspect().status == "exited")


@contextmanager
def open_docker_bench(
    engine: PrivateEngine, project: str, base_dir: Path, by: Engine | None = None
) -> Iterator[DockerBench]:
    """A bench on a private engine, with its base image; `by` a way to it that stays open."""
    light = by or Engine(engine.url)
    image_id = str(engine.request("GET", f"/images/{BASE_IMAGE}/json")["Id"])
    runtime = DockerRuntime(light, base_dir / "state")
    try:
        yield DockerBench(runtime, project, base_dir, image_id, engine)
    finally:
        if by is None:
            light.close()


@contextmanager
def open_ssh_bench(host: SshHost, by: Engine, base_dir: Path) -> Iterator[DockerBench]:
    """A bench on another machine, through a way that stays open."""
    project = f"t{secrets.token_hex(4)}"
    try:
        with open_docker_bench(host.engine, project, base_dir, by) as bench:
            yield bench
    finally:
        host.engine.discard(project)


def make_double(api: DockerApi, name: str, labels: dict[str, str] | None = None) -> None:
    """One more network of this name than there is, as two processes at once get it from an old
    engine; a newer one doesn't let it happen, and refuses."""
    ours = {"reconciler.project": name}
    body = {"Name": name, "Driver": "bridge", "Labels": ours if labels is None else labels}
    with suppress(Refused):
        api._send("POST", "/networks/create", body=body)


@contextmanager
def open_swarm_bench(swarm: Swarm, base_dir: Path) -> Iterator[SwarmBench]:
    """A bench on the session's Swarm, with a project of its own."""
    light = Engine(swarm.manager.url)
    project = f"t{secrets.token_hex(4)}"
    try:
        yield SwarmBench(SwarmRuntime(light, base_dir / "state"), project, base_dir, swarm)
    finally:
        light.close()
        swarm.repair()
        swarm.discard(project)
