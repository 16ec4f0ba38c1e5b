"""The health check on real containers: each way to be well, and each reason not to be."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import Cancelled, HealthError
from reconciler.host.job import Cancellation
from reconciler.pipeline.health import check_health
from reconciler.runtime.base import Instance, InstanceState
from reconciler.spec.models import Health
from reconciler.spec.plain import from_plain
from tests.runtime.bench import SERVE, STUBBORN, DockerBench, open_docker_bench
from tests.support.engine import PrivateEngine


@pytest.fixture
def bench(engine: PrivateEngine, project: str, tmp_path: Path) -> Iterator[DockerBench]:
    with open_docker_bench(engine, project, tmp_path) as bench:
        yield bench


def check(bench: DockerBench, instance: Instance, **health: Any) -> str:
    health.setdefault("timeout", "1s")
    job = replace(bench.job, app=f"{bench.project}/web")
    return check_health(instance, from_plain(Health, health), job)


def verify(bench: DockerBench, health: dict[str, Any], **spec: Any) -> str:
    """Deploy and check; the spec's defaults but for a short time."""
    return check(bench, bench.deploy(bench.workload(**spec)), **health)


def failure(bench: DockerBench, health: dict[str, Any], **spec: Any) -> HealthError:
    with pytest.raises(HealthError) as caught:
        verify(bench, health, **spec)
    return caught.value


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", f"trap 'exit 0' TERM; {script}")


def answering(*lines: str) -> tuple[str, ...]:
    """Answers every connection to port 8000 with these lines."""
    text = "\\r\\n".join(lines)
    return shell(f"printf '{text}' >/tmp/a; while :; do nc -l -p 8000 </tmp/a & wait $!; done")


# Well


def test_http_answers(bench: DockerBench) -> None:
    said = verify(bench, {"http": {"port": 8000}})
    assert said.startswith("GET :8000/ answered 200 after 0.")
    assert "probe" in said


def test_http_is_seen_soon_after_it_answers(bench: DockerBench) -> None:
    instance = bench.deploy(bench.workload())
    began = time.monotonic()
    check(bench, instance, http={"port": 8000})
    assert time.monotonic() - began < 0.5


def test_http_redirect_is_not_followed(bench: DockerBench) -> None:
    command = answering("HTTP/1.1 302 Found", "Location: http://elsewhere.invalid/", "", "")
    assert "answered 302" in verify(bench, {"http": {"port": 8000}}, command=command)


def test_http_path_with_a_query(bench: DockerBench) -> None:
    check_path = {"port": 8000, "path": "/index.html?q=a%20b&x=[1]"}
    assert "answered 200" in verify(bench, {"http": check_path})


def test_http_slow_to_start(bench: DockerBench) -> None:
    command = shell("sleep 0.7; httpd -f -p 8000 -h /etc & wait $!")
    health = {"http": {"port": 8000, "path": "/passwd"}, "timeout": "10s"}
    assert "answered 200" in verify(bench, health, command=command)


def test_tcp_accepts(bench: DockerBench) -> None:
    said = verify(bench, {"tcp": 8000})
    assert said.startswith("TCP :8000 accepted a connection after 0.")


def test_command_succeeds(bench: DockerBench) -> None:
    health = {"command": ["test", "-e", "/tmp/index.html"]}
    assert verify(bench, health).startswith("the command test exited with 0 after")


def test_no_check_runs_for_a_stable_period(bench: DockerBench) -> None:
    instance = bench.deploy(bench.workload())
    began = time.monotonic()
    assert check(bench, instance, stable="400ms") == "ran for 400ms without a restart"
    assert 0.4 <= time.monotonic() - began < 0.8


def test_restarted_once_then_stable(bench: DockerBench) -> None:
    """A database that wasn't up yet is no reason to fail."""
    command = shell("test -e /tmp/again || { touch /tmp/again; exit 1; }; sleep 600 & wait $!")
    health = {"stable": "500ms", "timeout": "10s"}
    assert "without a restart" in verify(bench, health, command=command)


def test_restarted_once_then_answers(bench: DockerBench) -> None:
    command = shell(
        "test -e /tmp/again || { touch /tmp/again; exit 1; }; httpd -f -p 8000 -h /etc & wait $!"
    )
    health = {"http": {"port": 8000, "path": "/passwd"}, "stable": "300ms", "timeout": "10s"}
    assert "answered 200" in verify(bench, health, command=command)


