"""What reconciling costs beside the same work by hand."""

from __future__ import annotations

import http.client
import itertools
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.state.store import Store
from tests.benchmarks.conftest import Compare, Compared, Sides
from tests.e2e.conftest import DOCKERFILE, Shop
from tests.support.engine import docker_cli

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

IMPORTS = "import click, pydantic, yaml, sqlite3"
HOST_PORT = 18300


SHOWS_PAGE = DOCKERFILE.replace(
    'CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]',
    'CMD ["sh", "-c", "echo -n $PAGE >/www/env; exec httpd -f -p 8000 -h /www"]',
)


class ByHand:
    """git, docker build, create, stop, start, a poll and rm, as a careful person types them."""

    def __init__(self, shop: Shop, directory: Path) -> None:
        self.clone = directory / "by-hand"
        self.name = f"{shop.project}-by-hand"
        self.environ = {**os.environ, **shop.engine.env(), "DOCKER_BUILDKIT": "1"}
        self.docker = docker_cli()
        self.numbers = itertools.count()
        self.serving = ""
        self.call("git", "clone", "-q", shop.repo.url, str(self.clone))
        self.call(self.docker, "network", "create", self.name)

    def call(self, *argv: str) -> None:
        subprocess.run(argv, env=self.environ, check=True, capture_output=True)

    def build(self) -> None:
        self.call("git", "-C", str(self.clone), "fetch", "-q")
        self.call("git", "-C", str(self.clone), "checkout", "-q", "origin/main")
        self.call(self.docker, "build", "-q", "-t", self.name, str(self.clone))

    def swap(self, path: str, page: str, *flags: str) -> None:
        new, old = f"{self.name}-{next(self.numbers)}", self.serving
        self.call(
            self.docker, "create", "--name", new, "--network", self.name, "--restart",
            "unless-stopped", "-p", f"127.0.0.1:{HOST_PORT}:8000", *flags, self.name,
        )  # fmt: skip
        if old:
            self.call(self.docker, "stop", old)
        self.call(self.docker, "start", new)
        wait_for(f"http://127.0.0.1:{HOST_PORT}{path}", page)
        if old:
            self.call(self.docker, "rm", old)
        self.serving = new


def wait_for(url: str, page: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                if response.read().decode() == page:
                    return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.01)
    raise AssertionError(f"{url} never answered {page!r}")


def apply_until(shop: Shop, path: str, page: str) -> float:
    """Seconds from the start of `apply` until the new version answers; it ends soon after.

    The published port isn't asked before the container has started: docker's proxy listens
    before that, and who asks it then waits for a second.
    """
    store = Store(shop.state_dir)
    before = store.list_deployments(limit=1)[0].id
    command, environ = shop.command("apply", "-q"), shop.env()
    started = time.perf_counter()
    applying = subprocess.Popen(command, env=environ)
    time.sleep(0.25)  # no container stops and starts in less, and looking takes a share of a core
    while (row := store.list_deployments(limit=1)[0]).id == before or row.stage != "health":
        assert applying.poll() is None
        time.sleep(0.004)
    store.close()
    wait_for(f"http://127.0.0.1:{HOST_PORT + 1}{path}", page)
    seconds = time.perf_counter() - started
    assert applying.wait() == 0
    return seconds


@pytest.fixture
def published(shop: Shop) -> Shop:
    shop.repo.commit({"Dockerfile": SHOWS_PAGE, "index.html": "page"})
    shop.app(ports=[f"127.0.0.1:{HOST_PORT + 1}:8000"])
    shop.apply()
    return shop


def test_commit_to_answer(published: Shop, tmp_path: Path, compare: Compare) -> None:
    by_hand = ByHand(published, tmp_path)
    numbers = itertools.count()

    def commit() -> str:
        page = f"page {next(numbers)}"
        published.repo.commit({"index.html": page})
        return page

    def hand() -> None:
        page = commit()
        by_hand.build()
        by_hand.swap("/", page)

    sides = Sides(lambda: apply_until(published, "/", commit()), hand)
    found = compare("commit to answer", sides, lambda found: found.ratio < 1.15, times=11)
    assert found.ratio < 1.15


def test_environment_to_answer(published: Shop, tmp_path: Path, compare: Compare) -> None:
    by_hand = ByHand(published, tmp_path)
    by_hand.build()
    numbers = itertools.count()

    def ours() -> float:
        page = f"ours {next(numbers)}"
        published.app(ports=[f"127.0.0.1:{HOST_PORT + 1}:8000"], env={"PAGE": page})
        return apply_until(published, "/env", page)

    def hand() -> None:
        page = f"hand {next(numbers)}"
        by_hand.swap("/env", page, "-e", f"PAGE={page}")

    sides = Sides(ours, hand)
    found = compare("environment to answer", sides, lambda found: found.ratio < 1.15, times=11)
    assert found.ratio < 1.15


