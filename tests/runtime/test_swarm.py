"""Services on a real Swarm of three nodes, seen from outside and as the pipeline uses them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import DeployError, EngineUnavailable, HealthError
from reconciler.host.engine import Engine
from reconciler.pipeline.health import check_health
from reconciler.runtime.base import Instance, Workload
from reconciler.runtime.swarm import SwarmRuntime
from tests.runtime.bench import SwarmBench
from tests.support.engine import BASE_IMAGE
from tests.support.haproxy import make_haproxy_image
from tests.support.load import Load
from tests.support.registry import PrivateRegistry
from tests.support.swarm import Node, Swarm
from tests.support.system import wait_until


def verify(bench: SwarmBench, workload: Workload, instance: Instance) -> str:
    return check_health(instance, workload.spec.health, bench.job)


def roll_out(bench: SwarmBench, workload: Workload) -> Instance:
    """As the pipeline does it."""
    instance = bench.deploy(workload)
    verify(bench, workload, instance)
    bench.runtime.settle(workload, bench.job)
    return instance


def nodes_of(bench: SwarmBench) -> tuple[str, ...]:
    (container,) = bench.containers()
    return container.nodes


def running(bench: SwarmBench) -> dict[str, Any]:
    return {t["ID"]: t for t in bench.tasks() if t["Status"]["State"] == "running"}


def read_file(bench: SwarmBench, path: str) -> set[str]:
    """What it holds in the tasks that run."""
    found = set()
    for task in running(bench).values():
        (node,) = [node for node in bench.swarm.nodes if node.id == task["NodeID"]]
        container = task["Status"]["ContainerStatus"]["ContainerID"]
        found.add(node.docker("exec", container, "cat", path))
    return found


# -- rolling out -----------------------------------------------------------------------------


def test_swarm_global_service_is_asked_on_each_node(swarm_bench: SwarmBench) -> None:
    fields: dict[str, Any] = {
        "ports": ["18473:8000"],
        "health": {"http": {"port": 8000}, "timeout": "20s"},
        "swarm": {"mode": "global", "publish": "host"},
    }
    workload = swarm_bench.workload(**fields)
    assert "3 of 3 tasks run on 3 nodes" in verify(
        swarm_bench, workload, swarm_bench.deploy(workload)
    )
    assert nodes_of(swarm_bench) == ("node1", "node2", "node3")


def test_swarm_port_that_does_not_answer(swarm_bench: SwarmBench) -> None:
    workload = swarm_bench.workload(
        ports=["18474:8001"],
        health={"http": {"port": 8001}, "timeout": "1s"},
        swarm={"publish": "host", "monitor": "100ms"},
        stop_grace_period="0s",
    )
    with pytest.raises(HealthError, match="not answer"):
        verify(swarm_bench, workload, swarm_bench.deploy(workload))


def test_swarm_broken_version_while_the_old_one_serves(swarm_bench: SwarmBench) -> None:
    fields: dict[str, Any] = {
        "replicas": 2,
        "health": {"tcp": 8000},
        "swarm": {"failure_action": "rollback", "order": "start-first", "parallelism": 2},
    }
    roll_out(swarm_bench, swarm_bench.workload(**fields))
    before = running(swarm_bench)
    broken = swarm_bench.workload(command=["sh", "-c", "echo no database; exit 3"], **fields)
    with pytest.raises(HealthError, match=r"exited with code 3") as raised:
        verify(swarm_bench, broken, swarm_bench.deploy(broken))
    assert "no database" in raised.value.detail
    assert swarm_bench.runtime.revert(broken, swarm_bench.job)
    assert running(swarm_bench).keys() == before.keys()
    assert len(swarm_bench.containers()) == 1


@contextmanager
def proxied(swarm: Swarm, network: str, tmp_path: Path) -> Iterator[str]:
    """HAProxy on the manager, which finds the tasks by their DNS name; its URL there."""
    config = f"""
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
resolvers swarm
  nameserver dns 127.0.0.11:53
  hold valid 200ms
  hold obsolete 0s
  timeout resolve 200ms
frontend all
  bind :8080
  default_backend tasks
