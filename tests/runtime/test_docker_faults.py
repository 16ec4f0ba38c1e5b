"""An engine that refuses one kind of call now and then; everything else is real."""

from pathlib import Path

import pytest

from reconciler.errors import DeployError, DiskFull, HealthError
from reconciler.host.engine import Answer, Engine, Request
from reconciler.host.job import Job
from reconciler.runtime import docker_instance, docker_swap
from reconciler.runtime.docker import DockerRuntime
from reconciler.runtime.docker_api import DockerApi
from tests.runtime.bench import DockerBench, make_double
from tests.support.engine import PrivateEngine


class RefusingEngine(Engine):
    """Answers the next `times` calls whose path ends with `end` with a refusal."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.end, self.refusal, self.times = "", Answer(500, {}, b""), 0

    def refuse(self, end: str, status: int, text: str, times: int = 1) -> None:
        self.end, self.times = end, times
        self.refusal = Answer(status, {}, b'{"message": "%s"}' % text.encode())

    def send(self, request: Request, timeout: float = 30) -> Answer:
        if self.times and request.path.endswith(self.end):
            self.times -= 1
            return self.refusal
        return super().send(request, timeout)


@pytest.fixture
def refusing(engine: PrivateEngine) -> RefusingEngine:
    return RefusingEngine(engine.url)


@pytest.fixture
def runtime(refusing: RefusingEngine, tmp_path: Path) -> DockerRuntime:
    return DockerRuntime(refusing, tmp_path / "state")


def test_disk_full(
    docker_bench: DockerBench, refusing: RefusingEngine, runtime: DockerRuntime
) -> None:
    old = docker_bench.settled()
    refusing.refuse("/create", 500, "write /var/lib: no space left on device")
    with pytest.raises(DiskFull):
        runtime.deploy(docker_bench.workload(), Job())
    assert docker_bench.running() == [old.id]


def test_update_between_running_and_stopped(
    docker_bench: DockerBench, refusing: RefusingEngine, runtime: DockerRuntime
) -> None:
    old = docker_bench.settled(restart="always")
    refusing.refuse("/update", 500, "ttrpc: closed: unknown", times=2)
    runtime.deploy(docker_bench.workload(), Job())
    assert docker_bench.facts(old.id).policy == "no"


def test_update_that_stays_impossible(
    docker_bench: DockerBench, refusing: RefusingEngine, runtime: DockerRuntime
) -> None:
    old = docker_bench.settled(restart="always")
    workload = docker_bench.workload()
    refusing.refuse("/update", 500, "broken", times=6)
    with pytest.raises(DeployError, match="broken"):
        runtime.deploy(workload, Job())
    assert docker_bench.running() == [old.id]
    docker_bench.runtime.revert(workload, Job())
    refusing.refuse("/update", 400, "invalid")
    with pytest.raises(DeployError, match="invalid"):
        runtime.deploy(workload, Job())


def test_list_refused(refusing: RefusingEngine, runtime: DockerRuntime) -> None:
    refusing.refuse("/containers/json", 500, "no database")
    with pytest.raises(DeployError, match="the engine refused: no database"):
        runtime.observe("shop")
    refusing.refuse("/containers/json", 500, "no space left on device")
    with pytest.raises(DiskFull):
        runtime.remove("shop/web", Job())


def test_inspect_refused(
    docker_bench: DockerBench, refusing: RefusingEngine, runtime: DockerRuntime
) -> None:
    instance = runtime.deploy(docker_bench.workload(), Job())
    refusing.refuse(f"{instance.id}/json", 500, "no database")
    with pytest.raises(HealthError, match="no database"):
        instance.inspect()


def test_remove_refused(
    docker_bench: DockerBench, refusing: RefusingEngine, runtime: DockerRuntime
) -> None:
    instance = docker_bench.settled()
    refusing.refuse(instance.id, 500, "device or resource busy")
    with pytest.raises(DeployError, match="busy"):
        runtime.remove(f"{docker_bench.project}/web", Job())
    refusing.refuse(instance.id, 409, "removal of container is already in progress")
    assert runtime.remove(f"{docker_bench.project}/web", Job()) == 1


def test_create_refused_for_a_name(
    docker_bench: DockerBench,
    refusing: RefusingEngine,
    runtime: DockerRuntime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of something that can't be seen and doesn't go away."""
    monkeypatch.setattr(docker_swap, "IN_FLIGHT_SECONDS", 0.2)
    text = "Conflict. The container name /x is already in use by container 12."
    refusing.refuse("/containers/create", 409, text, times=100)
    with pytest.raises(DeployError, match="already in use"):
        runtime.deploy(docker_bench.workload(), Job())


def test_network_create_refused(
    docker_bench: DockerBench, refusing: RefusingEngine, runtime: DockerRuntime
) -> None:
    refusing.refuse(
        "/networks/create",
        403,
        "could not find an available, non-overlapping IPv4 "
        "address pool among the defaults to assign to the network",
    )
    with pytest.raises(DeployError, match="no addresses left"):
        runtime.deploy(docker_bench.workload(), Job())
    refusing.refuse("/networks/create", 409, "network with name x already exists")
    with pytest.raises(DeployError):  # it was said to be there, and isn't
        runtime.deploy(docker_bench.workload(), Job())


def test_network_twice_and_none_can_go(docker_bench: DockerBench) -> None:
    """One is in use, the other isn't ours."""
    old = docker_bench.settled()
    api = DockerApi(Engine(docker_bench.engine.url))
    make_double(api, docker_bench.project, labels={})
    if len(api.networks(docker_bench.project)) == 1:
        return  # an engine that can't get into this state
    with pytest.raises(DeployError, match="more than one network") as caught:
        docker_bench.deploy(docker_bench.workload())
    assert "docker network rm" in caught.value.todo
    assert docker_bench.running() == [old.id]


def test_listening_seen_from_inside(
    docker_bench: DockerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the host's /proc isn't the engine's."""
    monkeypatch.setattr(docker_instance, "_read_proc", lambda *_: [])
    instance = docker_bench.deploy(docker_bench.workload())
    assert instance.listening() == (("::", 8000),)
    docker_bench.engine.docker("stop", instance.id)
    assert instance.listening() == ()


def test_deploy_repeated_after_its_container_was_stopped(docker_bench: DockerBench) -> None:
    workload = docker_bench.workload()
    first = docker_bench.deploy(workload)
    docker_bench.engine.docker("stop", first.id)
    assert docker_bench.deploy(workload).id == first.id
    assert docker_bench.running() == [first.id]


def test_revert_to_one_without_a_restart_policy(docker_bench: DockerBench) -> None:
    old = docker_bench.settled(restart="no")
    workload = docker_bench.workload()
    docker_bench.deploy(workload)
    assert docker_bench.runtime.revert(workload, Job())
    assert docker_bench.facts(old.id).policy == "no"
    assert docker_bench.running() == [old.id]
