"""What a build type makes of a build section and a checked-out directory. No engine."""

from pathlib import Path

import pytest

from reconciler.builder import BUILDERS, builder_for
from reconciler.builder.base import Prepared
from reconciler.errors import BuildError
from reconciler.spec.models import Build
from tests.builder.conftest import write_files


def prepare(context: Path, **section: str) -> Prepared:
    build = Build(**section)
    return builder_for(build).prepare("shop/api", build, context)


def test_builder_for_each_kind() -> None:
    assert builder_for(Build()) is BUILDERS["dockerfile"]
    assert builder_for(Build(static="public")) is BUILDERS["static"]


def test_dockerfile_found(tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": "", "docker/web": ""})
    assert prepare(tmp_path) == Prepared(tmp_path, tmp_path / "Dockerfile")
    assert prepare(tmp_path, dockerfile="docker/web").path == tmp_path / "docker/web"


def test_dockerfile_through_a_link_inside(tmp_path: Path) -> None:
    root = write_files(tmp_path / "real", {"docker/web": ""})
    (root / "Dockerfile").symlink_to("docker/web")
    (tmp_path / "link").symlink_to("real")
    assert prepare(tmp_path / "link") == Prepared(root, root / "docker/web")


@pytest.mark.parametrize("target", ["../outside", "/etc/hostname", "inside/../../outside"])
def test_dockerfile_through_a_link_to_the_outside(tmp_path: Path, target: str) -> None:
    root = write_files(tmp_path, {"outside": "FROM x\n", "root/inside/f": ""}) / "root"
    (root / "Dockerfile").symlink_to(target)
    with pytest.raises(BuildError, match="leads out of the build context") as caught:
        prepare(root)
    assert caught.value.app == "shop/api"


def test_dockerfile_in_a_linked_directory(tmp_path: Path) -> None:
    root = write_files(tmp_path, {"outside/Dockerfile": "", "root/f": ""}) / "root"
    (root / "docker").symlink_to("../outside")
    with pytest.raises(BuildError, match="leads out"):
        prepare(root, dockerfile="docker/Dockerfile")


@pytest.mark.parametrize(
    ("there", "named"),
    [
        ("dockerfile", "dockerfile"),
        ("docker/Dockerfile", "docker/Dockerfile"),
        ("Containerfile", "Containerfile"),
        ("deploy/api/api.Dockerfile", "deploy/api/api.Dockerfile"),
        ("Dockerfile.prod", "Dockerfile.prod"),
    ],
)
def test_dockerfile_missing_names_what_is_near(tmp_path: Path, there: str, named: str) -> None:
    write_files(tmp_path, {there: "", "main.c": "", "Dockerfile.dockerignore": ""})
    with pytest.raises(BuildError, match="has no 'Dockerfile'") as caught:
        prepare(tmp_path)
    assert f"({named})" in caught.value.todo


def test_dockerfile_missing_and_nothing_near(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/b/c/d/Dockerfile": "", ".git/Dockerfile": ""})
    (tmp_path / "Dockerfile").mkdir()
    with pytest.raises(BuildError) as caught:
        prepare(tmp_path)
    assert "build.dockerfile or build.static" in caught.value.todo


def test_static_writes_a_dockerfile_beside_the_directory(tmp_path: Path) -> None:
    write_files(tmp_path, {"public/index.html": "", ".dockerignore": "# mine\n*.map\n"})
    made = prepare(tmp_path, static="public")
    text = made.path.read_text()
    assert made.context == tmp_path
    assert made.path.parent == tmp_path
    assert text.startswith("FROM busybox:stable\n")
    assert 'COPY ["public/", "/www/"]' in text
    ignored = made.path.with_name(f"{made.path.name}.dockerignore").read_text().splitlines()
    assert ignored[0] == "*.map"
    assert ".env" in ignored


def test_static_again_is_the_same(tmp_path: Path) -> None:
    write_files(tmp_path, {"public/index.html": ""})
    first = prepare(tmp_path, static="public")
    listed = sorted(tmp_path.iterdir())
    assert prepare(tmp_path, static="public") == first
    assert sorted(tmp_path.iterdir()) == listed


def test_static_name_that_the_source_uses(tmp_path: Path) -> None:
    write_files(tmp_path, {".reconciler-static": "theirs", "index.html": ""})
    (tmp_path / ".reconciler-static-1").symlink_to("/etc/hostname")
    made = prepare(tmp_path, static=".")
    assert made.path.name == ".reconciler-static-2"
    assert (tmp_path / ".reconciler-static").read_text() == "theirs"


def test_static_own_server_keeps_its_settings(tmp_path: Path) -> None:
    write_files(tmp_path, {"public/index.html": ""})
    text = prepare(tmp_path, static="public", server="registry.example.com/httpd").path.read_text()
    assert text.startswith("FROM registry.example.com/httpd\nCOPY ")


def test_static_directory_missing(tmp_path: Path) -> None:
    write_files(tmp_path, {"file": ""})
    for name in ("public", "file"):
        with pytest.raises(BuildError, match="is no directory in the build context"):
            prepare(tmp_path, static=name)


def test_static_directory_outside(tmp_path: Path) -> None:
    root = write_files(tmp_path, {"outside/secret": "", "root/f": ""}) / "root"
    (root / "public").symlink_to("../outside")
    with pytest.raises(BuildError, match="leads out"):
        prepare(root, static="public")


@pytest.mark.parametrize("name", ["a$HOME", "a*b", "what?", "[x]", '"x"', "it's"])
def test_static_directory_with_characters_that_match(tmp_path: Path, name: str) -> None:
    write_files(tmp_path, {f"{name}/index.html": ""})
    with pytest.raises(BuildError, match="one of the characters"):
        prepare(tmp_path, static=name)