# Ended


def test_exited_with_a_code(bench: DockerBench) -> None:
    command = ("sh", "-c", "echo the port is missing; exit 3")
    error = failure(bench, {"tcp": 8000, "timeout": "20s"}, command=command, restart="no")
    assert "exited with code 3" in error.what
    assert error.detail == "the port is missing"
    assert error.app == f"{bench.project}/web"


def test_exited_without_any_check(bench: DockerBench) -> None:
    error = failure(bench, {}, command=("sh", "-c", "exit 4"), restart="no")
    assert "exited with code 4" in error.what


def test_exited_with_success(bench: DockerBench) -> None:
    error = failure(bench, {"tcp": 8000}, command=("true",), restart="no")
    assert "exited with code 0" in error.what
    assert "foreground" in error.todo


def test_exited_by_a_signal(bench: DockerBench) -> None:
    instance = bench.deploy(bench.workload(restart="no", command=STUBBORN))
    bench.engine.docker("kill", instance.id)
    with pytest.raises(HealthError, match=r"code 137 \(SIGKILL\)"):
        check(bench, instance, tcp=8000)


def test_exited_is_noticed_at_once(bench: DockerBench) -> None:
    """Also while a probe waits for an answer."""
    command = shell("nc -l -p 8000 >/dev/null & sleep 0.5; exit 5")
    instance = bench.deploy(bench.workload(command=command, restart="no"))
    began = time.monotonic()
    with pytest.raises(HealthError, match="code 5"):
        check(bench, instance, http={"port": 8000}, timeout="30s")
    assert time.monotonic() - began < 1.5


def test_crash_loop(bench: DockerBench) -> None:
    command = ("sh", "-c", "echo no database; exit 3")
    error = failure(bench, {"http": {"port": 8000}, "timeout": "30s"}, command=command)
    assert "crash loop" in error.what
    assert "exited with code 3" in error.what
    assert "3 restarts in" in error.what
    assert "no database" in error.detail


def test_crash_loop_without_any_check(bench: DockerBench) -> None:
    health = {"stable": "2s", "timeout": "30s"}
    assert "crash loop" in failure(bench, health, command=("sh", "-c", "exit 1")).what


def test_paused_without_any_check(bench: DockerBench) -> None:
    instance = bench.deploy(bench.workload())
    bench.engine.docker("pause", instance.id)
    with pytest.raises(HealthError, match="is paused now"):
        check(bench, instance, stable="200ms", timeout="300ms")
    bench.engine.docker("unpause", instance.id)


def test_out_of_memory(bench: DockerBench) -> None:
    spec = {"command": ("tail", "/dev/zero"), "resources": {"memory": "8m"}, "restart": "no"}
    error = failure(bench, {"stable": "5s"}, **spec)
    assert "limit of 8m (out of memory)" in error.what
    assert "resources.memory" in error.todo


def test_out_of_memory_again_and_again(bench: DockerBench) -> None:
    spec = {"command": ("tail", "/dev/zero"), "resources": {"memory": "8m"}}
    error = failure(bench, {"stable": "5s", "timeout": "30s"}, **spec)
    assert "out of memory), 3 restarts" in error.what


def test_removed_by_somebody(bench: DockerBench) -> None:
    instance = bench.deploy(bench.workload())
    bench.engine.docker("rm", "-f", instance.id)
    with pytest.raises(HealthError, match="removed by somebody else"):
        check(bench, instance, tcp=8000)


# Runs, and doesn't answer


def test_wrong_port_names_the_right_one(bench: DockerBench) -> None:
    error = failure(bench, {"http": {"port": 8001}})
    assert error.what == (
        "not healthy within 1s: GET :8001/ refused the connection; "
        "nothing listens on port 8001, but on 8000"
    )


def test_listens_inside_only(bench: DockerBench) -> None:
    command = shell("httpd -f -p 127.0.0.1:8000 -h /tmp & wait $!")
    error = failure(bench, {"tcp": 8000}, command=command)
    assert "it listens on 127.0.0.1:8000 only" in error.what
    assert "0.0.0.0" in error.todo


