"""A daemon keeps the host in step by itself: edits, commits, drift, and the end of its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from tests.e2e.conftest import Shop, answers
from tests.support.engine import PrivateEngine

Wait = Callable[..., Any]


def test_daemon_acts_on_an_edit_a_commit_and_a_removed_container(
    shop: Shop, engine: PrivateEngine, wait_until: Wait
) -> None:
    shop.app(env={"LEVEL": "1"})
    with shop.daemon() as daemon:
        wait_until(lambda: answers(shop, "one"), timeout=30)
        first = shop.container_id()

        shop.app(env={"LEVEL": "2"})
        wait_until(lambda: shop.history()[0]["cause"] == "env.LEVEL changed")
        wait_until(lambda: shop.status()["status"] == "done")
        second = shop.container_id()
        assert second != first

        shop.repo.commit({"index.html": "two"})
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: answers(shop, "two"), timeout=30)

        wait_until(lambda: shop.status()["status"] == "done")
        engine.docker("rm", "-f", shop.container_id())
        wait_until(lambda: answers(shop, "two"), timeout=30)
        healed = shop.history()[0]
        assert healed["kind"] == "heal"
        assert "build" not in shop.stages(healed)
        assert daemon.stop() < 10


def test_daemon_the_second_one_stands_by_and_takes_over(shop: Shop, wait_until: Wait) -> None:
    shop.app()
    with shop.daemon() as first:
        wait_until(lambda: answers(shop, "one"), timeout=30)
        with shop.daemon() as second:
            wait_until(lambda: second.lines("standby"))
            os.kill(first.process.pid, signal.SIGKILL)
            wait_until(lambda: second.lines("started"))
            first.process.wait()
            shop.app(env={"LEVEL": "2"})
            wait_until(lambda: shop.history()[0]["cause"] == "env.LEVEL added")
