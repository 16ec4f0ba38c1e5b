"""A process that dies at any call to the engine: what is left, and how a repeat goes on.

A crash comes `after` a call (answered, and nothing done with it) or `during` it (sent, the
connection gone before the answer: the engine goes on with it, or not). `before` a call is the
same as after the one in front of it.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from reconciler.host.engine import Answer, Engine, Request
from reconciler.host.job import Job
from reconciler.runtime.base import Workload
from reconciler.runtime.docker import DockerRuntime
from tests.runtime.bench import DockerBench, open_docker_bench
from tests.support.engine import PrivateEngine
from tests.support.system import wait_until

DEPLOY_CALLS = ["create", "rename", "update", "stop", "start"]
SETTLE_CALLS = ["DELETE", "rename"]
REVERT_CALLS = ["DELETE", "start", "update", "rename"]
FIRST_DEPLOY_CALLS = ["networks/create", "create", "start"]


class Crash(BaseException):
    """Nothing catches this, as nothing catches SIGKILL."""


class CrashingEngine(Engine):
    """Dies at write number `at` (from 0); `writes` are the paths' last parts, or DELETE."""

    def __init__(self, url: str, at: int = -1, when: str = "after") -> None:
        super().__init__(url)
        self.at = at
        self.when = when
        self.writes: list[str] = []

    def send(self, request: Request, timeout: float = 30) -> Answer:
        if request.method == "GET":
            return super().send(request, timeout)
        last = "/".join(request.path.strip("/").split("/")[-1:])
        name = "networks/create" if request.path == "/networks/create" else last
        self.writes.append("DELETE" if request.method == "DELETE" else name)
        if len(self.writes) - 1 != self.at:
            return super().send(request, timeout)
        if self.when == "after":
            super().send(request, timeout)
        else:
            self._send_and_leave(request)
        raise Crash

    def _send_and_leave(self, request: Request) -> None:
        body = request.body or b""
        assert isinstance(body, bytes)
        fields = {"Host": "docker", "Content-Length": str(len(body)), **request.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.url.removeprefix("unix://"))
            first = f"{request.method} {request.target} HTTP/1.1\r\n"
            connection.sendall(f"{first}{head}\r\n".encode() + body)


@pytest.fixture
def crash(docker_bench: DockerBench, engine: PrivateEngine, tmp_path: Path) -> Iterator[Any]:
    """`crash(call, at, when)` runs `call(runtime)` with a runtime that dies at write `at`."""
    engines: list[CrashingEngine] = []

    def run(call: Callable[[DockerRuntime], object], at: int, when: str) -> CrashingEngine:
        engines.append(CrashingEngine(engine.url, at, when))
        with pytest.raises(Crash):
            call(DockerRuntime(engines[-1], tmp_path / "state"))
        return engines[-1]

    yield run
    for each in engines:
        each.close()


def points(calls: list[str]) -> list[Any]:
    return [
        pytest.param(at, when, id=f"{when}-{at}-{name.replace('/', '-')}")
        for at, name in enumerate(calls)
        for when in (("after",) if name in ("rename", "update") else ("after", "during"))
    ]


def alone(bench: DockerBench) -> bool:
    return len(bench.containers()) == 1


def assert_serves(bench: DockerBench, container: str) -> None:
    """Exactly this one is there: it runs, with the app's name and the policy of the spec."""
    wait_until(lambda: alone(bench))  # the engine may be at removing one
    (only,) = bench.containers()
    assert (only.id, only.state, only.name) == (container, "running", f"{bench.project}-web")
    assert bench.facts(container).policy == "always"


def replacement(bench: DockerBench) -> tuple[str, Workload]:
    """The id of what serves, and the workload that shall replace it."""
    old = bench.settled(restart="always")
    return old.id, bench.workload(restart="always")