def test_listens_on_nothing(bench: DockerBench) -> None:
    error = failure(bench, {"tcp": 8000}, command=("sleep", "600"), stop_grace_period="0s")
    assert "nothing listens on port 8000" in error.what


def test_http_error_status(bench: DockerBench) -> None:
    command = answering("HTTP/1.1 500 Oops", "", "", "database is locked")
    error = failure(bench, {"http": {"port": 8000}}, command=command)
    assert error.what.endswith("GET :8000/ answered 500: database is locked")


def test_http_something_else(bench: DockerBench) -> None:
    error = failure(bench, {"http": {"port": 8000}}, command=answering("SSH-2.0-x", ""))
    assert "isn't HTTP" in error.what


def test_http_never_answers(bench: DockerBench) -> None:
    command = shell("sleep 600 | nc -l -p 8000 & wait $!")
    error = failure(bench, {"http": {"port": 8000}}, command=command)
    assert error.what == "not healthy within 1s: GET :8000/ did not answer in time"


def test_command_fails(bench: DockerBench) -> None:
    health = {"command": ["sh", "-c", "echo queue is full; exit 2"]}
    assert failure(bench, health).what.endswith("the command sh exited with 2: queue is full")


def test_command_is_not_in_the_image(bench: DockerBench) -> None:
    error = failure(bench, {"command": ["pg_isready"]})
    assert "the command pg_isready exited with 12" in error.what
    assert "executable file not found" in error.what


@pytest.mark.alone
def test_command_hangs(bench: DockerBench) -> None:
    began = time.monotonic()
    assert "did not answer in time" in failure(bench, {"command": ["sleep", "600"]}).what
    assert time.monotonic() - began < 2.5


# The image's HEALTHCHECK

MakeImage = Callable[[str], str]


@pytest.fixture
def healthcheck(bench: DockerBench) -> Iterator[MakeImage]:
    """Makes an image with this HEALTHCHECK; its id."""
    docker = bench.engine.docker
    name = f"{bench.project}-image"

    def make(text: str) -> str:
        made = docker("create", "--name", name, bench.image_id)
        return docker("commit", "--change", f"HEALTHCHECK {text}", made, name)

    yield make
    bench.engine.discard(bench.project)
    docker("rmi", "-f", name)


def test_healthcheck_is_asked_at_once(bench: DockerBench, healthcheck: MakeImage) -> None:
    image = healthcheck("--interval=30s CMD test -e /tmp/index.html")
    began = time.monotonic()
    said = verify(bench, {"timeout": "60s"}, image_id=image)
    assert said.startswith("the image's HEALTHCHECK exited with 0 after")
    assert time.monotonic() - began < 3


def test_healthcheck_says_unhealthy(bench: DockerBench, healthcheck: MakeImage) -> None:
    image = healthcheck("--interval=300ms --retries=1 CMD echo the cache is cold; exit 1")
    error = failure(bench, {"timeout": "20s"}, image_id=image)
    assert error.what == "the image's HEALTHCHECK says unhealthy: the cache is cold"


def test_healthcheck_that_only_the_engine_can_run(
    bench: DockerBench, healthcheck: MakeImage
) -> None:
    image = healthcheck("--interval=300ms CMD true")
    instance = bench.deploy(bench.workload(image_id=image))
    with_other = Hidden(instance, health_command=("not-for-exec",))
    assert "said healthy" in check(bench, with_other, timeout="20s")


def test_healthcheck_of_the_image_and_a_check_of_the_spec(
    bench: DockerBench, healthcheck: MakeImage
) -> None:
    image = healthcheck("--interval=300ms --retries=1 CMD false")
    assert "answered 200" in verify(bench, {"http": {"port": 8000}}, image_id=image)


# Where a container's address is out of reach


class Hidden:
    """An instance that shows itself otherwise, such as without its addresses."""

    def __init__(self, instance: Instance, **changes: Any) -> None:
        self._instance = instance
        self._changes = changes
        self.id = instance.id
        self.dial = instance.dial
        self.execute = instance.execute
        self.last_lines = instance.last_lines
        self.listening = instance.listening

    def inspect(self) -> InstanceState:
        return replace(self._instance.inspect(), **self._changes)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


