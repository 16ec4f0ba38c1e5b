"""What both backends do the same way, on a real engine."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.builder.base import Backend
from reconciler.errors import BuildError
from tests.builder.conftest import MakeRecipe, Watched, write_files
from tests.support.engine import PrivateEngine

Run = Callable[..., str]


def test_backend_builds_tags_and_labels(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, engine: PrivateEngine, project: str
) -> None:
    tags = (f"{project}:one", f"{project}/sub:two")
    recipe = make_recipe(
        "FROM busybox:stable\nRUN echo built-in >/made\nCOPY f /f\n",
        {"f": "from the context"},
        tags=tags,
        labels={"reconciler.image.app": "shop/api", "odd": "a=b 'c' \"d\""},
    )
    image_id = backend.build(recipe, watched.job)
    assert image_id.startswith("sha256:")
    for tag in tags:
        image = engine.request("GET", f"/images/{tag}/json")
        assert image["Id"] == image_id
        assert image["Config"]["Labels"] == recipe.labels
    assert engine.docker("run", "--rm", image_id, "cat", "/made", "/f") == (
        "built-in\nfrom the context"
    )


def test_backend_same_recipe_again_is_the_same_image(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    recipe = make_recipe("FROM busybox:stable\nCOPY . /x\n", {"f": "1"}, labels={"a": "b"})
    assert backend.build(recipe, watched.job) == backend.build(recipe, watched.job)


def test_backend_no_cache_runs_the_steps_again(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    recipe = make_recipe("FROM busybox:stable\nRUN cat /proc/sys/kernel/random/uuid >/id\n")
    first = backend.build(recipe, watched.job)
    assert backend.build(recipe, watched.job) == first
    assert backend.build(replace(recipe, no_cache=True), watched.job) != first


def test_backend_args(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, run_image: Run
) -> None:
    dockerfile = 'FROM busybox:stable\nARG WHO=nobody\nRUN echo "hello $WHO" >/made\n'
    recipe = make_recipe(dockerfile, args={"WHO": "you = 'me', \"$HOME\""})
    assert run_image(backend.build(recipe, watched.job), "cat", "/made") == (
        "hello you = 'me', \"$HOME\""
    )


def test_backend_proxies_of_dockers_own_configuration(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, run_image: Run, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    settings = {"proxies": {"default": {"httpProxy": "http://proxy.example.com:3128"}}}
    write_files(tmp_path / "docker", {"config.json": json.dumps(settings)})
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    recipe = make_recipe("FROM busybox:stable\nRUN echo $HTTP_PROXY $http_proxy >/made\n")
    said = run_image(backend.build(recipe, watched.job), "cat", "/made")
    assert said == "http://proxy.example.com:3128 http://proxy.example.com:3128"


def test_backend_target(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, run_image: Run
) -> None:
    dockerfile = (
        "FROM busybox:stable AS first\nRUN echo first >/made\n"
        "FROM first AS second\nRUN echo second >/made\n"
    )
    recipe = make_recipe(dockerfile, target="first")
    assert run_image(backend.build(recipe, watched.job), "cat", "/made") == "first"


def test_backend_target_unknown(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    with pytest.raises(BuildError, match="nowhere"):
        backend.build(make_recipe("FROM busybox:stable\n", target="nowhere"), watched.job)


def test_backend_multi_stage_copy(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, run_image: Run
) -> None:
    dockerfile = (
        "FROM busybox:stable AS make\nRUN mkdir /out && echo made >/out/f\n"
        "FROM busybox:stable\nCOPY --from=make /out/f /f\n"
    )
    assert run_image(backend.build(make_recipe(dockerfile), watched.job), "cat", "/f") == "made"


def test_backend_dockerfile_in_a_directory(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, run_image: Run
) -> None:
    recipe = make_recipe(
        "FROM busybox:stable\nCOPY f /f\n", {"f": "found"}, path="deploy/web.Dockerfile"
    )
    assert run_image(backend.build(recipe, watched.job), "cat", "/f") == "found"


IGNORED = {
    "keep.txt": "",
    "drop.log": "",
    "deep/drop.log": "",
    "deep/er/keep.log": "",
    "deep/keep.txt": "",
    "node_modules/a/b.js": "",
    "docs/secret": "",
    "docs/README.md": "",
    ".git/config": "",
}
PATTERNS = """\
# a comment
**/*.log
!deep/er/keep.log

node_modules
/docs/*
!docs/README.md
.git
Dockerfile*
.dockerignore
"""
KEPT = ["/x/deep/er/keep.log", "/x/deep/keep.txt", "/x/docs/README.md", "/x/keep.txt"]


@pytest.mark.parametrize("name", [".dockerignore", "Dockerfile.dockerignore"])
def test_backend_dockerignore(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, run_image: Run, name: str
) -> None:
    files = {**IGNORED, name: PATTERNS}
    recipe = make_recipe("FROM busybox:stable\nCOPY . /x\n", files)
    found = run_image(backend.build(recipe, watched.job), "find", "/x", "-type", "f")
    assert sorted(found.splitlines()) == KEPT


def test_backend_dockerignore_of_the_dockerfile_wins(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, run_image: Run
) -> None:
    files = {"a": "", "b": "", ".dockerignore": "a\n", "Dockerfile.dockerignore": "b\n"}
    recipe = make_recipe("FROM busybox:stable\nCOPY a* b* /x/\n", files)
    assert run_image(backend.build(recipe, watched.job), "ls", "/x") == "a"


def test_backend_files_keep_mode_and_links(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, run_image: Run
) -> None:
    long_name = "d/" * 60 + "f" * 90
    recipe = make_recipe(
        "FROM busybox:stable\nCOPY . /x\n",
        {"run": "#!/bin/sh\necho ran\n", "größe": "1", long_name: "long", "big": "x" * 3_000_001},
    )
    (recipe.context / "run").chmod(0o755)
    (recipe.context / "link").symlink_to("run")
    (recipe.context / "outside").symlink_to("/etc/hostname")
    (recipe.context / "empty").mkdir()
    image = backend.build(recipe, watched.job)
    script = (
        f"/x/link; readlink /x/outside; ls -d /x/empty; cat /x/{long_name}; echo; wc -c </x/big"
    )
    assert run_image(image, "sh", "-c", script).split() == [
        "ran", "/etc/hostname", "/x/empty", "long", "3000001",
    ]  # fmt: skip
    assert run_image(image, "stat", "-c", "%U %a", "/x/run") == "root 755"
    assert run_image(image, "cat", "/x/größe") == "1"


CHATTY = "echo one; sleep 0.1; echo two >&2; sleep 0.1; printf th; sleep 0.1; printf ree"
NUMBERS = ["one", "two", "three"]


def test_backend_log_is_live_and_clean(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    backend.build(make_recipe(f"FROM busybox:stable\nRUN {CHATTY}\n"), watched.job)
    assert f"RUN {CHATTY}" in watched.text
    written = [line.split()[-1] for line in watched.lines if line.split()[-1] in NUMBERS]
    assert written == NUMBERS
    assert "transferring" not in watched.text
    assert "\x1b" not in watched.text
    assert not any(line.endswith(("\r", "\n")) for line in watched.lines)


@pytest.mark.parametrize(("command", "code"), [("echo some; echo words; exit 3", 3), ("false", 1)])
def test_backend_failing_step_names_step_and_code(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, command: str, code: int
) -> None:
    recipe = make_recipe(f"FROM busybox:stable\nRUN true\nRUN {command}\nRUN echo never\n")
    with pytest.raises(BuildError) as caught:
        backend.build(recipe, watched.job)
    assert f"3/4] RUN {command}: exit code {code}" in caught.value.what
    assert caught.value.app == "shop/api"
    assert caught.value.todo
    if "words" in command:
        assert caught.value.detail == "some\nwords"


def test_backend_failing_step_without_newline(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    with pytest.raises(BuildError, match=r"2/2\] RUN printf half; exit 4: exit code 4") as caught:
        backend.build(make_recipe("FROM busybox:stable\nRUN printf half; exit 4\n"), watched.job)
    assert caught.value.detail == "half"


def test_backend_failing_step_keeps_the_last_lines(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    recipe = make_recipe("FROM busybox:stable\nRUN seq 100; exit 1\n")
    with pytest.raises(BuildError) as caught:
        backend.build(recipe, watched.job)
    assert caught.value.detail.split() == [str(number) for number in range(86, 101)]


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM busybox:stable\nCOPY nofile /\n", r"COPY nofile /: .*not found"),
        ("FROM busybox:stable\nBLAH\n", "line 2: unknown instruction: BLAH"),
        ("", "cannot be empty"),
        ('FROM busybox:stable\nRUN ["nosuch"]\n', "nosuch"),
    ],
)
def test_backend_broken_dockerfile(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, dockerfile: str, words: str
) -> None:
    with pytest.raises(BuildError, match=words):
        backend.build(make_recipe(dockerfile), watched.job)


def test_backend_killed_step_speaks_of_memory(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    with pytest.raises(BuildError, match="exit code 137") as caught:
        backend.build(make_recipe("FROM busybox:stable\nRUN exit 137\n"), watched.job)
    assert "memory" in caught.value.todo


def test_backend_leaves_no_container(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, engine: PrivateEngine
) -> None:
    recipe = make_recipe("FROM busybox:stable\nRUN echo 4711 && exit 1\n")
    with pytest.raises(BuildError):
        backend.build(recipe, watched.job)
    left = [each for each in engine.containers() if "echo 4711" in each["Command"]]
    assert left == []
