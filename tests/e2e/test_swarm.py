"""An app as a service of a Swarm, from the command line: rolled out, killed, broken, changed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import DOCKERFILE, Shop
from tests.support.swarm import Swarm
from tests.support.system import wait_until

BROKEN = DOCKERFILE.replace('["httpd"', '["sh", "-c", "echo no database; exit 3", "httpd"')


@pytest.fixture
def swarming(shop: Shop, swarm: Swarm) -> Iterator[Shop]:
    """`shop`, of which everything is made by and runs on the Swarm."""
    shop.top = {"hosts": {"m1": {"docker": swarm.manager.url}}, "build_host": "m1"}
    yield shop
    swarm.discard(shop.project)


def on_swarm(shop: Shop, swarm: Swarm, **fields: Any) -> None:
    repository = f"{swarm.registry.address}/{shop.project}/api"
    base: dict[str, Any] = {
        "runtime": "swarm",
        "host": "m1",
        "replicas": 3,
        "image": {"repository": repository, "push": True},
        "networks": ["bridge"],
        "swarm": {"endpoint_mode": "dnsrr", "parallelism": 2, "monitor": "1s"},
        "health": {"tcp": 8000, "timeout": "20s"},
    }
    shop.app(**{**base, **fields})


def service(shop: Shop, swarm: Swarm) -> Any:
    return swarm.manager.request("GET", f"/services/{shop.project}-api")


def deployments(shop: Shop, swarm: Swarm) -> list[str]:
    """Of each task that runs, which deployment it belongs to."""
    tasks = swarm.tasks(f"{shop.project}-api")
    return [
        task["Spec"]["ContainerSpec"]["Labels"]["reconciler.service.deployment"]
        for task in tasks
        if (task["Status"]["State"], task["DesiredState"]) == ("running", "running")
    ]


def causes(shop: Shop) -> list[str]:
    return [action["cause"] for action in shop.plan()["actions"]]


def test_swarm_app_through_its_life(swarming: Shop, swarm: Swarm) -> None:
    shop = swarming
    hooks = {"pre_deploy": [["sh", "-c", "echo migrating $COLOUR"]]}
    on_swarm(shop, swarm, env={"COLOUR": "blue"}, hooks=hooks)
    shop.apply()
    (row,) = shop.history()
    assert row["outcome"] == "succeeded"
    assert deployments(shop, swarm) == [row["id"]] * 3
    assert "migrating blue" in shop.run("logs", "api").out
    assert causes(shop) == []

    swarm.manager.docker("service", "scale", "-d", f"{shop.project}-api=1")
    assert causes(shop) == ["service was scaled by hand: 3 → 1"]
    shop.apply()
    assert deployments(shop, swarm) == [row["id"]] * 3

    shop.commit_page("two")
    killed = kill_during_update(shop, swarm)
    shop.apply()
    second = shop.history()[0]
    assert (second["outcome"], second["id"] != row["id"]) == ("succeeded", True)
    assert deployments(shop, swarm) == [second["id"]] * 3
    assert service(shop, swarm)["Spec"]["TaskTemplate"] == killed["Spec"]["TaskTemplate"]

    shop.repo.commit({"Dockerfile": BROKEN})
    shop.apply(code=1)
    broken = shop.history()[0]
    assert broken["outcome"] == "rolled_back"
    assert "exited with code 3" in broken["reason"]
    assert "no database" in shop.run("logs", "api").out
    assert deployments(shop, swarm) == [second["id"]] * 3


def kill_during_update(shop: Shop, swarm: Swarm) -> Any:
    """Start `apply`, and kill it when the first tasks are replaced; the service as it is then."""
    applying = shop.start("apply", "-q")
    wait_until(lambda: len(set(deployments(shop, swarm))) == 2, 60)
    applying.send_signal(signal.SIGKILL)
    applying.communicate()
    return service(shop, swarm)
