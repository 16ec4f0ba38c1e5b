"""From a workload to a service's spec, and from what a manager shows to what the plan compares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.host.labels import LABEL_APP, LABEL_DEPLOYMENT, LABEL_PROJECT, LABEL_RUN_HASH
from reconciler.plan.states import Container
from reconciler.runtime.base import Task, Workload
from reconciler.runtime.swarm_checks import fits
from reconciler.runtime.swarm_crew import Service, parse_services
from reconciler.runtime.swarm_drift import describe_drift, fingerprint
from reconciler.runtime.swarm_names import (
    LABEL_SERVICE_DEPLOYMENT,
    LABEL_SETTLED,
    LABEL_SPEC,
    secret_name,
    service_name,
)
from reconciler.runtime.swarm_observe import parse_containers, parse_replicas
from reconciler.runtime.swarm_reasons import is_unplaced, why_failed, why_waiting
from reconciler.runtime.swarm_spec import (
    Means,
    SecretFile,
    asked_outside,
    make_service,
    make_task_service,
    order_of,
)
from tests.runtime.bench import make_app

MEANS = Means(
    {"shop-swarm": "net-1", "front": "net-2", "host": "net-host"},
    [SecretFile("token", "secret-1", "shop-web-token-abc")],
)
SECOND = 1_000_000_000


def workload(deployment: str = "d1", **fields: Any) -> Workload:
    env = fields.pop("env", {})
    app = make_app(
        runtime="swarm", image={"repository": "r.example.com/web", "push": True}, **fields
    )
    labels = {LABEL_PROJECT: "shop", LABEL_RUN_HASH: f"v1:{deployment}"}
    made = Workload("shop/web", deployment, "sha256:1", app, env, Path("/"), labels)
    return replace(made, image="r.example.com/web@sha256:11")


def container_of(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = make_service(workload(**fields), MEANS)["TaskTemplate"]["ContainerSpec"]
    return found


# -- what is sent ----------------------------------------------------------------------------


def test_spec_of_all_that_an_app_can_say() -> None:
    made = make_service(
        workload(
            env={"A": "1"},
            command=["serve"],
            entrypoint=["tini"],
            user="10:10",
            workdir="/srv",
            labels={"team": "shop"},
            volumes=["data:/data:ro", "/etc/ssl:/ssl"],
            ports=["8080:80"],
            resources={"cpus": 0.5, "memory": "64m", "pids": 10},
            restart="on-failure:3",
            replicas=3,
            stop_grace_period="30s",
            swarm={
                "parallelism": 2,
                "delay": "5s",
                "monitor": "10s",
                "failure_action": "pause",
                "max_failure_ratio": "10%",
                "constraints": ["node.role == worker"],
                "spread": ["node.labels.zone"],
                "max_per_node": 2,
                "reserve": {"memory": "32m"},
            },
        ),
        MEANS,
        force=4,
    )
    template = made["TaskTemplate"]
    container = template["ContainerSpec"]
    assert made["Name"] == "shop-web"
    assert made["Labels"][LABEL_DEPLOYMENT] == "d1"
    assert made["Mode"] == {"Replicated": {"Replicas": 3}}
    assert container["Image"] == "r.example.com/web@sha256:11"
    assert (container["Command"], container["Args"]) == (["tini"], ["serve"])
    assert (container["User"], container["Dir"]) == ("10:10", "/srv")
    assert container["Env"] == ["A=1"]
    assert container["StopGracePeriod"] == 30 * SECOND
    assert container["Labels"]["team"] == "shop"
    assert container["Labels"][LABEL_SERVICE_DEPLOYMENT] == "d1"
    assert LABEL_APP not in container["Labels"]  # or a manager's engine would show it as its own
    assert [(m["Type"], m["Source"], m.get("ReadOnly")) for m in container["Mounts"]] == [
        ("volume", "data", True),
        ("bind", "/etc/ssl", None),
    ]
    assert container["Secrets"][0]["File"]["Name"] == "token"
    assert "Healthcheck" not in container
    assert template["Resources"] == {
        "Limits": {"NanoCPUs": SECOND // 2, "MemoryBytes": 64 << 20, "Pids": 10},
        "Reservations": {"MemoryBytes": 32 << 20},
    }
    assert template["RestartPolicy"]["Condition"] == "on-failure"
    assert template["RestartPolicy"]["MaxAttempts"] == 3
    assert template["Placement"] == {
        "Constraints": ["node.role == worker"],
        "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}],
        "MaxReplicas": 2,
    }
    assert template["Networks"] == [{"Target": "net-1", "Aliases": ["web"]}]
    assert template["ForceUpdate"] == 4
    assert made["UpdateConfig"] == {
        "Parallelism": 2,
        "Delay": 5 * SECOND,
        "Monitor": 10 * SECOND,
        "FailureAction": "pause",
        "MaxFailureRatio": 0.1,
        "Order": "stop-first",  # a directory of the node is written to
    }
    assert made["RollbackConfig"]["FailureAction"] == "pause"
    assert made["EndpointSpec"]["Ports"] == [
        {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"}
    ]


@pytest.mark.parametrize(
    ("fields", "order"),
    [
        ({}, "start-first"),
        ({"ports": ["80:80"]}, "start-first"),
        ({"ports": ["80:80"], "swarm": {"publish": "host"}}, "stop-first"),
        ({"volumes": ["data:/data"]}, "stop-first"),
        ({"volumes": ["data:/data:ro"]}, "start-first"),
        ({"volumes": ["data:/data"], "swarm": {"order": "start-first"}}, "start-first"),
    ],
)
def test_spec_order(fields: dict[str, Any], order: str) -> None:
    assert order_of(workload(**fields).spec) == order


@pytest.mark.parametrize(("restart", "condition"), [("no", "none"), ("unless-stopped", "any")])
def test_spec_restart(restart: str, condition: str) -> None:
    made = make_service(workload(restart=restart), MEANS)
    assert made["TaskTemplate"]["RestartPolicy"]["Condition"] == condition


def test_spec_checks() -> None:
    http = container_of(health={"http": {"port": 80, "path": "/up"}, "timeout": "60s"})
    assert http["Healthcheck"]["Test"][:3] == ["CMD", "sh", "-c"]
    assert http["Healthcheck"]["Test"][4:] == ["80", "/up"]
    assert http["Healthcheck"]["StartPeriod"] == 54 * SECOND
    assert ":1F90 " in container_of(health={"tcp": 8080})["Healthcheck"]["Test"][4]
    command = container_of(health={"command": ["pg_isready", "-q"]})
    assert command["Healthcheck"]["Test"] == ["CMD", "pg_isready", "-q"]
    in_host_mode: dict[str, Any] = {"ports": ["8080:80"], "swarm": {"publish": "host"}}
    assert "Healthcheck" not in container_of(health={"http": {"port": 80}}, **in_host_mode)
    assert asked_outside(workload(health={"tcp": 80}, **in_host_mode).spec) == 8080
    assert asked_outside(workload(health={"tcp": 81}, **in_host_mode).spec) == 0


def test_spec_networks() -> None:
    host = make_service(workload(networks=["host"]), MEANS)["TaskTemplate"]
    assert host["Networks"] == [{"Target": "net-host"}]
    assert "Networks" not in make_service(workload(networks=["bridge"]), MEANS)["TaskTemplate"]


def test_spec_of_a_task_runs_once_and_is_found_by_nobody() -> None:
    app = workload(
        ports=["80:80"], replicas=3, swarm={"max_per_node": 1}, health={"tcp": 80}, env={"A": "1"}
    )
    made = make_task_service(app, Task("pre-deploy-1", "the hook", ("migrate",), 10), MEANS)
    template = made["TaskTemplate"]
    assert made["Mode"] == {"Replicated": {"Replicas": 1}}
    assert template["RestartPolicy"] == {"Condition": "none"}
    assert template["ContainerSpec"]["Args"] == ["migrate"]
    assert template["ContainerSpec"]["Env"] == ["A=1"]
    assert template["ContainerSpec"]["Healthcheck"] == {"Test": ["NONE"]}
    assert "Ports" not in made["EndpointSpec"]
    assert "Aliases" not in template["Networks"][0]
    assert "Placement" not in template


def test_names_that_a_swarm_takes() -> None:
    assert service_name("shop/web") == "shop-web"
    dotted, longest = service_name("shop/web.v2"), service_name(f"shop/{'a' * 63}")
    assert dotted.startswith("shop-web-v2-")
    assert dotted != service_name("shop/web-v2")
    assert len(longest) <= 63
    assert secret_name("shop/web", "token", "abc") == "shop-web-token-abc"
    assert len(secret_name(f"shop/{'a' * 63}", "token", "0" * 12)) <= 64


# -- what was changed by hand ----------------------------------------------------------------


def written(**fields: Any) -> dict[str, Any]:
    spec = make_service(workload(**fields), MEANS)
    return {**spec, "Labels": {**spec["Labels"], LABEL_SPEC: fingerprint(spec)}}


def filled_in(spec: dict[str, Any]) -> dict[str, Any]:
    """What an engine shows of it: some things more, some less, `--force` and a label by hand."""
    container = {**spec["TaskTemplate"]["ContainerSpec"], "Isolation": "default", "Init": False}
    template = {**spec["TaskTemplate"], "ContainerSpec": container, "Runtime": "container"}
    update = {key: value for key, value in spec["UpdateConfig"].items() if value}
    labels = {**spec["Labels"], "mine": "yes", LABEL_SETTLED: "d1"}
    changes = {"TaskTemplate": {**template, "ForceUpdate": 7}, "UpdateConfig": update}
    return {**spec, **changes, "Labels": labels}


def test_drift_of_what_an_engine_fills_in() -> None:
    assert describe_drift(filled_in(written(env={"A": "1"}, health={"tcp": 80}))) == ""


def test_drift_is_named() -> None:
    spec = written(replicas=3)
    scaled = {**spec, "Mode": {"Replicated": {"Replicas": 1}}}
    assert describe_drift(scaled) == "service was scaled by hand: 3 → 1"
    container = {
        **spec["TaskTemplate"]["ContainerSpec"],
        "Image": "other",
        "Hosts": ["1.1.1.1 one"],
    }
    changed = {**spec, "TaskTemplate": {**spec["TaskTemplate"], "ContainerSpec": container}}
    assert describe_drift(changed) == "service was changed by hand: image, other settings"
    assert describe_drift({**changed, "Mode": scaled["Mode"]}).count("by hand") == 2


def test_drift_of_another_version_of_this_program() -> None:
    spec = written()
    for label in ("", "v2 image=1"):
        assert describe_drift({**spec, "Labels": {LABEL_SPEC: label}, "Mode": {"Global": {}}}) == ""


# -- what is observed ------------------------------------------------------------------------


def task_of(number: int, state: str, deployment: str = "d1", **more: Any) -> dict[str, Any]:
    wanted = more.pop("wanted", "shutdown" if state in ("failed", "shutdown") else "running")
    at = f"2026-01-31T12:00:{number:02}.5Z"
    status = {"State": state, "Timestamp": at, "Err": more.pop("error", "")}
    if "code" in more:
        status["ContainerStatus"] = {"ExitCode": more.pop("code"), "ContainerID": "c"}
    container = {"Labels": {LABEL_SERVICE_DEPLOYMENT: deployment}}
    return {
        "ID": f"t{number}",
        "ServiceID": "s1",
        "Slot": number,
        "NodeID": more.pop("node", "n1"),
        "CreatedAt": at,
        "DesiredState": wanted,
        "Status": status,
        "Spec": {"ContainerSpec": container},
    }


def node_of(number: int, state: str = "ready", **spec: Any) -> dict[str, Any]:
    return {
        "ID": f"n{number}",
        "Spec": {"Availability": "active", "Role": "worker", **spec},
        "Description": {"Hostname": f"node{number}", "Platform": {"OS": "linux"}},
        "Status": {"State": state, "Addr": f"10.0.0.{number}"},
    }


def service_of(
    *tasks: dict[str, Any],
    previous: str = "",
    settled: bool = True,
    update: str = "",
    nodes: tuple[dict[str, Any], ...] = (node_of(1), node_of(2)),
    **fields: Any,
) -> Service:
    spec = written(replicas=2, **fields)
    if settled:
        spec["Labels"][LABEL_SETTLED] = "d1"
    document: dict[str, Any] = {
        "ID": "s1",
        "Spec": spec,
        "CreatedAt": "2026-01-31T11:00:00.5Z",
        "UpdatedAt": "2026-01-31T12:00:00Z",
    }
    if previous:
        document["PreviousSpec"] = written(deployment=previous)
    if update:
        document["UpdateStatus"] = {"State": update}
    return parse_services([document], tasks, nodes)[0]


def one(service: Service) -> Container:
    (container,) = parse_containers(service)
    return container


RUNS = (task_of(1, "running"), task_of(2, "running", node="n2"))


def test_observe_all_run() -> None:
    found = one(service_of(*RUNS))
    assert (found.app, found.deployment, found.name) == ("shop/web", "d1", "shop-web")
    assert (found.state, found.status) == ("running", "2 of 2 tasks run")
    assert found.nodes == ("node1", "node2")
    assert found.id == "s1.d1"
    assert found.run_hash == "v1:d1"
    assert found.image_id == "sha256:1"


@pytest.mark.parametrize(
    ("tasks", "nodes", "state", "code"),
    [
        # The Swarm is at it: a new task has been made, or waits for room.
        ([RUNS[0], task_of(2, "preparing")], (), "running", None),
        ([RUNS[0], task_of(2, "pending", error="no suitable node")], (), "running", None),
        # A node is down, and its task goes elsewhere.
        (
            [RUNS[0], task_of(2, "running", node="n2", wanted="shutdown"), task_of(3, "assigned")],
            (node_of(1), node_of(2, "down")),
            "running",
            None,
        ),
        # It ended, and nothing starts it again.
        ([RUNS[0], task_of(2, "failed", code=3)], (), "exited", 3),
        # Once is chance, three times in a row a crash loop.
        ([task_of(1, "failed"), task_of(2, "ready"), task_of(3, "ready")], (), "running", None),
        (
            [*(task_of(n, "failed", code=1) for n in (1, 2, 3)), task_of(4, "ready")],
            (),
            "restarting",
            1,
        ),
    ],
)  # fmt: skip
def test_observe_state(tasks: Any, nodes: Any, state: str, code: int | None) -> None:
    found = one(service_of(*tasks, nodes=nodes or (node_of(1), node_of(2))))
    assert (found.state, found.exit_code) == (state, code)


def test_observe_the_one_before_until_it_is_settled() -> None:
    tasks = (*RUNS, task_of(3, "shutdown", "d0"))
    new, old = parse_containers(service_of(*tasks, previous="d0", settled=False))
    assert (new.name, new.deployment, new.state) == ("shop-web-d1", "d1", "running")
    assert (old.name, old.deployment, old.state) == ("shop-web-previous-d0", "d0", "exited")
    assert one(service_of(*tasks, previous="d0")).name == "shop-web"
    (replica,) = parse_replicas([service_of(*tasks, previous="d0", settled=False)], "m1")
    assert (replica.deployment, replica.host) == ("d1", "m1")


# -- and why -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "what", "never_ran"),
    [
        ("task: non-zero exit (3)", "a task on node1 exited with code 3", False),
        (
            "task: non-zero exit (137): dockerexec: unhealthy container",
            "a task on node1 never passed its health check",
            False,
        ),
        (
            'starting container failed: OCI runtime create failed: exec: "nope": executable file '
            "not found in $PATH: unknown",
            "there is no program 'nope' in the image (a task on node1)",
            True,
        ),
        ("No such image: r.example.com/web@sha256:11", "the image can't be fetched on node1", True),
    ],
)
def test_reason_of_a_failed_task(error: str, what: str, never_ran: bool) -> None:
    service = service_of(task_of(1, "failed", error=error))
    reason = why_failed(service, service.newest[0], workload())
    assert reason.what == what
    assert reason.todo
    assert reason.never_ran is never_ran


def test_reason_of_a_task_without_a_node() -> None:
    error = "no suitable node (scheduling constraints not satisfied on 2 nodes)"
    tasks = (RUNS[0], task_of(2, "pending", error=error))
    service = service_of(*tasks)
    assert is_unplaced(service, "d1")
    assert why_waiting(service, "d1").what == f"1 of 2 tasks run: {error}"
    assert not is_unplaced(service_of(*tasks, nodes=(node_of(1), node_of(2, "down"))), "d1")


@pytest.mark.parametrize(
    ("constraint", "fit"),
    [
        ("node.role == worker", True),
        ("node.role != worker", False),
        ("node.hostname==node2", False),
        ("node.labels.zone == a", True),
        ("node.labels.zone == b", False),
        ("node.ip == 10.0.0.9", True),  # isn't known here
    ],
)
def test_nodes_that_fit(constraint: str, fit: bool) -> None:
    node = node_of(1, Labels={"zone": "a"})
    assert fits(node, [constraint]) is fit
    assert not fits(node_of(1, "down"), [constraint])
