"""A process that replaces the container that it runs in: nothing ends before the new one serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import DeployError
from reconciler.host.engine import Engine
from reconciler.runtime.docker import DockerRuntime
from tests.runtime.bench import DockerBench
from tests.runtime.test_docker import free_port
from tests.support.system import wait_until


def inside(bench: DockerBench, container: str, tmp_path: Path) -> DockerRuntime:
    """The runtime of a process in that container."""
    return DockerRuntime(Engine(bench.engine.url), tmp_path / "state", container)


@pytest.mark.parametrize("restart", ["unless-stopped", "always"])
def test_own_container_replaced(docker_bench: DockerBench, tmp_path: Path, restart: str) -> None:
    bench = docker_bench
    old = bench.settled(restart=restart).id
    runtime = inside(bench, old, tmp_path)

    bad = bench.workload(restart=restart)
    assert set(bench.running()) == {old}
    new = runtime.deploy(bad, bench.job).id
    assert set(bench.running()) == {old, new}
    assert runtime.revert(bad, bench.job)  # the new one had started, and the old one serves
    assert (bench.running(), bench.facts(old).policy) == ([old], restart)

    good = bench.workload(restart=restart)
    new = runtime.deploy(good, bench.job).id
    assert runtime.deploy(good, bench.job).id == new
    runtime.settle(good, bench.job)
    wait_until(lambda: bench.running() == [new])
    names = {c.id: c.name for c in bench.containers()}
    assert names == {new: f"{bench.project}-web", old: names[old]}
    if restart == "always":
        assert bench.facts(old).policy == "no"

    bench.runtime.settle(good, bench.job)  # as the process in the new one does
    assert [c.id for c in bench.containers()] == [new]


def test_own_container_publishes_the_port(docker_bench: DockerBench, tmp_path: Path) -> None:
    port = f"127.0.0.1:{free_port()}:8000"
    old = docker_bench.settled(ports=[port]).id
    runtime = inside(docker_bench, old, tmp_path)
    with pytest.raises(DeployError, match="reconcile itself"):
        runtime.deploy(docker_bench.workload(ports=[port]), docker_bench.job)
    assert docker_bench.running() == [old]
    assert len(docker_bench.containers()) == 1
