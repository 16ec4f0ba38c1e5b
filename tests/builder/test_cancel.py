"""Cancelling a build: soon, wholly, and nothing else."""

import secrets
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.builder.base import Backend, Recipe
from reconciler.errors import Cancelled, EngineUnavailable
from reconciler.host.engine import Engine
from tests.builder.conftest import MakeRecipe, Watched, make_backend
from tests.support import system
from tests.support.engine import PrivateEngine
from tests.support.gate import Gate


def running(command: str) -> str:
    head = "FROM busybox:stable\nSTOPSIGNAL SIGKILL\n"  # an engine that starts stops what was left
    return f"{head}RUN echo begun; {command}\nRUN echo finished\n"


def sleeping(seconds: str) -> str:
    return running(f"sleep {seconds}")


def unique_sleep() -> str:
    """A sleep of hours, that `ps` can tell from all others."""
    return str(10_000 + secrets.randbelow(10**8))


def processes(text: str) -> list[int]:
    return [pid for pid in system.pids() if text in system.command_line(pid)]


def start(
    pool: ThreadPoolExecutor, backend: Backend, recipe: Recipe, watched: Watched
) -> "Future[str]":
    future = pool.submit(backend.build, recipe, watched.job)
    system.wait_until(
        lambda: future.done() or any(line.endswith("begun") for line in watched.lines), 30
    )
    return future


def test_cancel_in_the_middle_of_a_step(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched, engine: PrivateEngine
) -> None:
    seconds = unique_sleep()
    recipe = make_recipe(sleeping(seconds))
    with ThreadPoolExecutor() as pool:
        future = start(pool, backend, recipe, watched)
        system.wait_until(lambda: processes(f"sleep {seconds} "))
        asked = time.monotonic()
        watched.job.cancel.cancel(Cancelled("asked for by the test"))
        with pytest.raises(Cancelled, match="asked for by the test"):
            future.result(10)
        took = time.monotonic() - asked
    system.wait_until(lambda: not processes(seconds), 0.5, "the end of the step")
    ended = time.monotonic() - asked
    assert took < 0.5
    assert ended < 0.8
    assert not processes(str(recipe.context))
    assert not any(system.is_alive(group) for group in watched.groups)
    assert not [each for each in engine.containers() if seconds in each["Command"]]
    assert "finished" not in watched.text.replace("RUN echo finished", "")


def test_cancel_before_the_build(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    watched.job.cancel.cancel(Cancelled("early"))
    with pytest.raises(Cancelled, match="early"):
        backend.build(make_recipe("FROM busybox:stable\nRUN echo ran\n"), watched.job)
    assert watched.lines == []


def test_cancel_while_the_context_is_sent(
    backend: Backend, make_recipe: MakeRecipe, watched: Watched
) -> None:
    """The engine is busy reading; a large file takes it longer than the wait here."""
    recipe = make_recipe("FROM busybox:stable\nCOPY . /x\n")
    with (recipe.context / "large").open("wb") as file:
        file.truncate(20 << 30)
    timer = threading.Timer(0.3, watched.job.cancel.cancel, [Cancelled("in the middle")])
    timer.start()
    asked = time.monotonic()
    with pytest.raises(Cancelled, match="in the middle"):
        backend.build(recipe, watched.job)
    assert time.monotonic() - asked < 0.8
    timer.join()


def test_cancel_of_one_leaves_the_other(backend: Backend, make_recipe: MakeRecipe) -> None:
    first, second, gate = Watched(), Watched(), Gate()
    with ThreadPoolExecutor() as pool:
        doomed = start(pool, backend, make_recipe(sleeping("61"), name="one"), first)
        living = start(pool, backend, make_recipe(running(gate.command), name="two"), second)
        first.job.cancel.cancel(Cancelled("one of two"))
        with pytest.raises(Cancelled):
            doomed.result(10)
        gate.open()
        assert living.result(30).startswith("sha256:")
    assert any(line.endswith("finished") for line in second.lines)


def test_cancel_of_one_of_two_equal_builds(backend: Backend, make_recipe: MakeRecipe) -> None:
    """BuildKit runs a step that both have in common once."""
    first, second, gate = Watched(), Watched(), Gate()
    recipe = make_recipe(running(gate.command))
    with ThreadPoolExecutor() as pool:
        doomed = start(pool, backend, recipe, first)
        living = pool.submit(backend.build, recipe, second.job)
        system.wait_until(lambda: second.lines)
        first.job.cancel.cancel(Cancelled("one of two"))
        with pytest.raises(Cancelled):
            doomed.result(10)
        gate.open_until(living.done)
        assert living.result(30).startswith("sha256:")


BUILD = """\
import sys
from pathlib import Path
from reconciler.builder.base import Recipe
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from tests.builder.conftest import make_backend

name, url, context = sys.argv[1:]
recipe = Recipe("shop/api", Path(context), Path(context) / "Dockerfile")
make_backend(name, Engine(url)).build(recipe, Job(log=lambda line: print(line, flush=True)))
"""


@pytest.mark.parametrize("name", ["buildkit", "classic"])
def test_killed_process_takes_its_build_along(
    engine: PrivateEngine, docker_env: None, make_recipe: MakeRecipe, name: str
) -> None:
    seconds = unique_sleep()
    context = str(make_recipe(sleeping(seconds)).context)
    argv = [sys.executable, "-c", BUILD, name, engine.url, context]
    root = Path(__file__).parents[2]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout
        assert any(line.rstrip().endswith("begun") for line in process.stdout)
        process.kill()
    system.wait_until(lambda: not processes(seconds), 2, "the end of the step")
    system.wait_until(lambda: not processes(context), 2, "the end of the docker CLI")
    system.wait_until(
        lambda: not [each for each in engine.containers() if seconds in each["Command"]], 2
    )


@pytest.mark.parametrize("name", ["buildkit", "classic"])
def test_cancel_engine_killed_in_the_middle(
    own_engine: PrivateEngine, make_recipe: MakeRecipe, watched: Watched, name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DOCKER_CONFIG", own_engine.env()["DOCKER_CONFIG"])
    backend = make_backend(name, Engine(own_engine.url))
    seconds = unique_sleep()
    with ThreadPoolExecutor() as pool:
        future = start(pool, backend, make_recipe(sleeping(seconds)), watched)
        own_engine.kill()
        with pytest.raises(EngineUnavailable) as caught:
            future.result(20)
    assert caught.value.app == "shop/api"
    assert caught.value.todo
    own_engine.start()
    assert backend.build(make_recipe("FROM busybox:stable\nRUN echo ok\n", name="b"), Watched().job)
    assert own_engine.containers() == []


def test_cancel_engine_is_away(make_recipe: MakeRecipe, watched: Watched, tmp_path: Path) -> None:
    api = Engine(f"unix://{tmp_path}/none.sock")
    for name in ("buildkit", "classic"):
        with pytest.raises(EngineUnavailable, match="doesn't answer"):
            make_backend(name, api).build(make_recipe("FROM busybox:stable\n"), watched.job)
