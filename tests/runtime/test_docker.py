"""The docker runtime on a real engine: what a container gets, and what must never happen."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import DeployError, EngineUnavailable
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.runtime import RUNTIMES
from reconciler.runtime.docker import DockerRuntime
from reconciler.runtime.docker_api import DockerApi
from reconciler.runtime.docker_networks import ensure_network
from reconciler.spec.hosts import LOCAL
from tests.runtime.bench import STUBBORN, DockerBench, make_double
from tests.support.engine import PrivateEngine


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that a process on the host has."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def inspect(bench: DockerBench, **spec: Any) -> Any:
    return bench.engine.inspect(bench.deploy(bench.workload(**spec)).id)


def refusal(bench: DockerBench, **spec: Any) -> DeployError:
    workload = bench.workload(**spec)
    with pytest.raises(DeployError) as caught:
        bench.deploy(workload)
    bench.runtime.revert(workload, bench.job)
    return caught.value


# What a container gets


def test_container_has_what_the_spec_says(docker_bench: DockerBench) -> None:
    found = inspect(
        docker_bench,
        env={"PAGE": "hi", "SPACED": " a=b "},
        user="65534",
        workdir="/tmp",
        labels={"team": "shop"},
        resources={"cpus": 0.5, "memory": "64m", "pids": 50},
        restart="on-failure:3",
        stop_grace_period="3s",
    )
    config, host = found["Config"], found["HostConfig"]
    assert {"PAGE=hi", "SPACED= a=b "} <= set(config["Env"])
    assert (config["User"], config["WorkingDir"], config["StopTimeout"]) == ("65534", "/tmp", 3)
    assert config["Labels"]["team"] == "shop"
    assert config["Labels"]["reconciler.app"] == f"{docker_bench.project}/web"
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (500_000_000, 64 << 20, 50)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert found["Image"] == docker_bench.image_id


def test_container_publishes_its_ports(docker_bench: DockerBench) -> None:
    port = free_port()
    instance = docker_bench.deploy(docker_bench.workload(ports=[f"127.0.0.1:{port}:8000"]))
    assert instance.inspect().published == {8000: ("127.0.0.1", port)}
    socket.create_connection(("127.0.0.1", port), 5).close()


def test_entrypoint_taken_away(docker_bench: DockerBench) -> None:
    found = inspect(docker_bench, entrypoint=[], command=["sleep", "600"], stop_grace_period="0s")
    assert (found["Path"], found["Args"]) == ("sleep", ["600"])


def test_instance_executes(docker_bench: DockerBench) -> None:
    instance = docker_bench.deploy(docker_bench.workload())
    code, said = instance.execute(("sh", "-c", "echo out; echo err >&2; exit 7"), 5)
    assert (code, set(said.splitlines())) == (7, {"out", "err"})  # two streams, in no order
    assert instance.execute(("sleep", "60"), 0.2) == (124, "did not end within 0.2 s")
    code, said = instance.execute(("nope",), 5)
    assert code in (126, 127)
    assert "nope" in said
    assert instance.listening() == (("::", 8000),)


def test_instance_output_without_control_characters(docker_bench: DockerBench) -> None:
    script = "printf 'one\\n\\033[31mtwo\\n'; exec sleep 600"
    workload = docker_bench.workload(command=["sh", "-c", script], stop_grace_period="0s")
    instance = docker_bench.deploy(workload)
    assert instance.last_lines(5) == ["one", " [31mtwo"]
    assert instance.last_lines(1) == [" [31mtwo"]


def test_instance_output_that_can_not_be_read(docker_bench: DockerBench) -> None:
    instance = docker_bench.settled()
    docker_bench.engine.docker("rm", "-f", instance.id)
    (line,) = instance.last_lines(5)
    assert line.startswith("(its output can't be read: ")


# Networks


def resolve(bench: DockerBench, name: str, network: str) -> str:
    argv = ("run", "--rm", "--network", network, "--label", f"t={bench.project}", "busybox:stable")
    return bench.engine.docker(*argv, "nslookup", name)


def test_apps_find_each_other_by_name(docker_bench: DockerBench) -> None:
    instance = docker_bench.settled("db")
    (address,) = instance.inspect().addresses
    assert address in resolve(docker_bench, "db", docker_bench.project)
    assert address in resolve(docker_bench, f"{docker_bench.project}-db", docker_bench.project)


def test_networks_are_all_joined_before_the_start(docker_bench: DockerBench) -> None:
    front, back = f"{docker_bench.project}-front", f"{docker_bench.project}-back"
    command = ["sh", "-c", "ls /sys/class/net; sleep 600"]
    workload = docker_bench.workload(
        networks=[front, back], command=command, stop_grace_period="0s"
    )
    instance = docker_bench.deploy(workload)
    assert {"eth0", "eth1"} <= set(instance.last_lines(5))
    assert len(instance.inspect().addresses) == 2
    for network in (front, back):
        resolve(docker_bench, "web", network)
        made = docker_bench.engine.request("GET", f"/networks/{network}")
        assert made["Labels"]["reconciler.project"] == docker_bench.project


def test_network_of_somebody_else_is_used_and_stays(docker_bench: DockerBench) -> None:
    name = f"{docker_bench.project}-edge"
    made = docker_bench.engine.docker("network", "create", name)
    docker_bench.settled(networks=[name])
    docker_bench.runtime.remove(f"{docker_bench.project}/web", docker_bench.job)
    assert docker_bench.engine.request("GET", f"/networks/{name}")["Id"] == made


def test_network_of_the_engine_itself(docker_bench: DockerBench) -> None:
    instance = docker_bench.deploy(docker_bench.workload(networks=["bridge"]))
    assert len(instance.inspect().addresses) == 1


def test_network_is_made_once_by_many(engine: PrivateEngine, project: str, tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def ensure() -> None:
        own = DockerApi(Engine(engine.url))
        barrier.wait()
        ensure_network(own, project, {"reconciler.project": project}, tmp_path, Job())

    threads = [threading.Thread(target=ensure) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(DockerApi(Engine(engine.url)).networks(project)) == 1


def test_network_made_twice_by_a_crash(docker_bench: DockerBench) -> None:
    """The one that is in use stays."""
    docker_bench.settled()
    api = DockerApi(Engine(docker_bench.engine.url))
    (used,) = api.networks(docker_bench.project)
    make_double(api, docker_bench.project)
    docker_bench.settled()
    assert [network["Id"] for network in api.networks(docker_bench.project)] == [used["Id"]]


# Volumes


def test_volume_outlives_its_containers(docker_bench: DockerBench) -> None:
    name = f"{docker_bench.project}-data"
    first = docker_bench.settled(volumes=[f"{name}:/data"])
    first.execute(("sh", "-c", "echo kept >/data/file"), 5)
    second = docker_bench.settled(volumes=[f"{name}:/data"])
    assert second.execute(("cat", "/data/file"), 5) == (0, "kept")
    docker_bench.runtime.remove(f"{docker_bench.project}/web", docker_bench.job)
    volume = docker_bench.engine.request("GET", f"/volumes/{name}")
    assert volume["Labels"]["reconciler.app"] == f"{docker_bench.project}/web"


def test_volume_of_another_project_is_refused(docker_bench: DockerBench) -> None:
    name = f"{docker_bench.project}-theirs"
    docker_bench.engine.docker("volume", "create", "--label", "reconciler.project=other", name)
    old = docker_bench.settled()
    error = refusal(docker_bench, volumes=[f"{name}:/data"])
    assert "belongs to the project other" in error.what
    assert docker_bench.engine.inspect(old.id)["State"]["Running"]


def test_volume_of_somebody_else_is_used(docker_bench: DockerBench) -> None:
    name = f"{docker_bench.project}-data"
    docker_bench.engine.docker("volume", "create", name)
    docker_bench.settled(volumes=[f"{name}:/data"])
    assert docker_bench.engine.request("GET", f"/volumes/{name}")["Labels"] in (None, {})


def test_bind_mount_beside_the_spec(docker_bench: DockerBench) -> None:
    (docker_bench.base_dir / "conf").mkdir()
    (docker_bench.base_dir / "conf" / "a").write_text("from the host")
    instance = docker_bench.deploy(docker_bench.workload(volumes=["./conf:/etc/web:ro"]))
    assert instance.execute(("cat", "/etc/web/a"), 5) == (0, "from the host")
    assert instance.execute(("touch", "/etc/web/b"), 5)[0] == 1


def test_bind_mount_of_nothing_is_refused_and_not_made(docker_bench: DockerBench) -> None:
    old = docker_bench.settled()
    error = refusal(docker_bench, volumes=["./missing:/data"])
    missing = docker_bench.base_dir / "missing"
    assert str(missing) in error.what
    assert str(missing) in error.todo
    assert not missing.exists()
    assert docker_bench.running() == [old.id]


def test_anonymous_volume_of_what_served_is_kept_and_told(docker_bench: DockerBench) -> None:
    docker, project = docker_bench.engine.docker, docker_bench.project
    made = docker("create", docker_bench.image_id)
    image = docker("commit", "--change", "VOLUME /data", made, f"{project}-image")
    docker("rm", made)
    first = docker_bench.settled(image_id=image)
    (volume,) = (m["Name"] for m in docker_bench.engine.inspect(first.id)["Mounts"])
    failed = docker_bench.workload(image_id=image)
    (fresh,) = (
        m["Name"] for m in docker_bench.engine.inspect(docker_bench.deploy(failed).id)["Mounts"]
    )
    docker_bench.runtime.revert(failed, docker_bench.job)
    docker_bench.settled(image_id=image)
    names = {v["Name"] for v in docker_bench.engine.request("GET", "/volumes")["Volumes"]}
    assert volume in names
    assert fresh not in names
    assert any(volume[:12] in line and "/data" in line for line in docker_bench.lines)
    docker_bench.engine.discard(project)
    docker("volume", "rm", volume)
    docker("rmi", "-f", f"{project}-image")


# Names and ports of others


def test_name_of_a_foreign_container(docker_bench: DockerBench) -> None:
    name = f"{docker_bench.project}-web"
    foreign = docker_bench.engine.docker(
        "run", "-d", "--name", name, "busybox:stable", "sleep", "9"
    )
    error = refusal(docker_bench)
    assert name in error.what
    assert "docker rename" in error.todo
    assert docker_bench.containers() == ()
    assert docker_bench.engine.inspect(foreign)["Name"] == f"/{name}"


def test_port_of_a_foreign_container(docker_bench: DockerBench) -> None:
    """Refused before the old one is stopped."""
    port, name = free_port(), f"{docker_bench.project}-foreign"
    publish = f"127.0.0.1:{port}:1"
    argv = ("run", "-d", "--name", name, "-p", publish, "busybox:stable", "sleep", "600")
    docker_bench.engine.docker(*argv)
    old = docker_bench.settled()
    before = docker_bench.facts(old.id).started_at
    error = refusal(docker_bench, ports=[f"{port}:8000"])
    assert error.what == f"port {port}/tcp of the host is taken by the container {name}"
    assert docker_bench.facts(old.id).started_at == before


def test_port_of_a_process_on_the_host(docker_bench: DockerBench, taken: int) -> None:
    old = docker_bench.settled()
    workload = docker_bench.workload(ports=[f"127.0.0.1:{taken}:8000"])
    with pytest.raises(DeployError) as caught:
        docker_bench.deploy(workload)
    assert f"port {taken}/tcp of the host is taken by a process" in caught.value.what
    assert docker_bench.runtime.revert(workload, docker_bench.job)
    assert docker_bench.running() == [old.id]


def test_port_of_the_old_one_is_taken_over(docker_bench: DockerBench) -> None:
    ports = [f"127.0.0.1:{free_port()}:8000"]
    docker_bench.settled(ports=ports)
    new = docker_bench.settled(ports=ports)
    assert docker_bench.running() == [new.id]


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"command": ["nope"]}, "no program 'nope'"),
        ({"command": ["/etc/passwd"]}, "'/etc/passwd' in the image can't be executed"),
        ({"user": "nobody-such"}, "no user 'nobody-such'"),
        ({"volumes": ["/etc:/etc/passwd"]}, "/etc can't be mounted at /etc/passwd"),
        ({"resources": {"cpus": 9999}}, "limits"),
        ({"image_id": "sha256:" + "0" * 64}, "the image is gone"),
    ],
    ids=["program", "permission", "user", "mount", "cpus", "image"],
)
def test_refused_with_a_reason(docker_bench: DockerBench, spec: dict[str, Any], what: str) -> None:
    old = docker_bench.settled()
    error = refusal(docker_bench, **spec)
    assert what in error.what
    assert error.todo
    assert error.app == f"{docker_bench.project}/web"
    assert docker_bench.running() == [old.id]
    assert len(docker_bench.containers()) == 1


# The order and the number of calls


def short(requests: list[str]) -> list[str]:
    """`POST start`, `GET json`, …"""
    parts = [(line.split()[0], line.split()[1].partition("?")[0]) for line in requests]
    return [f"{method} {path.strip('/').split('/')[-1][:12]}" for method, path in parts]


@pytest.mark.parametrize(
    ("restart", "update"), [("unless-stopped", []), ("always", ["POST update"]), ("no", [])]
)
def test_calls_of_a_redeploy(
    docker_bench: DockerBench,
    engine: PrivateEngine,
    tmp_path: Path,
    restart: str,
    update: list[str],
) -> None:
    docker_bench.settled(restart=restart)
    workload = docker_bench.workload()
    with engine.recorder() as recorder:
        runtime = DockerRuntime(Engine(recorder.url), tmp_path)
        runtime.deploy(workload, Job())
        assert short(recorder.requests) == [
            "GET json",
            "GET networks",
            "POST create",
            "POST rename",
            *update,
            "POST stop",
            "POST start",
        ]
        recorder.clear()
        runtime.settle(workload, Job())
        assert [line.split()[0] for line in recorder.requests] == ["GET", "DELETE", "POST"]
        recorder.clear()
        runtime.deploy(workload, Job())
        runtime.settle(workload, Job())
        assert recorder.writes == []


def test_calls_of_observe(docker_bench: DockerBench, engine: PrivateEngine, tmp_path: Path) -> None:
    instance = docker_bench.settled()
    with engine.recorder() as recorder:
        runtime = DockerRuntime(Engine(recorder.url), tmp_path)
        observed = runtime.observe(docker_bench.project)
        (request,) = recorder.requests
    assert request.startswith("GET /containers/json?all=1&filters=")
    assert [c.id for c in observed.apps[f"{docker_bench.project}/web"]] == [instance.id]


def test_old_one_stops_with_its_own_grace(docker_bench: DockerBench) -> None:
    docker_bench.settled(command=STUBBORN, stop_grace_period="1s")
    docker_bench.lines.clear()
    docker_bench.deploy(docker_bench.workload(stop_grace_period="60s"))
    assert any("(up to 1 s)" in line for line in docker_bench.lines)


def test_restart_policy_while_aside_and_after(docker_bench: DockerBench) -> None:
    old = docker_bench.settled(restart="on-failure:5")
    workload = docker_bench.workload()
    docker_bench.deploy(workload)
    assert docker_bench.facts(old.id).policy == "no"
    docker_bench.runtime.revert(workload, docker_bench.job)
    policy = docker_bench.engine.inspect(old.id)["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 5}


def test_old_one_can_not_come_back(docker_bench: DockerBench, tmp_path: Path) -> None:
    (docker_bench.base_dir / "conf").mkdir()
    docker_bench.settled(volumes=["./conf:/conf"])
    workload = docker_bench.workload()
    docker_bench.deploy(workload)
    (docker_bench.base_dir / "conf").rmdir()
    with pytest.raises(DeployError):
        docker_bench.runtime.revert(workload, docker_bench.job)


def test_engine_that_is_not_there(tmp_path: Path, docker_bench: DockerBench) -> None:
    runtime = RUNTIMES["docker"](Engine(f"unix://{tmp_path}/none.sock"), tmp_path, LOCAL)
    with pytest.raises(EngineUnavailable):
        runtime.observe("shop")
    with pytest.raises(EngineUnavailable):
        runtime.deploy(docker_bench.workload(), Job())
