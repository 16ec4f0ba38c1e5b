"""Engines behind a real sshd, at the end of a cable that can be pulled."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.errors import EngineUnavailable
from reconciler.host import tunnel
from reconciler.host.access import Access
from reconciler.host.engine import Engine, Request
from reconciler.host.tunnel import make_argv
from tests.support import system
from tests.support.sshd import SshHost

MakeHost = Callable[[], SshHost]


@pytest.fixture
def remote(ssh_host: SshHost) -> Iterator[Engine]:
    with closing(Engine(ssh_host.access)) as engine:
        yield engine


def directory_of(engine: Engine) -> Path:
    return Path(str(engine.cli_environment()["DOCKER_HOST"]).removeprefix("unix://")).parent


def ssh_of(directory: Path) -> list[int]:
    """The ssh processes with this private directory."""
    return [one for one in system.pids() if f"{directory}/control" in system.command_line(one)]


def refused(access: Access) -> EngineUnavailable:
    with closing(Engine(access)) as engine, pytest.raises(EngineUnavailable) as caught:
        engine.get("/info")
    return caught.value


def test_remote_engine_answers(remote: Engine, ssh_host: SshHost) -> None:
    assert remote.get("/info")["ID"] == ssh_host.engine.request("GET", "/info")["ID"]
    assert remote.client.ping()
    assert len(ssh_of(directory_of(remote))) == 1


def test_remote_engine_by_the_docker_client(remote: Engine, ssh_host: SshHost) -> None:
    env = {k: v for k, v in (dict(os.environ) | dict(remote.cli_environment())).items() if v}
    argv = ["docker", "info", "--format", "{{.ID}}"]
    done = subprocess.run(argv, env=env, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ssh_host.engine.request("GET", "/info")["ID"]


def test_remote_engine_in_many_threads_uses_one_ssh(remote: Engine) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(remote.send(Request("GET", "/_ping")).status)
        )
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 20
    assert len(ssh_of(directory_of(remote))) == 1


def test_remote_engine_leaves_nothing(ssh_host: SshHost) -> None:
    engine = Engine(ssh_host.access)
    directory = directory_of(engine)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in directory.iterdir()} == {"control", "docker.sock"}
    engine.close()
    assert not directory.exists()
    assert ssh_of(directory) == []
    assert engine.get("/version")["ApiVersion"]  # it may be used again
    directory = directory_of(engine)
    del engine  # nor does one that nobody closes
    system.wait_until(lambda: not directory.exists(), 5, "the end of what was forgotten")
    assert ssh_of(directory) == []


USE = """\
import json, sys, time
from reconciler.host.access import Access
from reconciler.host.engine import Engine
engine = Engine(Access(**json.load(sys.stdin)))
print(engine.cli_environment()["DOCKER_HOST"], flush=True)
time.sleep(600)
"""


def test_remote_engine_of_a_process_that_is_killed(ssh_host: SshHost, remote: Engine) -> None:
    fields = {key: value for key, value in vars(ssh_host.access).items() if isinstance(value, str)}
    with subprocess.Popen(
        [sys.executable, "-c", USE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdin is not None
        assert user.stdout is not None
        user.stdin.write(json.dumps(fields))
        user.stdin.close()
        directory = Path(user.stdout.readline().strip().removeprefix("unix://")).parent
        (ssh,) = ssh_of(directory)
        user.send_signal(signal.SIGKILL)
    system.wait_until(lambda: not system.is_alive(ssh), 5, "the end of ssh")
    assert directory.exists()
    sweep = "from reconciler.host.private import PrivateDirectory as P; P().close()"
    subprocess.run([sys.executable, "-c", sweep], check=True)
    assert not directory.exists()
    assert remote.get("/version")


# What ssh refuses


def test_remote_host_key_unknown(ssh_host: SshHost) -> None:
    other = ssh_host.known_hosts("host_key").replace(ssh_host.address, "10.0.0.1")
    error = refused(replace(ssh_host.access, known_hosts=other, name="web1"))
    assert "host web1" in error.what
    assert "host key isn't known" in error.what
    assert f"ssh-keyscan -p 2222 {ssh_host.address}" in error.todo


def test_remote_host_key_changed(ssh_host: SshHost) -> None:
    error = refused(replace(ssh_host.access, known_hosts=ssh_host.known_hosts("stranger")))
    assert "host key isn't the one that is known: it is SHA256:" in error.what


def test_remote_key_refused(ssh_host: SshHost) -> None:
    key = (ssh_host.home / "stranger").read_text()
    error = refused(replace(ssh_host.access, ssh_key=key))
    assert "refuses deploy with the key of `ssh_key`" in error.what
    assert key not in str(error)


def test_remote_key_that_is_none(ssh_host: SshHost) -> None:
    error = refused(replace(ssh_host.access, ssh_key="nonsense"))
    assert "`ssh_key` isn't a private key" in error.what


def test_remote_port_closed(ssh_host: SshHost) -> None:
    error = refused(replace(ssh_host.access, url=ssh_host.access.url.replace(":2222", ":2")))
    assert "ssh couldn't connect: Connection refused" in error.what


def test_remote_socket_missing(ssh_host: SshHost) -> None:
    error = refused(replace(ssh_host.access, url=f"{ssh_host.access.url}.not"))
    assert "there is no socket" in error.what


def test_remote_socket_not_permitted(ssh_host: SshHost) -> None:
    error = refused(ssh_host.as_guest)
    assert "guest may not use the socket" in error.what
    assert "usermod -aG docker guest" in error.todo


@pytest.mark.parametrize(
    "url",
    [
        "ssh://-oProxyCommand=x",
        "ssh://-x@host",
        "ssh://$(id)@host",
        "ssh://user:password@host",
        "ssh://host/a:b",
        "ssh://host/$HOME",
        "ssh://host:99999",
        "ssh://",
    ],
)
def test_remote_address_that_ssh_could_misread(url: str) -> None:
    assert "its address" in refused(Access(url)).what


def test_remote_argv_ends_with_the_host() -> None:
    argv = make_argv(Access("ssh://me@web1:99/run/d.sock"), "/d")
    assert argv[-8:] == ["-L", "/d/docker.sock:/run/d.sock", "-p", "99", "-l", "me", "--", "web1"]
    assert not any("IdentityFile" in word or "KnownHosts" in word for word in argv)


# What the network does


def test_remote_sshd_is_killed_and_comes_back(make_ssh_host: MakeHost) -> None:
    host = make_ssh_host()
    with closing(Engine(host.access)) as engine:
        client = engine.client
        assert engine.get("/version")
        host.stop_sshd()
        with pytest.raises(EngineUnavailable):
            engine.get("/version")
        host.start_sshd()
        assert engine.get("/version")
        assert client.ping()


def test_remote_sshd_is_killed_during_a_call(make_ssh_host: MakeHost) -> None:
    host = make_ssh_host()
    with closing(Engine(host.access)) as engine:
        assert engine.get("/version")
        threading.Timer(0.3, host.stop_sshd).start()
        with pytest.raises(EngineUnavailable, match=r"ssh ended|hung up"):
            engine.send(Request("GET", "/events"), timeout=None)


def test_remote_host_is_cut_off(make_ssh_host: MakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "ALIVE_SECONDS", 1)
    host = make_ssh_host()
    with closing(Engine(host.access)) as engine:
        assert engine.get("/version")
        with host.cut_off():
            began = time.monotonic()
            with pytest.raises(EngineUnavailable, match="timed out"):
                engine.get("/version", timeout=1)
            assert time.monotonic() - began < 2
            with pytest.raises(EngineUnavailable, match="went silent"):
                engine.send(Request("GET", "/events"), timeout=None)
            assert time.monotonic() - began < 20
            again = time.monotonic()
            with pytest.raises(EngineUnavailable, match="didn't connect within 1 s"):
                engine.get("/version", timeout=1)
            assert time.monotonic() - again < 2
        system.wait_until(lambda: answers(engine), 20, "an answer after the cut")


def answers(engine: Engine) -> bool:
    try:
        return bool(engine.get("/version", timeout=3))
    except EngineUnavailable:
        return False


# Connections from the host


def test_dial_from_the_host(remote: Engine, ssh_host: SshHost, project: str) -> None:
    argv = ["run", "-d", "--name", f"{project}-web", "busybox:stable", "httpd", "-f", "-p", "8000"]
    made = ssh_host.engine.docker(*argv)
    address = ssh_host.engine.inspect(made)["NetworkSettings"]["IPAddress"]
    system.wait_until(lambda: talks(remote, address, 8000), 5)
    assert talks(remote, "127.0.0.1", 2222)
    with pytest.raises(ConnectionRefusedError):
        remote.dial(address, 9, 1)
    with pytest.raises(OSError, match="open failed"):
        remote.dial("203.0.113.1", 9, 1)
    ssh_host.engine.discard(project)


def talks(engine: Engine, address: str, port: int) -> bool:
    try:
        with closing(engine.dial(address, port, 1)) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            return bool(connection.recv(5))
    except ConnectionRefusedError:
        return False
