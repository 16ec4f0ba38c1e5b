"""What the tests of runtimes share: a bench for each runtime."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.host.engine import Engine
from reconciler.runtime.swarm import SwarmRuntime
from reconciler.testing import FakeRuntime
from tests.runtime.bench import (
    Bench,
    DockerBench,
    FakeBench,
    SwarmBench,
    open_docker_bench,
    open_ssh_bench,
)
from tests.support.engine import PrivateEngine
from tests.support.sshd import SshHost
from tests.support.swarm import Swarm


@pytest.fixture
def fake_bench(tmp_path: Path) -> FakeBench:
    return FakeBench(FakeRuntime(), "shop", tmp_path)


@pytest.fixture
def docker_bench(engine: PrivateEngine, project: str, tmp_path: Path) -> Iterator[DockerBench]:
    with open_docker_bench(engine, project, tmp_path) as bench:
        yield bench


@pytest.fixture
def ssh_bench(ssh_host: SshHost, engine_by_ssh: Engine, tmp_path: Path) -> Iterator[DockerBench]:
    with open_ssh_bench(ssh_host, engine_by_ssh, tmp_path) as bench:
        yield bench


@pytest.fixture
def swarm_bench(swarm: Swarm, tmp_path: Path) -> Iterator[SwarmBench]:
    light = Engine(swarm.manager.url)
    project = f"t{secrets.token_hex(4)}"
    yield SwarmBench(SwarmRuntime(light, tmp_path / "state"), project, tmp_path, swarm)
    light.close()
    swarm.discard(project)


@pytest.fixture(params=["fake", "docker", "ssh", "swarm"])
def bench(request: pytest.FixtureRequest) -> Bench:
    found: Bench = request.getfixturevalue(f"{request.param}_bench")
    return found
