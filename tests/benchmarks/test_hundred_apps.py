"""A hundred apps: deployed while many poll, then with nothing to do, and at rest.

They come twenty at a time, without clients and with them in turn, on an engine of their own.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.state.records import Deployment
from reconciler.state.store import Store
from reconciler.state.tokens import Token, create_token
from tests.benchmarks.conftest import ROUNDS, Compare, Sides, Tell
from tests.e2e.conftest import DOCKERFILE, Shop
from tests.support.engine import PrivateEngine
from tests.support.gitrepo import GitRepo
from tests.support.system import wait_until

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(400)]

APPS, CLIENTS, SECONDS_BETWEEN = 20, 200, 4.0
BUILD = "RUN sleep 1 && echo {app} >/built\n"
"""What a build does most of its time: it waits. Each its own, so that none is found built."""

IMPORTS = "import click, pydantic, yaml, sqlite3"


class Batches:
    """Apps that are new, so that each is built and started."""

    def __init__(self, shop: Shop, store: Store) -> None:
        self.shop, self.store = shop, store

    def deploy(self, names: list[str]) -> float:
        """Seconds from the first request to the last end."""
        self.declare(names)
        deadline = time.monotonic() + 90
        while len(done := self.ended(names)) < len(names):
            assert time.monotonic() < deadline, done
            time.sleep(0.1)
        assert {row.outcome for row in done} == {"succeeded"}
        return max(row.finished_at or 0 for row in done) - min(row.queued_at for row in done)

    def declare(self, names: list[str]) -> None:
        """All apps are of one repository, each with a directory of its own."""
        dockerfiles = {
            f"{name}/Dockerfile": DOCKERFILE.replace("COPY", BUILD.format(app=name) + "COPY", 1)
            for name in names
        }
        self.shop.repo.commit(dict(dockerfiles))
        for number, name in enumerate(names):
            self.shop.apps[name] = {
                "source": {"git": self.shop.repo.url, "subdir": name},
                "env": {"NUMBER": str(number), "LOG_LEVEL": "info"},
                "health": {"tcp": 8000},
                "restart": "no",
            }
        self.shop.write()

    def ended(self, names: list[str]) -> list[Deployment]:
        latest = self.store.latest_of([f"{self.shop.project}/{name}" for name in names])
        return [row for row in latest.values() if row.ended]


@contextmanager
def polled(port: int, token: str, names: list[str]) -> Iterator[dict[str, Any]]:
    """Clients poll for the block; afterwards the dictionary has what they measured."""
    argv = [
        sys.executable, "-m", "tests.benchmarks.pollers",
        f"127.0.0.1:{port}", str(CLIENTS), str(SECONDS_BETWEEN), *names,
    ]  # fmt: skip
    report: dict[str, Any] = {}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{token}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        yield report
        out, _ = process.communicate(timeout=30)
    report.update(json.loads(out))


@dataclass(frozen=True)
class Round:
    """Seconds of twenty deployments: with clients, and without before and after it, as an engine
    with more containers is slower. And what the clients measured."""

    busy: float
    quiet: float
    report: dict[str, Any]

    @property
    def enough(self) -> bool:
        return self.busy < self.quiet * 1.05 and self.report["p99"] < 50

    def __str__(self) -> str:
        return (
            f"20 deployments: {self.quiet:.2f} s, with 200 clients {self.busy:.2f} s, "
            f"ratio {self.busy / self.quiet:.3f}; {self.report['requests']} polls, median "
            f"{self.report['p50']:.1f} ms, p99 {self.report['p99']:.1f} ms, "
            f"max {self.report['max']:.0f}"
        )


@dataclass
class Hundred:
    """A hundred apps that run, and one that was the first."""

    shop: Shop
    rounds: list[Round] = field(default_factory=list)

    def deploy(self, tell: Tell) -> None:
        """Two rounds make a hundred; more as long as none was enough."""
        store = Store(self.shop.state_dir)
        token = create_token(store, Token("pollers", "read"), time.time())
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        batches = Batches(self.shop, store)
        with self.shop.daemon("--listen", f"127.0.0.1:{port}"):
            batches.deploy(["first"])
            before = batches.deploy([f"quiet-{one}" for one in range(APPS)])
            while len(self.rounds) < 2 or not (self.enough or len(self.rounds) == ROUNDS):
                number = len(self.rounds)
                with polled(port, token, list(self.shop.apps)[-APPS:]) as report:
                    busy = batches.deploy([f"busy{number}-{one}" for one in range(APPS)])
                after = batches.deploy([f"quiet{number}-{one}" for one in range(APPS)])
                self.rounds.append(Round(busy, statistics.mean((before, after)), report))
                before = after
                tell(str(self.rounds[-1]))
        store.close()

    @property
    def enough(self) -> bool:
        return any(one.enough for one in self.rounds)


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory, tell: Tell) -> Iterator[Hundred]:
    directory = tmp_path_factory.mktemp("hundred")
    (directory / "config").mkdir()
    (directory / "state").mkdir(mode=0o700)
    engine = PrivateEngine.create()
    try:
        engine.start_once()
        with engine.inside():
            repo = GitRepo(directory / "git" / "app")
            made = Hundred(Shop(directory / "config", "hundred", engine, repo, directory / "state"))
            made.deploy(tell)
            yield made
    finally:
        engine.remove()


def test_two_hundred_clients_poll_while_twenty_deployments_run(hundred: Hundred) -> None:
    assert len(hundred.shop.apps) > 100
    for one in hundred.rounds:
        assert one.report["errors"] == []
        assert one.report["requests"] > 300
    assert hundred.enough, [str(one) for one in hundred.rounds]


def test_nothing_to_do(hundred: Hundred, compare: Compare) -> None:
    """Beside the list of the containers and the question at the git host."""
    shop = hundred.shop
    argv, environ = shop.command("apply", "-q"), shop.env()

    def by_hand() -> None:
        subprocess.run([sys.executable, "-c", IMPORTS], env=environ, check=True)
        found = shop.engine.containers(f"reconciler.project={shop.project}")
        assert len(found) == len(shop.apps)
        subprocess.run(["git", "ls-remote", shop.repo.url], check=True, capture_output=True)

    sides = Sides(lambda: subprocess.run(argv, env=environ, check=True), by_hand)
    compare("nothing to do, 100 apps", sides, lambda found: found.difference < 0.060, times=15)


def cpu_seconds(pid: int) -> float:
    """Of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def touched(state: Path) -> int:
    """Changes with every write: the log of SQLite only grows, or is written back."""
    files = (state / "state.db", state / "state.db-wal")
    return sum(file.stat().st_mtime_ns for file in files if file.exists())


