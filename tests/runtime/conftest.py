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


SHORT_ON_A_SWARM = (
    "test_deploy_first_time",
    "test_settle_without_the_new_one_removes_nothing",
    "test_revert_puts_the_old_one_back",
    "test_deploy_that_can_not_start",
    "test_deploy_that_can_not_be_created_stops_nothing",
    "test_deploy_cancelled_while_the_old_one_stops",
    "test_remove_of_some",
    "test_task_says_how_it_ended",
)
"""A Swarm takes a second for each task that ends, so the others are tried on one with `--long`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that asks for a `bench`, unless its module has one of its own, for each runtime."""
    if "bench" in metafunc.fixturenames and not hasattr(metafunc.module, "bench"):
        short = metafunc.function.__name__ in SHORT_ON_A_SWARM
        swarm = pytest.param("swarm", marks=() if short else pytest.mark.long)
        metafunc.parametrize("bench", ["fake", "docker", "ssh", swarm], indirect=True)


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Bench:
    found: Bench = request.getfixturevalue(f"{request.param}_bench")
    return found
