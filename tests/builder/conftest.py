"""What the build tests share: both backends on the session's engine, and recipes from texts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.builder.base import Backend, Recipe
from reconciler.builder.buildkit import BuildKit
from reconciler.builder.classic import Classic
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from tests.support.engine import PrivateEngine, docker_cli

MakeRecipe = Callable[..., Recipe]


@dataclass
class Watched:
    """A job whose lines and processes can be looked at."""

    lines: list[str] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    job: Job = field(init=False)

    def __post_init__(self) -> None:
        self.job = Job("shop/api", log=self.lines.append, on_process=self._note)

    def _note(self, group: int | None) -> None:
        if group is not None:
            self.groups.append(group)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def api(engine: PrivateEngine, docker_env: None) -> Engine:
    return Engine(engine.url)


def make_backend(name: str, api: Engine) -> Backend:
    return BuildKit(api, docker_cli()) if name == "buildkit" else Classic(api)


@pytest.fixture(params=["buildkit", "classic"])
def backend(request: pytest.FixtureRequest, api: Engine) -> Backend:
    return make_backend(request.param, api)


@pytest.fixture
def buildkit(api: Engine) -> Backend:
    return make_backend("buildkit", api)


@pytest.fixture
def classic(api: Engine) -> Backend:
    return make_backend("classic", api)


def write_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def make_recipe(tmp_path: Path, project: str) -> MakeRecipe:
    """make_recipe("FROM …", {"file": "text"}, target="x") -> Recipe with a tag of its own."""

    def make(dockerfile: str, files: dict[str, str] | None = None, **options: Any) -> Recipe:
        name = options.pop("name", "context")
        path = options.pop("path", "Dockerfile")
        context = write_files(tmp_path / name, {**(files or {}), path: dockerfile})
        options.setdefault("tags", (f"{project}:{name}",))
        return Recipe("shop/api", context, context / path, **options)

    return make


@pytest.fixture
def run_image(engine: PrivateEngine) -> Callable[..., str]:
    """run_image(image, *argv) -> what it printed."""

    def run(image: str, *argv: str) -> str:
        return engine.docker("run", "--rm", image, *argv)

    return run
