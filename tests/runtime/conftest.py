"""What the tests of runtimes share: a bench for each runtime."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.host.engine import Engine
from reconciler.testing import FakeRuntime
from tests.runtime.bench import (
    Bench,
    DockerBench,
    FakeBench,
    SwarmBench,
    open_docker_bench,
    open_ssh_bench,
    open_swarm_bench,
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
    with open_swarm_bench(swarm, tmp_path) as bench:
        yield bench


@pytest.fixture
def lonely_swarm_bench(broken_swarm: Swarm, tmp_path: Path) -> Iterator[SwarmBench]:
    """On a Swarm that may be broken meanwhile."""
    with open_swarm_bench(broken_swarm, tmp_path) as bench:
        yield bench


RUNTIMES = ("fake", "docker", "ssh", "swarm")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that asks for a `bench`, unless its module has one of its own, for each runtime."""
    if "bench" in metafunc.fixturenames and not hasattr(metafunc.module, "bench"):
        metafunc.parametrize("bench", RUNTIMES, indirect=True)


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Bench:
    found: Bench = request.getfixturevalue(f"{request.param}_bench")
    return found
