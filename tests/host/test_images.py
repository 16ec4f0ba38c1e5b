"""Images on a real engine: found by build hash, listed, tagged, removed."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import DeployError, EngineUnavailable
from reconciler.host.engine import Engine
from reconciler.host.images import (
    BuiltImage,
    find_built,
    image_id_of,
    list_built,
    remove_image,
    tag_image,
)
from reconciler.host.labels import (
    IMAGE_LABEL_APP,
    IMAGE_LABEL_BUILD_HASH,
    IMAGE_LABEL_PROJECT,
    short_id,
)
from tests.support.engine import PrivateEngine
from tests.support.registry import PrivateRegistry

Make = Callable[..., str]


@pytest.fixture
def api(engine: PrivateEngine) -> Engine:
    return Engine(engine.url)


@pytest.fixture
def build_hash() -> str:
    return f"v1:{secrets.token_hex(16)}"


@pytest.fixture
def make(engine: PrivateEngine, project: str, tmp_path: Path) -> Make:
    """make(build_hash, tag="…") -> id of an image that differs from all others."""

    def make(build_hash: str, base: str = "busybox:stable", **options: str) -> str:
        dockerfile = tmp_path / "Dockerfile"
        labels = {
            IMAGE_LABEL_PROJECT: options.get("project", project),
            IMAGE_LABEL_APP: f"{project}/{options.get('name', 'api')}",
            IMAGE_LABEL_BUILD_HASH: build_hash,
        }
        named = "".join(f"LABEL {name}={value}\n" for name, value in labels.items())
        if base != "busybox:stable":
            named = ""
        dockerfile.write_text(f"FROM {base}\n{named}LABEL own={secrets.token_hex(4)}\n")
        tag = options.get("tag", f"{project}/api:1a2b-{short_id(build_hash)}")
        return engine.docker("build", "-q", "-t", tag, str(tmp_path))

    return make


def test_find_built(api: Engine, make: Make, build_hash: str, project: str) -> None:
    assert find_built(api, build_hash) is None
    made = make(build_hash)
    assert find_built(api, build_hash) == made
    assert find_built(api, build_hash, project) == made
    assert find_built(api, build_hash, "other") is None


def test_find_built_several_the_newest(
    api: Engine, make: Make, build_hash: str, wait_until: Callable[..., object]
) -> None:
    """The engine's times have seconds."""
    first = make(build_hash, tag=f"first:{short_id(build_hash)}")
    newest = {"id": ""}

    def is_newer() -> bool:
        newest["id"] = make(build_hash, tag=f"second:{short_id(build_hash)}")
        created = {image.id: image.created for image in list_built(api, app_of(api, first))}
        return created[newest["id"]] > created[first]

    wait_until(is_newer)
    assert find_built(api, build_hash) == newest["id"]


def app_of(api: Engine, image_id: str) -> str:
    return str(api.get(f"/images/{image_id}/json")["Config"]["Labels"][IMAGE_LABEL_APP])


def test_find_built_not_what_only_inherits_the_label(
    api: Engine, make: Make, build_hash: str, project: str
) -> None:
    """Somebody's `FROM` one of ours, to look into a problem, must never be deployed."""
    ours = make(build_hash)
    base = f"{project}/api:1a2b-{short_id(build_hash)}"
    theirs = make(build_hash, base=base, tag=f"{project}/debug:latest")
    assert theirs != ours
    assert find_built(api, build_hash) == ours
    assert theirs in [image.id for image in list_built(api, f"{project}/api")]


def test_find_built_engine_is_away(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        find_built(Engine(f"unix://{tmp_path}/s"), "v1:0")


def test_image_id_of(api: Engine, engine: PrivateEngine) -> None:
    image_id = engine.docker("image", "inspect", "-f", "{{.Id}}", "busybox:stable")
    for reference in ("busybox:stable", image_id, image_id.removeprefix("sha256:")[:12]):
        assert image_id_of(api, reference) == image_id
    for reference in ("busybox:none", "sha256:" + "0" * 64, "127.0.0.1:9/a/b@sha256:" + "0" * 64):
        assert image_id_of(api, reference) is None


def test_tag_image(api: Engine, make: Make, build_hash: str, project: str) -> None:
    image_id = make(build_hash)
    tag_image(api, image_id, f"{project}/more", "1.0")
    tag_image(api, image_id, f"{project}/more", "1.0")
    assert image_id_of(api, f"{project}/more:1.0") == image_id
    with pytest.raises(DeployError, match="can't be named"):
        tag_image(api, image_id, f"{project}/more", "no valid tag")
    with pytest.raises(DeployError, match="No such image"):
        tag_image(api, "sha256:" + "0" * 64, project, "1")


def only(api: Engine, app: str) -> BuiltImage:
    (image,) = list_built(api, app)
    return image


def test_list_built(api: Engine, make: Make, build_hash: str, project: str) -> None:
    image_id = make(build_hash)
    make(f"v1:{secrets.token_hex(16)}", name="web")
    image = only(api, f"{project}/api")
    assert image.id == image_id
    assert image.tags == (f"{project}/api:1a2b-{short_id(build_hash)}",)
    assert (image.app, image.build_hash) == (f"{project}/api", build_hash)
    assert image.size > 1_000_000
    assert image.created > 1_700_000_000
    assert list_built(api, f"{project}/nothing") == []


def test_remove_image(api: Engine, make: Make, build_hash: str, project: str) -> None:
    image_id = make(build_hash)
    tag_image(api, image_id, f"{project}/again", f"3c4d-{short_id(build_hash)}")
    image = only(api, f"{project}/api")
    assert len(image.tags) == 2
    assert remove_image(api, image).removed
    assert image_id_of(api, image_id) is None
    assert remove_image(api, image).removed


def test_remove_image_without_a_name(
    api: Engine, make: Make, build_hash: str, project: str, engine: PrivateEngine
) -> None:
    image_id = make(build_hash)
    make(build_hash)
    image = next(each for each in list_built(api, f"{project}/api") if each.id == image_id)
    assert image.tags == ()
    assert remove_image(api, image).removed
    assert image_id_of(api, image_id) is None


@pytest.mark.parametrize("state", ["run", "create"])
def test_remove_image_that_a_container_uses(
    api: Engine, make: Make, build_hash: str, project: str, engine: PrivateEngine, state: str
) -> None:
    image_id = make(build_hash)
    argv = [state, *(["-d"] if state == "run" else []), "--name", f"{project}-user"]
    engine.docker(*argv, "--stop-timeout", "1", image_id, "sleep", "600")
    removal = remove_image(api, only(api, f"{project}/api"))
    assert (removal.removed, removal.reason) == (False, f"used by {project}-user")
    assert only(api, f"{project}/api").tags


def test_remove_image_that_has_a_name_of_somebodys(
    api: Engine, make: Make, build_hash: str, project: str
) -> None:
    image_id = make(build_hash)
    tag_image(api, image_id, f"{project}/release", "v1")
    removal = remove_image(api, only(api, f"{project}/api"))
    assert (removal.removed, removal.reason) == (False, f"also named {project}/release:v1")
    assert len(only(api, f"{project}/api").tags) == 2


def test_remove_image_that_was_pushed(
    api: Engine, make: Make, build_hash: str, project: str, registry: PrivateRegistry,
    engine: PrivateEngine,
) -> None:  # fmt: skip
    name = f"{registry.address}/{project}:1a2b-{short_id(build_hash)}"
    image_id = make(build_hash, tag=name)
    engine.docker("push", name)
    assert remove_image(api, only(api, f"{project}/api")).removed
    assert image_id_of(api, image_id) is None
