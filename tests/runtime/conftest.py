"""What the tests of runtimes share: workloads, and a bench for each runtime."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.host.engine import Engine
from reconciler.runtime.docker import DockerRuntime
from reconciler.testing import FakeRuntime
from tests.runtime.bench import Bench, DockerBench, FakeBench
from tests.support.engine import BASE_IMAGE, PrivateEngine

_runtime_bench = {"fake": "fake_bench", "docker": "docker_bench"}


@pytest.fixture
def fake_bench(tmp_path: Path) -> FakeBench:
    return FakeBench(FakeRuntime(), "shop", tmp_path)


@pytest.fixture
def light_engine(engine: PrivateEngine) -> Iterator[Engine]:
    """Our engine class, on the private engine."""
    light = Engine(engine.url)
    yield light
    light.close()


@pytest.fixture
def image_id(engine: PrivateEngine) -> str:
    return str(engine.request("GET", f"/images/{BASE_IMAGE}/json")["Id"])


@pytest.fixture
def docker_bench(
    engine: PrivateEngine, light_engine: Engine, project: str, tmp_path: Path, image_id: str
) -> DockerBench:
    runtime = DockerRuntime(light_engine, tmp_path / "state")
    return DockerBench(runtime, project, tmp_path, image_id, engine)


@pytest.fixture(params=["fake", "docker"])
def bench(request: pytest.FixtureRequest) -> Bench:
    found: Bench = request.getfixturevalue(_runtime_bench[request.param])
    return found