def at_rest(pid: int) -> bool:
    """Whether it has done nothing for a second: what starting costs isn't rest."""
    before = cpu_seconds(pid)
    time.sleep(1.0)
    return cpu_seconds(pid) - before < 0.02


def test_status_beside_a_daemon_at_rest(hundred: Hundred, compare: Compare, tell: Tell) -> None:
    """As many passes as a minute has at the default interval, or more, in 20 seconds; reading
    the status in that time is no work for the daemon."""
    shop = hundred.shop
    environ, look = shop.env(), shop.command("status")
    status = Sides(
        lambda: subprocess.run(look, env=environ, check=True, capture_output=True),
        lambda: subprocess.run([sys.executable, "-c", IMPORTS], env=environ, check=True),
    )
    with shop.daemon("--interval", "20s") as daemon:
        pid = daemon.process.pid
        wait_until(lambda: daemon.lines("started"))
        wait_until(lambda: at_rest(pid), timeout=30)
        began, before, written = time.monotonic(), cpu_seconds(pid), touched(shop.state_dir)
        compare("status of 100 apps", status, lambda found: found.ratio < 2, times=15)
        time.sleep(max(0.0, began + 20 - time.monotonic()))
        share = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        resident = resident_bytes(pid)
        written = touched(shop.state_dir) - written
    tell(f"at rest, 100 apps: {resident / (1 << 20):.1f} MiB, {share:.2%} of a core")
    assert resident < 80 << 20
    assert share < 0.005
    assert written == 0
