"""One-off tasks beside an app, on the fake runtime, a real engine and a Swarm."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import Cancelled, DeployError, HookError
from reconciler.host.job import Cancellation, Job
from reconciler.runtime.base import Task, TaskEnd
from reconciler.testing import FakeRuntime
from tests.runtime.bench import Bench, DockerBench

WaitUntil = Callable[..., Any]


def task(*command: str, name: str = "pre-deploy-1", timeout: float = 10) -> Task:
    return Task(name, "the hook", command, timeout)


def test_task_says_how_it_ended(bench: Bench) -> None:
    workload = bench.workload()
    if isinstance(bench.runtime, FakeRuntime):
        bench.runtime.output[workload.app] = ["one", "two"]
        bench.runtime.task_ends[workload.app] = TaskEnd(3, "two")
    end = bench.runtime.run_task(
        workload, task("sh", "-c", "echo one; echo two; exit 3"), bench.job
    )
    assert end == TaskEnd(3, "two")
    assert bench.lines == ["one", "two"]


def test_task_repeated_runs_once(bench: Bench, tmp_path: Any) -> None:
    (tmp_path / "shared").mkdir()
    workload = bench.workload(volumes=[f"{tmp_path}/shared:/shared"])
    once = task("sh", "-c", "echo ran >>/shared/runs")
    for _ in range(2):
        assert bench.runtime.run_task(workload, once, bench.job).code == 0
    if isinstance(bench.runtime, FakeRuntime):
        assert bench.runtime.changes == [("task", "pre-deploy-1")]
    else:
        assert (tmp_path / "shared" / "runs").read_text() == "ran\n"
    bench.runtime.clear_tasks(workload.app)
    assert bench.containers() == ()


def test_task_is_like_the_app_and_nothing_finds_it(docker_bench: DockerBench) -> None:
    workload = docker_bench.workload(
        env={"WHO": "me"}, ports=["127.0.0.1:18391:8000"], labels={"proxy": "on"}, restart="always"
    )
    end = docker_bench.runtime.run_task(workload, task("sh", "-c", "echo $WHO"), docker_bench.job)
    assert end.last_line == "me"
    (container,) = docker_bench.containers()
    document = docker_bench.engine.inspect(container.id)
    assert container.task == "pre-deploy-1"
    assert not document["HostConfig"]["PortBindings"]
    assert document["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert "proxy" not in document["Config"]["Labels"]
    (network,) = document["NetworkSettings"]["Networks"].values()
    assert workload.name not in (network["Aliases"] or [])


def test_task_that_hangs_is_ended_after_its_time(docker_bench: DockerBench) -> None:
    hanging = task("sleep", "60", timeout=1.0)
    with pytest.raises(HookError, match="did not end within 1 s"):
        docker_bench.runtime.run_task(docker_bench.workload(), hanging, docker_bench.job)
    assert docker_bench.containers() == ()


def test_task_that_can_not_start_leaves_nothing(docker_bench: DockerBench) -> None:
    with pytest.raises(DeployError, match="nope"):
        docker_bench.runtime.run_task(docker_bench.workload(), task("nope"), docker_bench.job)
    assert docker_bench.containers() == ()


def test_task_found_while_it_runs(docker_bench: DockerBench, wait_until: WaitUntil) -> None:
    """The first caller goes away without a word, as one that was killed does."""
    workload = docker_bench.workload()
    slow = task("sh", "-c", "echo begin; sleep 1; echo end; exit 4")
    first = threading.Thread(
        target=docker_bench.runtime.run_task, args=(workload, slow, Job()), daemon=True
    )
    first.start()
    wait_until(docker_bench.running)
    before = docker_bench.running()
    end = docker_bench.runtime.run_task(workload, slow, docker_bench.job)
    assert end == TaskEnd(4, "end")
    assert docker_bench.lines[-2:] == ["begin", "end"]
    assert [container.id for container in docker_bench.containers()] == before
    first.join()


def test_task_cancelled_ends_at_once(docker_bench: DockerBench, wait_until: WaitUntil) -> None:
    cancel = Cancellation()
    job = replace(docker_bench.job, cancel=cancel)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            docker_bench.runtime.run_task(docker_bench.workload(), task("sleep", "60"), job)
        except Cancelled as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(docker_bench.running)
    cancel.cancel(Cancelled("enough"))
    thread.join(1.0)
    assert failed
    assert docker_bench.containers() == ()


def test_tasks_are_left_over_to_whoever_settles_or_removes(docker_bench: DockerBench) -> None:
    workload = docker_bench.workload()
    docker_bench.runtime.run_task(workload, task("true"), docker_bench.job)
    new = docker_bench.deploy(workload)
    docker_bench.runtime.settle(workload, docker_bench.job)
    assert [container.id for container in docker_bench.containers()] == [new.id]
    docker_bench.runtime.run_task(workload, task("true"), docker_bench.job)
    assert docker_bench.runtime.remove(workload.app, docker_bench.job) == 2
    assert docker_bench.containers() == ()