backend tasks
  server-template task 9 {network.removesuffix("-swarm")}-web:8000 resolvers swarm init-addr none
"""
    (tmp_path / "haproxy.cfg").write_text(config)
    image = make_haproxy_image(swarm.manager)
    argv = ["run", "-d", "--network", network, "-p", "127.0.0.1:18080:8080"]
    argv += ["-v", f"{tmp_path}/haproxy.cfg:/haproxy.cfg:ro", image, "-f", "/haproxy.cfg"]
    proxy = swarm.manager.docker(*argv)
    try:
        yield "http://127.0.0.1:18080/"
    finally:
        swarm.manager.docker("rm", "-f", proxy)


def test_swarm_update_drops_no_request(swarm_bench: SwarmBench, tmp_path: Path) -> None:
    swarm = swarm_bench.swarm
    fields: dict[str, Any] = {
        "networks": [],
        "replicas": 3,
        "health": {"http": {"port": 8000}},
        "swarm": {"order": "start-first", "parallelism": 3},
    }
    roll_out(swarm_bench, swarm_bench.workload(env={"PAGE": "page one"}, **fields))
    with (
        proxied(swarm, f"{swarm_bench.project}-swarm", tmp_path) as url,
        swarm.manager.inside(),
    ):
        with Load(http=[url], expect="page", clients=8) as load:
            wait_until(lambda: load.report().answers > 100)
            roll_out(swarm_bench, swarm_bench.workload(env={"PAGE": "page two"}, **fields))
            wait_until(lambda: load.report().seen.get("page two", 0) > 100)
        report = load.report()
    assert report.failures == []
    assert report.seen.keys() == {"page one", "page two"}


# -- what breaks -----------------------------------------------------------------------------


def test_swarm_node_and_manager_lost_during_an_update(
    lonely_swarm_bench: SwarmBench,
) -> None:
    """One node dies, the manager's engine is restarted, and the update comes to its end."""
    fields: dict[str, Any] = {
        "replicas": 3,
        "restart": "always",
        "swarm": {"delay": "1s", "max_per_node": 2},
    }
    roll_out(lonely_swarm_bench, lonely_swarm_bench.workload(**fields))
    workload = lonely_swarm_bench.workload(**fields)
    instance = lonely_swarm_bench.deploy(workload)
    breaking = threading.Thread(target=break_both, args=(lonely_swarm_bench.swarm,))
    breaking.start()
    said = verify(lonely_swarm_bench, workload, instance)
    breaking.join()
    assert "3 of 3 tasks run on 2 nodes" in said
    lonely_swarm_bench.runtime.settle(workload, lonely_swarm_bench.job)
    assert nodes_of(lonely_swarm_bench) == ("node1", "node2")


def break_both(swarm: Swarm) -> None:
    swarm.nodes[2].crash()
    swarm.manager.restart()


# -- what somebody does by hand --------------------------------------------------------------


def change(node: Node, service: Any, **spec: Any) -> None:
    changed = {**service["Spec"], **spec}
    path = f"/services/{service['ID']}/update?version={service['Version']['Index']}"
    node.request("POST", path, changed)


def drift(bench: SwarmBench) -> str:
    (container,) = bench.containers()
    return container.drift


def test_swarm_changes_by_hand_are_seen_and_put_right(swarm_bench: SwarmBench) -> None:
    manager = swarm_bench.swarm.manager
    workload = swarm_bench.workload(replicas=2, restart="always")
    roll_out(swarm_bench, workload)
    assert drift(swarm_bench) == ""
    manager.docker("service", "update", "-d", "--force", f"{swarm_bench.project}-web")
    assert drift(swarm_bench) == ""  # it only moved
    change(manager, swarm_bench.service(), Mode={"Replicated": {"Replicas": 1}})
    assert drift(swarm_bench) == "service was scaled by hand: 2 → 1"
    roll_out(swarm_bench, workload)
    assert len(running(swarm_bench)) == 2
    template = swarm_bench.service()["Spec"]["TaskTemplate"]
    container = {**template["ContainerSpec"], "Env": ["PAGE=mine"]}
    changed = {**template, "ContainerSpec": container}
    change(manager, swarm_bench.service(), TaskTemplate=changed)
    assert drift(swarm_bench) == "service was changed by hand: env"
    roll_out(swarm_bench, workload)
    assert drift(swarm_bench) == ""
    assert "Env" not in swarm_bench.service()["Spec"]["TaskTemplate"]["ContainerSpec"]


