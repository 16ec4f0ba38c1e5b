"""Rollouts end to end: replicas, and new containers beside the old ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import Shop
from tests.e2e.traffic import Front

WaitUntil = Callable[..., Any]


def ids(shop: Shop) -> dict[str, str]:
    """Ids of the containers that run, by name without the project."""
    return {
        container["Names"][0].removeprefix(f"/{shop.project}-"): container["Id"]
        for container in shop.containers()
        if container["State"] == "running"
    }


def test_replicas_come_and_go_and_are_healed(shop: Shop) -> None:
    shop.app(replicas=2)
    shop.apply()
    before = ids(shop)
    assert sorted(before) == ["api", "api-2"]
    assert shop.plan()["actions"] == []

    shop.engine.docker("rm", "-f", before["api"])
    shop.apply()
    assert shop.history()[0]["kind"] == "heal"
    healed = ids(shop)
    assert healed["api-2"] == before["api-2"]
    assert healed["api"] != before["api"]

    shop.app(replicas=3)
    shop.apply()
    more = ids(shop)
    assert more.items() > healed.items()
    assert sorted(more) == ["api", "api-2", "api-3"]

    shop.app(replicas=1)
    shop.apply()
    assert ids(shop) == {"api": healed["api"]}
    assert shop.plan()["actions"] == []


def test_start_first_keeps_the_old_one_when_the_new_one_fails(shop: Shop) -> None:
    rollout = {"strategy": "blue-green", "watch": "0.5s"}
    shop.app(rollout=rollout)
    shop.apply()
    old = ids(shop)
    shop.app(rollout=rollout, command=["sh", "-c", "exit 3"], restart="no")
    shop.apply(code=1)
    assert shop.history()[0]["outcome"] == "rolled_back"
    assert ids(shop) == old
    assert len(shop.containers()) == 1
    shop.app(rollout=rollout, env={"A": "b"})
    shop.apply()
    assert "watch" in shop.stages(shop.history()[0])
    (new,) = ids(shop).values()
    assert new != old["api"]
    assert len(shop.containers()) == 1


# -- under traffic ---------------------------------------------------------------------------


@pytest.fixture
def front(shop: Shop, docker_env: None) -> Front:
    return Front(shop)


def test_thirty_rollouts_and_no_failed_answer(front: Front, wait_until: WaitUntil) -> None:
    front.declare("v0")
    assert front.apply().outcome == "succeeded"
    serving, outcomes = "v0", []
    with front.load() as load:
        wait_until(lambda: load.report().answers > 50)
        for number in range(1, 31):
            version = f"v{number}"
            how = ("", "", {1: "exit", 2: "port", 0: "late"}[number // 3 % 3])[number % 3]
            front.events = []
            if how == "late":
                front.fall_ill_when_watched(version)
            front.declare(version, how)
            ended = front.apply()
            outcomes.append(ended.outcome)
            assert ended.outcome == ("rolled_back" if how else "succeeded"), ended.reason
            serving = serving if how else version
            assert front.versions == [serving]
    report = load.report()
    assert report.failures == []
    assert report.answers > 1000
    assert outcomes.count("rolled_back") == 10
    exits = {f"web v{number}" for number in range(1, 31) if number % 9 in (5, 8)}
    assert not exits & report.seen.keys()


KILLS = (
    "begin pre_deploy",
    "reconciler.runtime.docker_swap:DockerSwap._join",
    "begin health",
    "begin switch",
    "end switch",
    "begin watch",
    "end post_deploy",
    "reconciler.pipeline.traffic:_await_quiet",
    "reconciler.runtime.docker_swap:DockerSwap._stop",
    "reconciler.runtime.docker_swap:DockerSwap._remove",
)
"""Where `apply` kills itself, one phase of a rollout after the other."""


def test_killed_in_every_phase(front: Front, wait_until: WaitUntil) -> None:
    hooks = {"pre_deploy": [["true"]], "post_deploy": [["true"]]}
    front.declare("v0", hooks=hooks)
    front.apply()
    with front.load() as load:
        wait_until(lambda: load.report().answers > 50)
        for number, where in enumerate(KILLS, 1):
            front.declare(f"v{number}", hooks=hooks)
            front.killed(where)
            before = load.report().answers
            wait_until(lambda count=before: load.report().answers > count + 10)
            front.resume()
            assert front.versions == [f"v{number}"], where
    report = load.report()
    assert report.failures == []
    assert len(report.seen) == len(KILLS) + 1


def test_cancelled_while_it_is_watched_goes_back(front: Front, wait_until: WaitUntil) -> None:
    front.declare("v0")
    front.apply()
    with front.load(clients=4) as load:
        front.declare("v1", rollout={"watch": "1m"})
        applying = front.shop.start("apply", "-q")
        wait_until(lambda: "web v1" in load.report().seen, timeout=20)
        front.shop.run("cancel", "web")
        applying.wait(10)
        applying.communicate()
        assert front.versions == ["v0"]
        seen = load.report().seen["web v1"]
        wait_until(lambda: load.report().answers > 50)
        assert load.report().seen["web v1"] == seen
    assert load.report().failures == []
    assert front.shop.history("web")[0]["outcome"] == "cancelled"

    front.declare("v2")
    front.killed("end switch")
    front.shop.run("cancel", "web")
    assert front.shop.history("web")[0]["outcome"] == "cancelled"
    assert front.versions == ["v0"]
    assert front.answer() == "web v0"


def test_proxy_killed_in_the_middle(front: Front, wait_until: WaitUntil) -> None:
    front.declare("v0")
    front.apply()
    front.declare("v1", rollout={"watch": "2s"})
    applying = front.shop.start("apply", "-q")
    wait_until(lambda: front.answer() == "web v1", timeout=20)
    front.kill_proxy()
    wait_until(lambda: front.answer() == "web v1", timeout=2)
    applying.communicate(timeout=60)
    assert applying.returncode == 0
    assert front.versions == ["v1"]
    assert front.answer() == "web v1"


def test_canary_forth_and_back_by_its_errors(front: Front) -> None:
    rollout = {"strategy": "canary", "steps": ["50%"], "pause": "1s"}
    health = {"tcp": 9000, "timeout": "5s"}
    front.declare("v0", rollout=rollout, health=health)
    front.apply()
    with front.load(clients=4) as load:
        front.declare("v1", rollout=rollout, health=health)
        assert front.apply().outcome == "succeeded"
    assert load.report().failures == []
    assert load.report().seen.keys() == {"web v0", "web v1"}
    with front.load(clients=4) as load:
        front.declare("v2", "errors", rollout=rollout, health=health)
        ended = front.apply()
    assert ended.outcome == "rolled_back"
    assert re.search(r"at 50% of the traffic \d+ of \d+ requests failed", ended.reason)
    assert front.versions == ["v1"]
    assert front.answer() == "web v1"
    assert {"500: oops" in text for text in load.report().failures} == {True}


def test_replicas_behind_the_proxy(front: Front, wait_until: WaitUntil) -> None:
    front.declare("v0", replicas=2)
    front.apply()
    with front.load(clients=8) as load:
        front.declare("v1", replicas=2)
        assert front.apply().outcome == "succeeded"
        front.declare("v1", replicas=1)
        assert front.apply().outcome == "succeeded"
        front.declare("v2", "port", replicas=2)
        assert front.apply().outcome == "rolled_back"
        before = load.report().answers
        wait_until(lambda: load.report().answers > before + 20)
    assert front.versions == ["v1"]
    assert load.report().failures == []
    assert load.report().seen.keys() == {"web v0", "web v1"}