def test_crash_points_are_complete(
    docker_bench: DockerBench, engine: PrivateEngine, tmp_path: Path
) -> None:
    """The lists above are what is really called."""
    recording = CrashingEngine(engine.url)
    runtime = DockerRuntime(recording, tmp_path / "state")
    first, second, third = (docker_bench.workload(restart="always") for _ in range(3))
    runtime.deploy(first, Job())
    assert recording.writes == FIRST_DEPLOY_CALLS
    runtime.settle(first, Job())
    recording.writes.clear()
    runtime.deploy(second, Job())
    assert recording.writes == DEPLOY_CALLS
    recording.writes.clear()
    runtime.settle(second, Job())
    assert recording.writes == SETTLE_CALLS
    runtime.deploy(third, Job())
    recording.writes.clear()
    runtime.revert(third, Job())
    assert recording.writes == REVERT_CALLS


@pytest.mark.parametrize(("at", "when"), points(DEPLOY_CALLS))
def test_deploy_crashed_and_repeated(
    docker_bench: DockerBench, crash: Callable[..., Any], at: int, when: str
) -> None:
    old, workload = replacement(docker_bench)
    crash(lambda runtime: runtime.deploy(workload, Job()), at, when)
    new = docker_bench.deploy(workload)
    assert docker_bench.running() == [new.id]
    assert {c.id for c in docker_bench.containers()} == {old, new.id}
    docker_bench.runtime.settle(workload, Job())
    assert_serves(docker_bench, new.id)


@pytest.mark.parametrize(("at", "when"), points(DEPLOY_CALLS))
def test_deploy_crashed_and_reverted(
    docker_bench: DockerBench, crash: Callable[..., Any], at: int, when: str
) -> None:
    old, workload = replacement(docker_bench)
    dead = crash(lambda runtime: runtime.deploy(workload, Job()), at, when)
    docker_bench.runtime.revert(workload, Job())
    assert docker_bench.running() == [old]
    if (dead.writes[-1], when) == ("create", "during"):
        with suppress(TimeoutError):  # it may come to light only now
            wait_until(lambda: len(docker_bench.containers()) == 2, timeout=1)
        wait_until(lambda: not docker_bench.runtime.revert(workload, Job()) and alone(docker_bench))
    assert_serves(docker_bench, old)


@pytest.mark.parametrize(("at", "when"), points(FIRST_DEPLOY_CALLS))
def test_first_deploy_crashed_and_repeated(
    docker_bench: DockerBench, crash: Callable[..., Any], at: int, when: str
) -> None:
    workload = docker_bench.workload(restart="always")
    crash(lambda runtime: runtime.deploy(workload, Job()), at, when)
    new = docker_bench.deploy(workload)
    docker_bench.runtime.settle(workload, Job())
    assert_serves(docker_bench, new.id)
    assert docker_bench.engine.docker("network", "ls", "-q", "-f", f"name={docker_bench.project}")


@pytest.mark.parametrize(("at", "when"), points(SETTLE_CALLS))
def test_settle_crashed_and_repeated(
    docker_bench: DockerBench, crash: Callable[..., Any], at: int, when: str
) -> None:
    _, workload = replacement(docker_bench)
    new = docker_bench.deploy(workload)
    crash(lambda runtime: runtime.settle(workload, Job()), at, when)
    docker_bench.runtime.settle(workload, Job())
    assert_serves(docker_bench, new.id)


@pytest.mark.parametrize(("at", "when"), points(REVERT_CALLS))
def test_revert_crashed_and_repeated(
    docker_bench: DockerBench, crash: Callable[..., Any], at: int, when: str
) -> None:
    old, workload = replacement(docker_bench)
    docker_bench.deploy(workload)
    crash(lambda runtime: runtime.revert(workload, Job()), at, when)
    docker_bench.runtime.revert(workload, Job())
    assert_serves(docker_bench, old)


def test_engine_killed_while_the_old_one_is_aside(
    own_engine: PrivateEngine, tmp_path: Path
) -> None:
    """The engine's start brings the new one back and not the old one beside it."""
    with open_docker_bench(own_engine, "own", tmp_path) as bench:
        old, workload = replacement(bench)
        new = bench.deploy(workload)
        own_engine.kill()
        own_engine.start()
        assert old not in bench.running()
        assert bench.deploy(workload).id == new.id
        assert bench.running() == [new.id]
        bench.runtime.revert(workload, Job())
        assert_serves(bench, old)
