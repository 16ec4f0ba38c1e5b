"""A daemon keeps the host in step by itself: edits, commits, drift, and the end of its process."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import httpx

from tests.e2e.conftest import DOCKERFILE, Shop, serves
from tests.support.engine import PrivateEngine
from tests.support.gate import Gate

Wait = Callable[..., Any]


def test_daemon_acts_on_an_edit_a_commit_and_a_removed_container(
    shop: Shop, engine: PrivateEngine, wait_until: Wait
) -> None:
    shop.app(env={"LEVEL": "1"})
    with shop.daemon() as daemon:
        wait_until(lambda: serves(shop, "one"), timeout=30)
        first = shop.container_id()

        shop.app(env={"LEVEL": "2"})
        wait_until(lambda: shop.history()[0]["cause"] == "env.LEVEL changed")
        wait_until(lambda: shop.status()["status"] == "done")
        second = shop.container_id()
        assert second != first

        shop.repo.commit({"index.html": "two"})
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: serves(shop, "two"), timeout=30)

        engine.docker("rm", "-f", shop.container_id())
        wait_until(lambda: serves(shop, "two"), timeout=30)
        healed = shop.history()[0]
        assert healed["kind"] == "heal"
        assert "build" not in shop.stages(healed)
        assert daemon.stop() < 10


def test_daemon_the_second_one_stands_by_and_takes_over(shop: Shop, wait_until: Wait) -> None:
    shop.app()
    with shop.daemon() as first:
        wait_until(lambda: serves(shop, "one"), timeout=30)
        with shop.daemon() as second:
            wait_until(lambda: second.lines("standby"))
            os.kill(first.process.pid, signal.SIGKILL)
            wait_until(lambda: second.lines("started"))
            first.process.wait()
            shop.app(env={"LEVEL": "2"})
            wait_until(lambda: shop.history()[0]["cause"] == "env.LEVEL added")


def test_daemon_keeps_the_last_good_spec_through_a_bad_edit_and_a_restart(
    shop: Shop, wait_until: Wait
) -> None:
    shop.app()
    with shop.daemon() as daemon:
        wait_until(lambda: serves(shop, "one"), timeout=30)
        good = shop.spec.read_text()
        shop.replace(good.replace("health:", "helth:"))
        wait_until(lambda: daemon.lines("refused"))
        daemon.signal(signal.SIGHUP)
        problem = shop.status_document()["configuration"]["problem"]
        assert "helth" in problem
        assert daemon.stop() < 10
    with shop.daemon() as daemon:
        shop.engine.docker("rm", "-f", shop.container_id())
        wait_until(lambda: serves(shop, "one"), timeout=30)
        shop.app(env={"LEVEL": "2"})
        wait_until(lambda: daemon.lines("accepted"))
        wait_until(lambda: shop.history()[0]["cause"] == "env.LEVEL added")
        assert not daemon.lines("refused")


def test_daemon_answers_the_api_and_deploys_what_it_is_asked_for(
    shop: Shop, wait_until: Wait
) -> None:
    shop.app()
    key = shop.run("token create", "ci", "--scope", "deploy").out.strip()
    with shop.daemon("--listen", "127.0.0.1:0") as daemon:
        wait_until(lambda: serves(shop, "one"), timeout=30)
        url = "http://" + daemon.lines("listening")[0]["text"].rpartition(" ")[2]
        client = httpx.Client(base_url=url, headers={"x-api-key": key})
        with client:
            shop.repo.commit({"index.html": "two"})
            done = client.post("/application.deploy", json={"applicationId": "api"})
            assert (done.status_code, done.json()) == (200, {"success": True})
            one = client.get("/application.one", params={"applicationId": "api"}).json()
            assert one["applicationStatus"] == "running"
            wait_until(lambda: serves(shop, "two"), timeout=30)
            assert client.get("/readyz").status_code == 200


def test_daemon_that_can_not_listen_says_so_and_ends(shop: Shop) -> None:
    shop.app()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = shop.run("daemon", "--listen", f"127.0.0.1:{port}")
    assert done.code == 64
    assert "listen" in done.err


def test_daemon_hands_a_build_over_to_its_next_start(shop: Shop, wait_until: Wait) -> None:
    gate = Gate()
    shop.repo.commit({"Dockerfile": DOCKERFILE + gate.step, "index.html": "one"})
    shop.app()
    with shop.daemon() as daemon:
        wait_until(lambda: shop.history() and shop.history()[0]["stage"] == "build", timeout=20)
        assert daemon.stop() < 10
    (row,) = shop.history()
    assert row["status"] == "queued"
    with shop.daemon():
        gate.open_until(lambda: serves(shop, "one"))
    (row,) = shop.history()
    assert (row["attempt"], row["outcome"]) == (2, "succeeded")
