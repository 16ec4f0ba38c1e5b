"""The health check of a container on another machine: asked at its own address, through ssh."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.host.engine import Engine
from tests.pipeline.test_health import answering, failure, verify
from tests.runtime.bench import STUBBORN, DockerBench, open_ssh_bench
from tests.support.sshd import SshHost


@pytest.fixture
def bench(ssh_host: SshHost, engine_by_ssh: Engine, tmp_path: Path) -> Iterator[DockerBench]:
    with open_ssh_bench(ssh_host, engine_by_ssh, tmp_path) as bench:
        yield bench


def test_remote_http_without_a_published_port(bench: DockerBench) -> None:
    """Not by wget inside: that would say so."""
    assert "GET :8000/ answered 200 after" in verify(bench, {"http": {"port": 8000}})


def test_remote_http_error_status(bench: DockerBench) -> None:
    command = answering("HTTP/1.0 503 Busy", "", "the database is starting")
    error = failure(bench, {"http": {"port": 8000}}, command=command)
    assert "answered 503: the database is starting" in error.what


def test_remote_http_published_on_the_hosts_loopback(bench: DockerBench) -> None:
    port = random.randrange(20000, 30000)
    instance = bench.deploy(bench.workload(ports=[f"127.0.0.1:{port}:8000"]))
    assert instance.inspect().published == {8000: ("127.0.0.1", port)}
    instance.dial("127.0.0.1", port, 1).close()


def test_remote_tcp_accepts(bench: DockerBench) -> None:
    assert verify(bench, {"tcp": 8000}).startswith("TCP :8000 accepted a connection after")


def test_remote_wrong_port_names_the_right_one(bench: DockerBench) -> None:
    error = failure(bench, {"http": {"port": 8001}})
    assert error.what == (
        "not healthy within 1s: GET :8001/ refused the connection; "
        "nothing listens on port 8001, but on 8000"
    )


def test_remote_listens_on_nothing(bench: DockerBench) -> None:
    assert "nothing listens" in failure(bench, {"tcp": 8000}, command=STUBBORN).what
