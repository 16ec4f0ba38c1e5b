"""What reconciling costs beside the same work by hand."""

from __future__ import annotations

import http.client
import itertools
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.state.store import Store
from tests.benchmarks.conftest import Compare, Compared, Sides
from tests.e2e.conftest import DOCKERFILE, Shop
from tests.support.engine import docker_cli

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

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
    compare("commit to answer", sides, lambda found: found.ratio < 1.15, times=11)


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
    compare("environment to answer", sides, lambda found: found.ratio < 1.15, times=11)


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
        compare("heal to answer", Sides(ours, hand), enough, times=3)
    store.close()