WGET = """#!/bin/sh
for url; do :; done
path=/${url#http://*/}
printf 'GET %s HTTP/1.0\\r\\n\\r\\n' $path | nc 127.0.0.1 8000 | head -1 | grep -q ' 200 ' && exit
echo "wget: server returned error" >&2
exit 1
"""
"""In the place of wget: that of a static busybox crashes when it looks up an address."""


def test_published_port_where_the_address_is_out_of_reach(
    bench: DockerBench, free_port: int
) -> None:
    workload = bench.workload(ports=[f"127.0.0.1:{free_port}:8000"])
    hidden = Hidden(bench.deploy(workload), addresses=())
    assert "answered 200" in check(bench, hidden, http={"port": 8000})
    assert "accepted" in check(bench, hidden, tcp=8000)


def test_published_port_of_a_proxy_with_nothing_behind(bench: DockerBench, free_port: int) -> None:
    workload = bench.workload(ports=[f"127.0.0.1:{free_port}:8001"])
    hidden = Hidden(bench.deploy(workload), addresses=())
    with pytest.raises(HealthError, match="nothing listens on port 8001, but on 8000"):
        check(bench, hidden, tcp=8001)
    with pytest.raises(HealthError, match="nothing listens on port 8001, but on 8000"):
        check(bench, hidden, http={"port": 8001})


def test_from_inside_where_nothing_is_published(bench: DockerBench) -> None:
    command = ("sh", "-c", 'printf %s "$WGET" >/usr/bin/wget; chmod +x /usr/bin/wget; ' + SERVE[2])
    workload = bench.workload(command=command, env={"WGET": WGET})
    hidden = Hidden(bench.deploy(workload), addresses=(), published={})
    assert "inside of the container" in check(bench, hidden, http={"port": 8000}, timeout="5s")
    assert "is listened on" in check(bench, hidden, tcp=8000)
    with pytest.raises(HealthError, match="failed inside of the container: wget: server"):
        check(bench, hidden, http={"port": 8000, "path": "/missing"}, timeout="2s")


def test_from_inside_without_the_tools_for_it(bench: DockerBench) -> None:
    hidden = Hidden(bench.deploy(bench.workload()), addresses=(), published={})
    with pytest.raises(HealthError, match="port 8000 isn't published") as caught:
        check(bench, hidden, http={"port": 8000})
    assert "health.command" in caught.value.todo


def test_address_that_swallows_everything(bench: DockerBench, free_port: int) -> None:
    """Skipped after its first half second."""
    workload = bench.workload(ports=[f"127.0.0.1:{free_port}:8000"])
    with_hole = Hidden(bench.deploy(workload), addresses=("127.0.0.99", "255.255.255.255"))
    began = time.monotonic()
    with pytest.raises(HealthError, match="refused"):  # 127.0.0.99 refuses: that is an answer
        check(bench, with_hole, http={"port": 8000}, timeout="500ms")
    nowhere = Hidden(with_hole, addresses=("255.255.255.255",))
    assert "answered 200" in check(bench, nowhere, http={"port": 8000}, timeout="5s")
    assert time.monotonic() - began < 3


# Cancelled


@pytest.mark.parametrize(
    ("command", "health"),
    [
        (SERVE, {"stable": "60s"}),
        (SERVE, {"tcp": 9}),
        (SERVE, {"command": ["sleep", "600"]}),
        (shell("sleep 600 | nc -l -p 8000 & wait $!"), {"http": {"port": 8000}}),
    ],
    ids=["stable", "tcp", "command", "http"],
)
def test_cancelled(bench: DockerBench, command: tuple[str, ...], health: dict[str, Any]) -> None:
    instance = bench.deploy(bench.workload(command=command))
    job = replace(bench.job, cancel=Cancellation())
    cancelled_at: list[float] = []

    def cancel() -> None:
        cancelled_at.append(time.monotonic())
        job.cancel.cancel(Cancelled("cancelled"))

    timer = threading.Timer(0.5, cancel)
    timer.start()
    with pytest.raises(Cancelled):
        check_health(instance, from_plain(Health, {**health, "timeout": "60s"}), job)
    assert time.monotonic() - cancelled_at[0] < 0.2
    timer.join()
