"""Daemons that are killed in the middle of their work, with others beside them on one state."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from tests.e2e.conftest import DOCKERFILE, Daemon, Shop, serves
from tests.support.engine import PrivateEngine
from tests.support.gate import Gate

Wait = Callable[..., Any]
APPS = ("api", "web")
READY = {"http": {"port": 8000, "path": "/ready"}, "timeout": "30s"}


def kill(daemon: Daemon) -> None:
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()


def test_each_change_is_deployed_once_whoever_dies_in_a_build_or_a_swap_and_whoever_is_beside(
    shop: Shop, engine: PrivateEngine, wait_until: Wait
) -> None:
    gate = Gate()
    shop.repo.commit({"ready": ""})
    for name in APPS:
        shop.app(name, health=READY)

    def show(page: str) -> bool:
        return all(serves(shop, page, name) for name in APPS) and not shop.plan()["actions"]

    def at(stage: str) -> bool:
        """Whether a deployment of each app is there."""
        newest = [shop.history(name)[0] for name in APPS]
        return all((row["status"], row["stage"]) == ("running", stage) for row in newest)

    flags = ("--interval", "1s")
    with shop.daemon(*flags) as one, shop.daemon(*flags) as other:
        wait_until(lambda: one.lines("standby") or other.lines("standby"))
        leader, standby = (other, one) if one.lines("standby") else (one, other)
        wait_until(lambda: show("one"), timeout=30)

        shop.repo.commit({"Dockerfile": DOCKERFILE + gate.step, "index.html": "two"})
        wait_until(lambda: at("build"), timeout=20)
        kill(leader)
        gate.open_until(lambda: show("two"))
        assert standby.lines("started")

        shop.repo.commit({"Dockerfile": DOCKERFILE, "index.html": "three"})
        beside = [shop.start("apply", "-q") for _ in range(2)]
        assert [apply.communicate(timeout=60) and apply.returncode for apply in beside] == [0, 0]
        wait_until(lambda: show("three"))

        shop.repo.commit({"index.html": "four", "ready": None})
        wait_until(lambda: at("health"), timeout=20)
        kill(standby)
    started = {name: shop.containers(name)[0]["Id"] for name in APPS}
    with shop.daemon(*flags):
        for container in started.values():
            engine.docker("exec", container, "touch", "/www/ready")
        wait_until(lambda: show("four"), timeout=20)
    for name in APPS:
        assert shop.container_id(name) == started[name]
        rows = shop.history(name)
        assert [row["outcome"] for row in rows] == ["succeeded"] * 4
        assert [row["attempt"] for row in rows] == [2, 1, 2, 1]
        assert len(shop.images(name)) <= 4
        for log in (shop.state_dir / "logs" / shop.project / name).iterdir():
            assert log.read_text().count("| built ") == 1
    assert list((shop.state_dir / "checkouts").iterdir()) == []
