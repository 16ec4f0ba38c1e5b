"""Build secrets: usable in a RUN, and nowhere else to be seen."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.builder.base import Backend, Recipe
from reconciler.builder.buildkit import check_secrets
from reconciler.errors import BuildError
from tests.builder.conftest import MakeRecipe, Watched
from tests.support import system
from tests.support.engine import PrivateEngine

SECRET = "correct horse\nbattery-staple $HOME 'quoted\""
WAIT = "while [ ! -e /tmp/never ]; do sleep 0.1; i=$((i+1)); [ $i -gt 8 ] && exit 0; done"


def test_secret_is_usable_and_leaves_no_trace(
    buildkit: Backend, make_recipe: MakeRecipe, watched: Watched, engine: PrivateEngine
) -> None:
    dockerfile = (
        "FROM busybox:stable\n"
        "RUN --mount=type=secret,id=npm.token echo begun; cat /run/secrets/npm.token; "
        f"md5sum </run/secrets/npm.token >/sum; {WAIT}\n"
    )
    recipe = make_recipe(dockerfile, secrets={"npm.token": SECRET})
    with ThreadPoolExecutor() as pool:
        future = pool.submit(buildkit.build, recipe, watched.job)
        system.wait_until(lambda: any("begun" in line for line in watched.lines[2:]), 30)
        seen = [system.command_line(pid) for pid in system.with_descendants(watched.groups)]
        image = future.result(30)
    assert any("id=npm.token,env=" in line for line in seen)
    assert not any("battery" in line for line in seen)
    assert "*****" in watched.text
    assert "battery" not in watched.text
    assert "horse" not in watched.text
    assert "battery" not in engine.docker("history", "--no-trunc", image)
    assert "battery" not in engine.docker("inspect", image)
    script = "cat /sum; ls -A /run/secrets; env"
    seen_inside = engine.docker("run", "--rm", image, "sh", "-c", script)
    assert seen_inside.startswith(_md5(SECRET))
    assert "battery" not in seen_inside


def _md5(text: str) -> str:
    return system.run("sh", "-c", 'printf %s "$0" | md5sum', text).split()[0]


def test_secret_is_hidden_in_the_error(
    buildkit: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    dockerfile = "FROM busybox:stable\nRUN --mount=type=secret,id=t cat /run/secrets/t; exit 7\n"
    with pytest.raises(BuildError, match="exit code 7") as caught:
        buildkit.build(make_recipe(dockerfile, secrets={"t": "battery-staple"}), watched.job)
    assert "battery" not in str(caught.value)
    assert caught.value.detail.startswith("*****")


def test_secret_needs_buildkit(classic: Backend, make_recipe: MakeRecipe, watched: Watched) -> None:
    recipe = make_recipe("FROM busybox:stable\n", secrets={"token": "battery-staple"})
    with pytest.raises(BuildError, match=r"build.secrets \(token\) need BuildKit") as caught:
        classic.build(recipe, watched.job)
    assert "buildx" in caught.value.todo


@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ("RUN --mount=type=cache,target=/c true", "needs BuildKit"),
        ("COPY --link Dockerfile /d", "needs BuildKit"),
        ("RUN <<EOF\necho hello\nEOF", "needs BuildKit"),
        ("COPY <<EOF /greeting\nhello\nEOF", "needs BuildKit"),
        ("BLAH <<EOF", "unknown instruction: BLAH"),
    ],
)
def test_classic_builder_meets_what_only_buildkit_can(
    classic: Backend, make_recipe: MakeRecipe, watched: Watched, instruction: str, words: str
) -> None:
    with pytest.raises(BuildError, match=words) as caught:
        classic.build(make_recipe(f"FROM busybox:stable\n{instruction}\n"), watched.job)
    assert ("buildx" in caught.value.todo) == ("BuildKit" in words)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("a,src=/etc/shadow", "x", "can't take as an id"),
        ("", "x", "can't take as an id"),
        ("large", "x" * 100_001, "100000 bytes"),
        ("zero", "a\0b", "zero byte"),
    ],
)
def test_secret_that_cannot_be_handed_over(
    tmp_path: Path, name: str, value: str, words: str
) -> None:
    with pytest.raises(BuildError, match=words) as caught:
        check_secrets(Recipe("shop/api", tmp_path, tmp_path / "Dockerfile", secrets={name: value}))
    assert value == "x" or value not in str(caught.value)
