"""A static site in its container: what is served, as what, and how it ends."""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.builder import builder_for
from reconciler.builder.base import Backend, Recipe
from reconciler.spec.models import Build
from tests.builder.conftest import Watched, write_files
from tests.support.engine import PrivateEngine

SITE = {
    "index.html": "<h1>home</h1>",
    "docs/index.html": "docs",
    "app.mjs": "export {}",
    "data.json": "{}",
    "logo.svg": "<svg/>",
    "with space.txt": "spaced",
    "debug.map": "{}",
    ".well-known/security.txt": "contact",
    ".env": "PASSWORD=x",
    ".git/config": "[core]",
    "sub/.env": "PASSWORD=x",
}


@dataclass
class Served:
    container: str
    address: str

    def get(self, path: str) -> tuple[int, str, str]:
        connection = http.client.HTTPConnection(self.address, 8080, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Content-Type", ""), answer.read().decode()
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.get("/")[0] == 200
        except OSError:
            return False


@pytest.fixture
def serve(
    engine: PrivateEngine, backend: Backend, project: str, wait_until: Callable[..., Any]
) -> Callable[..., Served]:
    def start(context: Path, directory: str) -> Served:
        build = Build(static=directory)
        made = builder_for(build).prepare("shop/site", build, context)
        recipe = Recipe("shop/site", made.context, made.path)
        image = backend.build(recipe, Watched().job)
        container = engine.docker("run", "-d", "--name", f"{project}-site", image)
        served = Served(container, engine.inspect(container)["NetworkSettings"]["IPAddress"])
        wait_until(served.answers)
        return served

    return start


@pytest.mark.parametrize("directory", ["public", "."])
def test_static_serves_files(
    serve: Callable[..., Served], engine: PrivateEngine, tmp_path: Path, directory: str
) -> None:
    write_files(tmp_path / directory, SITE)
    write_files(tmp_path, {".dockerignore": "**/*.map\n", "Dockerfile": "FROM nowhere\n"})
    served = serve(tmp_path, directory)
    assert served.get("/") == (200, "text/html", "<h1>home</h1>")
    assert served.get("/docs/")[2] == "docs"
    assert served.get("/app.mjs")[1] == "text/javascript"
    assert served.get("/data.json")[1] == "application/json"
    assert served.get("/logo.svg")[1] == "image/svg+xml"
    assert served.get("/with%20space.txt")[2] == "spaced"
    assert served.get("/.well-known/security.txt")[2] == "contact"
    for path in ("/.env", "/sub/.env", "/.git/config", "/debug.map", "/.dockerignore", "/nope"):
        assert served.get(path)[0] == 404, path
    assert "reconciler" not in engine.docker("exec", served.container, "ls", "-A", "/www")
    settings = engine.inspect(served.container)["Config"]
    assert list(settings["ExposedPorts"]) == ["8080/tcp"]


def test_static_stops_at_once(
    serve: Callable[..., Served], engine: PrivateEngine, tmp_path: Path
) -> None:
    served = serve(write_files(tmp_path, SITE), ".")
    asked = time.monotonic()
    engine.docker("stop", served.container)
    assert time.monotonic() - asked < 2
    assert not engine.inspect(served.container)["State"]["Running"]


def test_static_directory_with_an_odd_name(serve: Callable[..., Served], tmp_path: Path) -> None:
    name = "my site, größe"
    write_files(tmp_path / name, SITE)
    assert serve(tmp_path, name).get("/docs/")[2] == "docs"
