"""What `doctor` says of hosts and Swarms."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.doctor import examine_quickly
from reconciler.engine.doctor_hosts import examine_hosts, judge_registry, run_side_by_side
from reconciler.engine.doctor_swarm import (
    has_ipvs,
    judge_ipvs,
    judge_manager,
    judge_nodes,
    judge_pulls,
)
from reconciler.engine.findings import Finding
from reconciler.host.engine import Answer, Engine
from reconciler.host.hosts import Hosts
from reconciler.spec.loader import load_spec
from tests.support.swarm import Swarm


def node(
    name: str, *, state: str = "ready", availability: str = "active", manager: str = ""
) -> Any:
    found: dict[str, Any] = {
        "ID": f"id-{name}",
        "Description": {"Hostname": name},
        "Status": {"State": state},
        "Spec": {"Availability": availability},
    }
    return found | ({"ManagerStatus": {"Reachability": manager}} if manager else {})


def levels(findings: Iterator[Finding]) -> list[str]:
    return [finding.level for finding in findings]


@pytest.mark.parametrize(
    ("managers", "level", "says"),
    [
        (["reachable"], "ok", "without it nothing can be changed"),
        (["reachable"] * 2, "warning", "odd"),
        (["reachable"] * 3, "ok", "1 may be away"),
        (["reachable", "reachable", "unreachable"], "warning", "one more away"),
        (["reachable"] * 4 + ["unreachable"], "warning", "soon"),
    ],
)
def test_doctor_counts_the_managers_of_a_swarm(managers: list[str], level: str, says: str) -> None:
    nodes = [node(f"m{number}", manager=one) for number, one in enumerate(managers)]
    first, _ = judge_nodes("swarm m1", nodes)
    assert first.level == level
    assert says in f"{first.text} {first.todo}"


def test_doctor_names_nodes_that_are_down_or_take_no_tasks() -> None:
    nodes = [
        node("m1", manager="reachable"),
        node("w1", state="down"),
        node("w2", availability="drain"),
    ]
    _, down, taking = judge_nodes("swarm m1", nodes)
    assert (down.level, down.text) == ("warning", "down: w1")
    assert taking.text == "2 of 3 nodes take tasks; not w2 (drain)"


def test_doctor_names_nodes_that_could_not_pull() -> None:
    task = {
        "NodeID": "id-w1",
        "Status": {"State": "rejected", "Err": "No such image: r.example.com/web@sha256:1"},
        "Spec": {"ContainerSpec": {"Image": "r.example.com/web@sha256:1"}},
    }
    fine = {**task, "Status": {"State": "running"}}
    (found,) = judge_pulls("swarm m1", [fine, task, task], [node("w1")])
    assert found.text == "w1 couldn't get r.example.com/web"


@pytest.mark.parametrize(
    ("swarm", "says"),
    [
        ({"LocalNodeState": "inactive"}, "isn't part of a Swarm"),
        ({"LocalNodeState": "active", "ControlAvailable": False}, "is a worker"),
        ({"ControlAvailable": True, "Error": "no leader"}, "no leader"),
    ],
)
def test_doctor_host_that_is_no_manager(swarm: dict[str, Any], says: str) -> None:
    found = judge_manager("m1", swarm)
    assert found is not None
    assert found.level == "error"
    assert says in found.text


def test_doctor_ipvs_of_this_kernel(tmp_path: Path) -> None:
    import platform

    assert has_ipvs(tmp_path, tmp_path) is None
    modules = tmp_path / platform.release()
    modules.mkdir()
    (modules / "modules.dep").write_text("kernel/net/other.ko.xz:\n")
    assert has_ipvs(tmp_path, tmp_path) is False
    (modules / "modules.builtin").write_text("kernel/net/netfilter/ipvs/ip_vs.ko\n")
    assert has_ipvs(tmp_path, tmp_path) is True
    found = [judge_ipvs("swarm m1", ["web"], one).level for one in (True, False, None)]
    assert found == ["ok", "warning", "unknown"]


@pytest.mark.parametrize(
    ("status", "message", "level"),
    [
        (200, "", "ok"),
        (404, "manifest unknown", "ok"),
        (401, "unauthorized", "warning"),
        (500, "dial tcp: lookup r.example.com: no such host", "error"),
    ],
)
def test_doctor_registry_as_a_host_sees_it(status: int, message: str, level: str) -> None:
    answer = Answer(status, {}, json.dumps({"message": message}).encode())
    assert judge_registry("web1", "r.example.com/shop/web", answer).level == level


def test_doctor_waits_for_no_host_for_long() -> None:
    ended = threading.Event()

    def hang() -> Iterator[Finding]:
        ended.wait(30)
        return iter(())

    checks = [("a", hang), ("b", lambda: iter([Finding("ok", "b", "here")]))]
    found = list(run_side_by_side(checks, patience=0.1))
    ended.set()
    assert [(one.level, one.subject) for one in found] == [("error", "a"), ("ok", "b")]


def test_doctor_quick_without_local_apps_needs_no_local_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    path = tmp_path / "apps.yaml"
    text = "version: 1\nproject: shop\nhosts: {web1: {docker: 'ssh://web1'}}\n"
    path.write_text(text + "apps: {api: {source: {image: nginx}, host: web1}}\n")
    assert levels(examine_quickly(tmp_path / "state", load_spec(path))) == ["ok", "ok"]
    path.write_text(text + "apps: {api: {source: {image: nginx}}}\n")
    assert levels(examine_quickly(tmp_path / "state", load_spec(path))) == ["error", "ok"]


SPEC = """\
version: 1
project: shop
hosts:
  m1: {{docker: "{manager}"}}
  w1: {{docker: "{worker}"}}
  w2: {{docker: "unix://{directory}/none"}}
apps:
  api: {{source: {{image: "{registry}/none/api"}}, runtime: swarm, host: m1}}
  web: {{source: {{image: "{registry}/none/api"}}, runtime: swarm, host: w1}}
"""


def test_doctor_of_a_real_swarm(swarm: Swarm, tmp_path: Path) -> None:
    path = tmp_path / "apps.yaml"
    urls = {"manager": swarm.manager.url, "worker": swarm.workers[0].url}
    path.write_text(SPEC.format(**urls, registry=swarm.registry.address, directory=tmp_path))
    loaded = load_spec(path)
    hosts = Hosts(Engine(f"unix://{tmp_path}/none"))
    hosts.learn(loaded.spec.hosts, tmp_path)
    found = list(examine_hosts(hosts, loaded))
    hosts.close()
    texts = [(one.level, one.subject, one.text) for one in found]
    registry = f"reaches the registry {swarm.registry.address}"
    assert ("ok", "host m1", registry) in texts
    assert ("ok", "host w1", registry) in texts
    assert [one[0] for one in texts if one[1] == "host w2"] == ["error"]
    assert ("ok", "swarm m1", "3 of 3 nodes take tasks") in texts
    assert ("error", "swarm w1", "w1 is a worker") in texts
