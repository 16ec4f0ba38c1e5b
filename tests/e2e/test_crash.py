"""Processes, engines and disks that die in the middle: the next apply gets there."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler import queue
from reconciler.engine.documents import Wanted, history_document, status_document
from reconciler.host.owner import current_owner
from reconciler.state.recorded import read_recorded
from reconciler.state.records import Request
from reconciler.state.store import Store
from tests.e2e.conftest import DOCKERFILE, Shop
from tests.support.engine import PrivateEngine
from tests.support.gate import Gate
from tests.support.gitrepo import GitRepo

WaitUntil = Callable[..., Any]
APPS = ("api", "web")
STAGES = ("clone", "build", "push", "deploy", "health")


def kill_apply(shop: Shop, delay: float) -> bool:
    """Start `apply`, and kill it after `delay` seconds; False when it had ended before."""
    applying = shop.fork("apply", "-q")
    try:
        applying.wait(delay)
    except subprocess.TimeoutExpired:
        applying.kill()
    return applying.returncode == -signal.SIGKILL


def assert_settled(shop: Shop, page: str, names: tuple[str, ...] = APPS) -> None:
    """One container for each app, the right one, nothing beside it, and no row left running."""
    store = Store(shop.state_dir)
    assert store.unfinished() == []
    store.close()
    for name in names:
        assert shop.answer(name) == page
        shop.container_id(name)
    assert list((shop.state_dir / "checkouts").glob("*")) == []
    for log in (shop.state_dir / "logs").rglob("*.log"):
        assert not re.search(r"\| built .*\n(.*\n)*.*\| building ", log.read_text()), log


@pytest.mark.timeout(400)
def test_killed_at_random_moments_again_and_again(shop: Shop) -> None:
    chance = random.Random(7)
    for name in APPS:
        shop.app(name)
    for round_number in range(10):
        kills, version = 0, 0
        while kills < 10:
            page = f"page {round_number}.{version}"
            shop.repo.commit({"index.html": page})
            while kills < 10 and kill_apply(shop, chance.uniform(0.0, 0.8)):
                kills += 1
            version += 1
        shop.apply()
        assert_settled(shop, page)
        assert shop.plan()["actions"] == []


@pytest.mark.parametrize("edge", ["begin", "end"])
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_the_edge_of_a_stage(shop: Shop, registry: Any, stage: str, edge: str) -> None:
    repository = f"{registry.address}/{shop.project}/api"
    shop.app(image={"repository": repository, "push": True})
    shop.apply()
    shop.repo.commit({"index.html": "two"})
    code = (
        "import os, signal, sys\n"
        "from reconciler import queue\n"
        f"name = '{edge}_stage'\n"
        "real = getattr(queue, name)\n"
        "def deadly(store, claim, stage, *rest):\n"
        "    real(store, claim, stage, *rest)\n"
        f"    if stage == '{stage}': os.kill(os.getpid(), signal.SIGKILL)\n"
        "setattr(queue, name, deadly)\n"
        "from reconciler.cli import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    command = [*shop.command("apply")]
    command[1:3] = ["-c", code]
    killed = subprocess.run(command, env=shop.env(), capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    images = shop.images()
    shop.apply()
    assert_settled(shop, "two", ("api",))
    newest = shop.history()[0]
    assert (newest["outcome"], newest["attempt"]) == ("succeeded", 2)
    if (stage, edge) not in (("clone", "begin"), ("clone", "end"), ("build", "begin")):
        assert shop.images() == images


def assert_ends_well(command: subprocess.Popen[str], gate: Gate) -> None:
    """The command ends with 0 when the builds that it runs go on."""
    gate.open_until(lambda: command.poll() is not None)
    out, err = command.communicate()
    assert command.returncode == 0, out + err


def test_owner_killed_another_process_takes_over_at_once(shop: Shop, wait_until: WaitUntil) -> None:
    gate = Gate()
    shop.repo.commit({"Dockerfile": DOCKERFILE + gate.step})
    shop.app()
    applying = shop.start("apply")
    wait_until(lambda: any(r["stage"] == "build" for r in shop.history()), timeout=20)
    waiting = shop.start("apply")
    applying.kill()
    applying.communicate()
    assert_ends_well(waiting, gate)
    assert_settled(shop, "one", ("api",))
    assert shop.history()[0]["attempt"] == 2


def killed_in_stage(shop: Shop, stage: str, wait_until: WaitUntil) -> None:
    """An `apply` that was killed in this stage."""
    applying = shop.start("apply")

    def reached() -> bool:
        newest = shop.history()[0]
        return (newest["status"], newest["stage"]) == ("running", stage)

    wait_until(reached, timeout=20)
    applying.kill()
    applying.communicate()


def test_owner_killed_and_a_newer_commit_is_there(shop: Shop, wait_until: WaitUntil) -> None:
    shop.app()
    shop.apply()
    gate = Gate()
    shop.repo.commit({"Dockerfile": DOCKERFILE + gate.step})
    killed_in_stage(shop, "build", wait_until)
    shop.repo.commit({"Dockerfile": DOCKERFILE, "index.html": "two"})
    assert_ends_well(shop.start("apply"), gate)
    assert_settled(shop, "two", ("api",))


def test_owner_killed_and_deploy_by_hand(shop: Shop, wait_until: WaitUntil) -> None:
    shop.app()
    shop.apply()
    gate = Gate()
    shop.repo.commit({"Dockerfile": DOCKERFILE + gate.step})
    killed_in_stage(shop, "build", wait_until)
    shop.repo.commit({"Dockerfile": DOCKERFILE, "index.html": "two"})
    assert_ends_well(shop.start("deploy", "api"), gate)
    assert_settled(shop, "two", ("api",))


def test_owner_killed_and_whoever_takes_over_has_no_secret(
    shop: Shop, wait_until: WaitUntil
) -> None:
    shop.environ["TOKEN"] = "correct horse"
    shop.app(env={"TOKEN": {"env": "TOKEN"}})
    shop.apply()
    container = shop.container_id()
    shop.repo.commit({"Dockerfile": DOCKERFILE.replace("8000", "9000")})
    killed_in_stage(shop, "health", wait_until)
    del shop.environ["TOKEN"]
    done = shop.run("cancel", "api")
    assert done.code == 0, done.err
    assert shop.history()[0]["outcome"] == "cancelled"
    assert shop.container_id() == container
    assert_settled(shop, "one", ("api",))


@pytest.mark.parametrize("then", ["cancel", "kill"])
def test_owner_killed_after_the_old_container_went(shop: Shop, then: str) -> None:
    shop.app()
    shop.apply()
    shop.repo.commit({"index.html": "two"})
    code = (
        "import os, signal, sys\n"
        "from reconciler import queue\n"
        "queue.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from reconciler.cli import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    command = [*shop.command("apply")]
    command[1:3] = ["-c", code]
    killed = subprocess.run(command, env=shop.env(), capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    container = shop.container_id()
    assert shop.run(then, "api").code == 0
    assert shop.container_id() == container
    assert shop.history()[0]["outcome"] == "succeeded"
    assert_settled(shop, "two", ("api",))


def test_engine_killed_in_the_middle_of_a_build(
    own_engine: PrivateEngine,
    git_repo: Callable[[str], GitRepo],
    state_dir: Path,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    (tmp_path / "config").mkdir()
    shop = Shop(tmp_path / "config", "shop", own_engine, git_repo("app"), state_dir)
    shop.repo.commit({"Dockerfile": DOCKERFILE, "index.html": "one"})
    shop.app(restart="always")
    shop.apply()
    gate = Gate()
    shop.repo.commit({"Dockerfile": DOCKERFILE + gate.step, "index.html": "two"})
    applying = shop.start("apply")
    wait_until(lambda: shop.history()[0]["stage"] == "build", timeout=20)
    own_engine.kill()
    applying.wait(30)
    applying.communicate()
    assert shop.run("apply").code == 69
    own_engine.start()
    assert_ends_well(shop.start("apply"), gate)
    assert_settled(shop, "two", ("api",))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, str], Path]]:
    """`small_disk(directory, size)`: a disk of that size mounted there."""
    mounted: list[Path] = []

    def mount(directory: Path, size: str) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        argv = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(directory)]
        subprocess.run(argv, check=True)
        mounted.append(directory)
        return directory

    yield mount
    for directory in reversed(mounted):
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path, leave: int) -> Path:
    filler = directory / "filler"
    free = shutil.disk_usage(directory).free
    filler.write_bytes(b"\0" * max(free - leave, 0))
    return filler


def test_disk_of_the_state_is_full(
    shop: Shop, small_disk: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    shop.state_dir = small_disk(tmp_path / "small", "8m")
    shop.app()
    shop.apply()
    container = shop.container_id()
    shop.repo.commit({"index.html": "two"})
    filler = fill(shop.state_dir, 0)
    done = shop.run("apply")
    assert done.code in (1, 69), done.out + done.err
    assert "room" in done.out + done.err or "space" in done.out + done.err
    assert shop.container_id() == container
    assert shop.answer() == "one"
    filler.unlink()
    shop.apply()
    assert_settled(shop, "two", ("api",))


def test_disk_of_the_checkouts_is_full(shop: Shop, small_disk: Callable[[Path, str], Path]) -> None:
    shop.app()
    shop.apply()
    checkouts = small_disk(shop.state_dir / "checkouts", "1m")
    shop.repo.commit({"index.html": "two", "big": os.urandom(2 << 20)})
    done = shop.apply(code=1)
    assert "room" in done.out or "space" in done.out
    assert shop.answer() == "one"
    subprocess.run(["mount", "-o", "remount,size=16m", str(checkouts)], check=True)
    shop.apply()
    assert shop.answer() == "two"


def seconds_of(work: Callable[[], object], times: int = 9) -> float:
    """The median."""
    measured = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        measured.append(time.perf_counter() - started)
    return sorted(measured)[times // 2]


def many_rows(store: Store, count: int) -> None:
    spec = {"source": {"path": "./x"}}
    row = queue.put(store, Request("shop/api", "deploy", "apply", "t", spec, "/"), 1.0)
    claim = queue.claim(store, current_owner(), 2.0)
    assert claim
    queue.finish(store, claim, queue.Ending("succeeded"), 3.0)
    columns = [
        name[1]
        for name in store.connection.execute("PRAGMA table_info(deployments)")
        if name[1] not in ("seq", "id", "app")
    ]
    with store.transaction() as connection:
        connection.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
            f"INSERT INTO deployments (id, app, {', '.join(columns)}) "
            "SELECT 'id-' || n.i, 'shop/app' || (n.i % 10), "
            f"{', '.join('d.' + name for name in columns)} "
            "FROM n, deployments d WHERE d.id = ?",
            (row.id,),
        )


@pytest.mark.alone
def test_history_of_100000_rows_is_as_fast_as_of_100(tmp_path: Path) -> None:
    timings: list[dict[str, float]] = []
    for count in (100, 100_000):
        store = Store(tmp_path / str(count))
        many_rows(store, count)
        wanted = {f"shop/app{number}": Wanted("main") for number in range(10)}

        def claim_next(store: Store = store) -> None:
            spec = {"source": {"path": "./x"}}
            queue.put(store, Request("shop/api", "deploy", "apply", "t", spec, "/"), 1.0)
            claim = queue.claim(store, current_owner(), 2.0)
            assert claim
            queue.finish(store, claim, queue.Ending("failed"), 3.0)

        def show_status(store: Store = store, wanted: dict[str, Wanted] = wanted) -> None:
            status_document(store, "shop", wanted, None)
            read_recorded(store, "shop")

        def show_history(store: Store = store) -> None:
            history_document(store, store.list_deployments())
            history_document(store, store.list_deployments("shop/app1"))

        works = {"claim": claim_next, "status": show_status, "history": show_history}
        timings.append({name: seconds_of(work, 25) for name, work in works.items()})
        store.close()
    few, many = timings
    for name, seconds in many.items():
        assert seconds < 1.5 * few[name] + 0.0005, (name, few[name], seconds)
