"""The API while many poll it and much is deployed: neither waits for the other."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from reconciler.state.records import Deployment
from reconciler.state.store import Store
from reconciler.state.tokens import Token, create_token
from tests.e2e.conftest import DOCKERFILE, Shop, shop

__all__ = ["shop"]
pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

APPS, CLIENTS, SECONDS_BETWEEN = 20, 200, 4.0
TRIES = 6
BUILD = "ARG APP\nRUN sleep 1 && echo $APP >/built\n"
"""What a build does most of its time: it waits."""


class Deployments:
    """Apps that are new, so that each is built and started."""

    def __init__(self, shop: Shop, store: Store) -> None:
        self.shop, self.store = shop, store

    def run(self, names: list[str]) -> float:
        """Deploy them; seconds from the first request to the last end."""
        for name in names:
            self.shop.apps[name] = {
                "source": {"git": self.shop.repo.url},
                "build": {"args": {"APP": name}},
                "health": {"http": {"port": 8000, "path": "/"}},
            }
        self.shop.write()
        deadline = time.monotonic() + 90
        while len(done := self.ended(names)) < len(names):
            assert time.monotonic() < deadline, done
            time.sleep(0.1)
        assert {row.outcome for row in done} == {"succeeded"}
        return max(row.finished_at or 0 for row in done) - min(row.queued_at for row in done)

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


def test_two_hundred_clients_poll_while_twenty_deployments_run(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each round is compared with those before and after it: more containers, slower engine."""
    shop.repo.commit({"Dockerfile": DOCKERFILE.replace("COPY", BUILD + "COPY", 1)})
    store = Store(shop.state_dir)
    token = create_token(store, Token("pollers", "read"), time.time())
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    deployments = Deployments(shop, store)
    with shop.daemon("--listen", f"127.0.0.1:{port}"):
        deployments.run(["first"])
        before = deployments.run([f"quiet-{one}" for one in range(APPS)])
        for number in range(TRIES):
            known = list(shop.apps)[-APPS:]
            with polled(port, token, known) as report:
                busy = deployments.run([f"busy{number}-{one}" for one in range(APPS)])
            after = deployments.run([f"quiet{number}-{one}" for one in range(APPS)])
            quiet, before = (before + after) / 2, after
            with capsys.disabled():
                print(
                    f"\n20 deployments: {quiet:.2f} s, with 200 clients {busy:.2f} s, "
                    f"ratio {busy / quiet:.3f}; {report['requests']} polls, median "
                    f"{report['p50']:.1f} ms, p99 {report['p99']:.1f} ms, max {report['max']:.0f}"
                )
            assert report["errors"] == []
            if busy < quiet * 1.05 and report["p99"] < 50:
                break
    store.close()
    assert report["requests"] > 300
    assert report["p99"] < 50
    assert busy < quiet * 1.05