def test_swarm_secret_that_changes(swarm_bench: SwarmBench) -> None:
    values = ["the first value", "another one"]
    names = []
    for value in values:
        roll_out(swarm_bench, swarm_bench.workload(secrets={"token": value}))
        assert read_file(swarm_bench, "/run/secrets/token") == {value}
        known = swarm_bench.swarm.manager.request("GET", "/secrets")
        own = [
            s["Spec"]["Name"] for s in known if s["Spec"]["Name"].startswith(swarm_bench.project)
        ]
        assert len(own) == 1  # the one before is gone
        names += own
    assert len(set(names)) == 2
    assert all(name.startswith(f"{swarm_bench.project}-web-token-") for name in names)


# -- registries ------------------------------------------------------------------------------


def test_swarm_nodes_pull_with_the_credentials(
    swarm_bench: SwarmBench, make_registry: Callable[..., PrivateRegistry]
) -> None:
    swarm = swarm_bench.swarm
    registry = make_registry(swarm.switch, "deployer", swarm.registry.host)
    name = f"{registry.address}/{swarm_bench.project}"
    registry.login(swarm.manager)
    for argv in (["tag", BASE_IMAGE, name], ["push", "-q", name]):
        swarm.manager.docker(*argv)
    image = f"{name}@{registry.digest(swarm_bench.project, 'latest')}"
    there = {"constraints": ["node.role == worker"]}
    denied = swarm_bench.workload("denied", image=image, swarm=there)
    with pytest.raises(DeployError, match="can't be fetched on node"):
        swarm_bench.deploy(denied)
    auth = {"username": registry.user, "password": registry.password}
    workload = replace(swarm_bench.workload(image=image, swarm=there), auth=auth)
    roll_out(swarm_bench, workload)
    assert nodes_of(swarm_bench)[0] in ("node2", "node3")


# -- what is refused before anything is changed ----------------------------------------------


def test_swarm_refuses_what_belongs_to_others(swarm_bench: SwarmBench) -> None:
    manager, project = swarm_bench.swarm.manager, swarm_bench.project
    foreign = {
        "Name": f"{project}-foreign",
        "TaskTemplate": {"ContainerSpec": {"Image": swarm_bench.image}},
        "Mode": {"Replicated": {"Replicas": 0}},
        "EndpointSpec": {"Ports": [{"TargetPort": 80, "PublishedPort": 18475}]},
    }
    manager.request("POST", "/services/create", foreign)
    manager.docker("network", "create", f"{project}-local")
    for workload, why in (
        (swarm_bench.workload("foreign"), "isn't one of this app"),
        (swarm_bench.workload(ports=["18475:80"], swarm={"endpoint_mode": "vip"}), "published by"),
        (swarm_bench.workload(networks=[f"{project}-local"]), "network of one machine"),
        (
            swarm_bench.workload(replicas=4, ports=["18476:80"], swarm={"publish": "host"}),
            "4 tasks need a port",
        ),
    ):
        with pytest.raises(DeployError, match=why):
            swarm_bench.deploy(workload)
    assert swarm_bench.containers() == ()


def test_swarm_engine_that_manages_none(swarm: Swarm, tmp_path: Path) -> None:
    worker = Engine(swarm.nodes[1].url)
    with pytest.raises(EngineUnavailable, match="manages no Swarm"):
        SwarmRuntime(worker, tmp_path).observe("shop")


def test_swarm_constraint_that_no_node_meets(swarm_bench: SwarmBench) -> None:
    workload = swarm_bench.workload(swarm={"constraints": ["node.labels.zone == moon"]})
    with pytest.raises(DeployError, match="no suitable node"):
        swarm_bench.deploy(workload)
    assert not swarm_bench.runtime.revert(workload, swarm_bench.job)