def test_heal_to_answer(
    published: Shop, tmp_path: Path, compare: Compare, wait_until: Callable[..., Any]
) -> None:
    by_hand = ByHand(published, tmp_path)
    by_hand.build()
    by_hand.swap("/", "page")
    store = Store(published.state_dir)

    def hand() -> float:
        by_hand.call(by_hand.docker, "rm", "-f", by_hand.serving)
        by_hand.serving = ""
        started = time.perf_counter()
        by_hand.swap("/", "page")
        return time.perf_counter() - started

    def ours() -> float:
        wait_until(lambda: not store.unfinished())
        before = store.list_deployments(limit=1)[0].id
        published.engine.docker("rm", "-f", published.container_id())
        started = time.perf_counter()
        while (row := store.list_deployments(limit=1)[0]).id == before or row.stage != "health":
            time.sleep(0.004)
        wait_for(f"http://127.0.0.1:{HOST_PORT + 1}/", "page")
        return time.perf_counter() - started

    def enough(found: Compared) -> bool:
        return found.ours < 1.3 * found.by_hand + 0.100

    with published.daemon() as daemon:
        wait_until(lambda: daemon.lines("started"))
        assert enough(compare("heal to answer", Sides(ours, hand), enough, times=3))
    store.close()


def hundred_apps(shop: Shop) -> None:
    """A hundred apps of one repository, all recorded and all running as far as a list shows."""
    files = {f"services/app{number}/Dockerfile": DOCKERFILE for number in range(100)}
    shop.repo.commit({**files, "index.html": "one"})
    for number in range(100):
        shop.apps[f"app{number}"] = {
            "source": {"git": shop.repo.url, "subdir": f"services/app{number}"},
            "env": {"NUMBER": str(number), "LOG_LEVEL": "info"},
            "health": {"timeout": "30s", "stable": "1s"},
            "restart": "no",
        }
    shop.top["concurrency"] = 16
    shop.write()
    shop.apply("-q")


@dataclass(frozen=True)
class Rest:
    """A daemon with nothing to do: resident bytes, its share of one core, with its children's,
    and bytes written into the state."""

    resident: int
    share: float
    written: int

    def __str__(self) -> str:
        megabytes = self.resident / (1 << 20)
        return f"{megabytes:.1f} MiB, {self.share:.2%} of a core, {self.written} bytes written"


def measure_rest(pid: int, state_dir: Path, pause: float = 20.0) -> Rest:
    """Over some time with as many passes as a minute has at the default interval, or more."""
    time.sleep(5.0)  # what starting costs isn't rest
    state = state_dir / "state.db"
    before, written = cpu_seconds(pid), _touched(state)
    time.sleep(pause)
    share = (cpu_seconds(pid) - before) / pause
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) << 10
    return Rest(resident, share, _touched(state) - written)


def cpu_seconds(pid: int) -> float:
    """Of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _touched(state: Path) -> int:
    """Changes with every write: the log of SQLite only grows, or is written back."""
    files = (state, state.with_name("state.db-wal"))
    return sum(file.stat().st_mtime_ns for file in files if file.exists())


def test_nothing_to_do_for_a_hundred_apps(
    shop: Shop, compare: Compare, wait_until: Callable[..., Any]
) -> None:
    hundred_apps(shop)
    argv = shop.command("apply", "-q")
    environ = shop.env()
    python = [sys.executable, "-c", IMPORTS]

    def by_hand() -> None:
        subprocess.run(python, env=environ, check=True)
        assert len(shop.engine.containers(f"reconciler.project={shop.project}")) == 100
        subprocess.run(["git", "ls-remote", shop.repo.url], check=True, capture_output=True)

    nothing = Sides(lambda: subprocess.run(argv, env=environ, check=True), by_hand)
    found = compare(
        "nothing to do, 100 apps", nothing, lambda found: found.difference < 0.060, times=15
    )
    assert found.difference < 0.060

    with shop.daemon("--interval", "20s") as daemon:
        wait_until(lambda: daemon.lines("started"))
        rest = measure_rest(daemon.process.pid, shop.state_dir)
    print(f"\nat rest, 100 apps: {rest}")
    assert rest.resident < 80 << 20
    assert rest.share < 0.005
    assert rest.written == 0

    look = shop.command("status")
    status = Sides(
        lambda: subprocess.run(look, env=environ, check=True, capture_output=True),
        lambda: subprocess.run(python, env=environ, check=True),
    )
    found = compare("status of 100 apps", status, lambda found: found.ratio < 2, times=15)
    assert found.ratio < 2
