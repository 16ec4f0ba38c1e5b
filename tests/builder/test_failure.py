"""Which error a failed build becomes: some on a real engine and registry, the rest as texts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.builder.base import Backend
from reconciler.builder.failure import Failure, build_error
from reconciler.errors import BuildError, DiskFull, RegistryUnavailable
from reconciler.host.engine import Engine
from tests.builder.conftest import MakeRecipe, Watched, make_backend
from tests.support import system
from tests.support.engine import PrivateEngine
from tests.support.registry import PrivateRegistry


def test_base_image_that_the_registry_does_not_have(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, registry: PrivateRegistry
) -> None:
    name = f"{registry.address}/nothing:1"
    with pytest.raises(BuildError, match=r"base image .*nothing:1 can't be fetched") as caught:
        backend.build(make_recipe(f"FROM {name}\n"), watched.job)
    assert "docker login" in caught.value.todo


def test_base_image_registry_is_down(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    with pytest.raises(RegistryUnavailable, match="connection refused") as caught:
        backend.build(make_recipe("FROM 127.0.0.1:9/base:1\n"), watched.job)
    assert "127.0.0.1:9/base:1" in caught.value.what
    assert caught.value.app == "shop/api"


def test_base_image_registry_wants_a_login(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched,
    registry_auth: PrivateRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    registry_auth.put("base", "1", "busybox:stable")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    recipe = make_recipe(f"FROM {registry_auth.address}/base:1\n")
    with pytest.raises(RegistryUnavailable) as caught:
        backend.build(recipe, watched.job)
    assert "docker login" in caught.value.todo


def test_base_image_with_dockers_own_login(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, registry_auth: PrivateRegistry,
    project: str,
) -> None:  # fmt: skip
    registry_auth.put(project, backend.name, "busybox:stable")
    registry_auth.login()
    recipe = make_recipe(f"FROM {registry_auth.address}/{project}:{backend.name}\nRUN true\n")
    assert backend.build(recipe, watched.job).startswith("sha256:")


def test_base_image_pulled_anew(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, registry: PrivateRegistry,
    engine: PrivateEngine, project: str,
) -> None:  # fmt: skip
    name = f"{registry.address}/{project}:{backend.name}"
    registry.put(project, backend.name, "busybox:stable")
    recipe = make_recipe(f"FROM {name}\nCOPY f* /\n", {"f": "1"}, pull=True)
    first = backend.build(recipe, watched.job)
    (recipe.context / "f").write_text("2")
    registry.put(project, backend.name, engine.docker("build", "-q", str(recipe.context)))
    assert backend.build(recipe, watched.job) != first


def test_syntax_image_without_a_network(
    buildkit: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    recipe = make_recipe("# syntax=127.0.0.1:9/docker/dockerfile:1\nFROM busybox:stable\n")
    with pytest.raises(RegistryUnavailable, match=r"the frontend image 127\.0\.0\.1:9") as caught:
        buildkit.build(recipe, watched.job)
    assert "# syntax=" in caught.value.todo


def test_disk_of_a_build_step_is_full(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    """/dev/full answers every write with the same error as a full disk."""
    recipe = make_recipe("FROM busybox:stable\nRUN echo x >/dev/full; exit 1\n")
    with pytest.raises(DiskFull) as caught:
        backend.build(recipe, watched.job)
    assert caught.value.app == "shop/api"


@pytest.mark.parametrize("name", ["buildkit", "classic"])
def test_disk_of_the_engine_is_full(
    make_recipe: MakeRecipe, watched: Watched, name: str, small_engine: PrivateEngine
) -> None:
    backend = make_backend(name, Engine(small_engine.url))
    recipe = make_recipe("FROM busybox:stable\nCOPY large /\n")
    with (recipe.context / "large").open("wb") as file:
        file.truncate(200 << 20)
    with pytest.raises(DiskFull, match="disk is full") as caught:
        backend.build(recipe, watched.job)
    assert "Free space" in caught.value.todo


@pytest.fixture
def small_engine(
    make_engine: Callable[..., PrivateEngine], monkeypatch: pytest.MonkeyPatch
) -> PrivateEngine:
    """An engine that has 100 MB in all."""
    made = make_engine()
    made.stop()
    data = made.home / "data"
    system.unmount_below(data)
    system.run("mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", data)
    made.start_once()
    monkeypatch.setenv("DOCKER_CONFIG", made.env()["DOCKER_CONFIG"])
    return made


def test_disk_for_the_image_id_is_full(
    buildkit: Backend, make_recipe: MakeRecipe, watched: Watched,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    place = tmp_path / "full"
    place.mkdir()
    system.run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=1", "tmpfs", place)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    try:
        with pytest.raises(DiskFull, match="disk is full"):
            buildkit.build(make_recipe("FROM busybox:stable\n"), watched.job)
    finally:
        system.run("umount", place)


@pytest.mark.parametrize(
    ("message", "kind", "todo"),
    [
        ("dial tcp: lookup r.example.com: no such host", RegistryUnavailable, "reachable"),
        ("toomanyrequests: You have reached your pull rate limit", RegistryUnavailable, "up"),
        ("unexpected status: 503 Service Unavailable", RegistryUnavailable, "up"),
        ("x509: certificate signed by unknown authority", RegistryUnavailable, "certificate"),
        ("unauthorized: authentication required", RegistryUnavailable, "docker login"),
        ("manifest unknown: manifest unknown", BuildError, "docker login"),
        ("pull access denied, repository does not exist or may require", BuildError, "login"),
        ("denied: requested access to the resource is denied", BuildError, "docker login"),
        ("write /var/lib/docker/x: no space left on device", DiskFull, "Free space"),
    ],
)
def test_base_image_errors_by_their_words(message: str, kind: type, todo: str) -> None:
    error = build_error(Failure(message, "[internal] …", image="r.example.com/base:1"), "shop/api")
    assert type(error) is kind
    assert todo in error.todo
    assert kind is DiskFull or "r.example.com/base:1" in error.what


def test_long_step_is_cut_short() -> None:
    error = build_error(Failure("x", f"[2/2] RUN {'a && ' * 500}", exit_code=1), "shop/api")
    assert error.what.endswith("…: exit code 1")
    assert len(error.what) < 220
