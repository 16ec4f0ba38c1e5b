"""What reconciling costs beside the same work by hand."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.benchmarks.conftest import Compare
from tests.e2e.conftest import DOCKERFILE, Shop
from tests.support.engine import docker_cli

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

IMPORTS = "import click, pydantic, yaml, sqlite3"
HOST_PORT = 18300


class ByHand:
    """git, docker build, docker run and a poll, as a careful person would type them."""

    def __init__(self, shop: Shop, directory: Path) -> None:
        self.shop = shop
        self.clone = directory / "by-hand"
        self.name = f"{shop.project}-by-hand"
        self.network = f"{shop.project}-by-hand"
        self.environ = {**os.environ, **shop.engine.env(), "DOCKER_BUILDKIT": "1"}
        self.docker = docker_cli()
        self.call("git", "clone", "-q", shop.repo.url, str(self.clone))
        self.call(self.docker, "network", "create", self.network)
        self.port = HOST_PORT

    def call(self, *argv: str) -> str:
        done = subprocess.run(argv, env=self.environ, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def deploy(self, page: str, *, build: bool = True, env: Sequence[str] = ()) -> None:
        """Build the new version, make its container, swap, and wait for its answer."""
        if build:
            self.call("git", "-C", str(self.clone), "fetch", "-q")
            self.call("git", "-C", str(self.clone), "checkout", "-q", "origin/main")
            self.call(self.docker, "build", "-q", "-t", self.name, str(self.clone))
        flags = [flag for value in env for flag in ("-e", value)]
        new, old = f"{self.name}-new", self.name
        self.call(
            self.docker, "create", "--name", new, "--network", self.network, "--restart",
            "unless-stopped", "-p", f"127.0.0.1:{self.port}:8000", *flags, self.name,
        )  # fmt: skip
        if self.call(self.docker, "ps", "-q", "-f", f"name=^{old}$"):
            self.call(self.docker, "stop", old)
        self.call(self.docker, "start", new)
        wait_for(f"http://127.0.0.1:{self.port}/", page)
        if self.call(self.docker, "ps", "-aq", "-f", f"name=^{old}$"):
            self.call(self.docker, "rm", old)
        self.call(self.docker, "rename", new, old)


def wait_for(url: str, page: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                if response.read().decode() == page:
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.01)
    raise AssertionError(f"{url} never answered {page!r}")


def test_commit_to_answer(shop: Shop, tmp_path: Path, compare: Compare) -> None:
    shop.app(ports=[f"127.0.0.1:{HOST_PORT + 1}:8000"])
    shop.apply()
    by_hand = ByHand(shop, tmp_path)
    pages = itertools.count()

    def commit() -> str:
        page = f"page {next(pages)}"
        shop.repo.commit({"index.html": page})
        return page

    def ours() -> None:
        page = commit()
        shop.apply("-q")
        wait_for(f"http://127.0.0.1:{HOST_PORT + 1}/", page)

    found = compare("commit to answer", ours, lambda: by_hand.deploy(commit()), times=9)
    assert found.ratio < 1.15


def test_environment_to_answer(shop: Shop, tmp_path: Path, compare: Compare) -> None:
    shop.app(ports=[f"127.0.0.1:{HOST_PORT + 1}:8000"])
    shop.apply()
    by_hand = ByHand(shop, tmp_path)
    by_hand.deploy("one")
    values = itertools.count()

    def ours() -> None:
        shop.app(ports=[f"127.0.0.1:{HOST_PORT + 1}:8000"], env={"A": str(next(values))})
        shop.apply("-q")
        wait_for(f"http://127.0.0.1:{HOST_PORT + 1}/", "one")

    found = compare(
        "environment to answer",
        ours,
        lambda: by_hand.deploy("one", build=False, env=[f"A={next(values)}"]),
        times=9,
    )
    assert found.ratio < 1.15


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


def test_nothing_to_do_for_a_hundred_apps(shop: Shop, compare: Compare) -> None:
    hundred_apps(shop)
    argv = shop.command("apply", "-q")
    environ = shop.env()
    python = [sys.executable, "-c", IMPORTS]

    def by_hand() -> None:
        subprocess.run(python, env=environ, check=True)
        assert len(shop.engine.containers(f"reconciler.project={shop.project}")) == 100
        subprocess.run(["git", "ls-remote", shop.repo.url], check=True, capture_output=True)

    found = compare(
        "nothing to do, 100 apps",
        lambda: subprocess.run(argv, env=environ, check=True),
        by_hand,
        times=15,
    )
    assert found.ours - found.by_hand < 0.060

    found = compare(
        "status of 100 apps",
        lambda: subprocess.run(
            shop.command("status"), env=environ, check=True, capture_output=True
        ),
        lambda: subprocess.run(python, env=environ, check=True),
        times=15,
    )
    assert found.ratio < 2
