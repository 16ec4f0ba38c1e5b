"""A private engine: its life, its crash, and that it leaves nothing."""

import http.client
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import system
from tests.support.engine import PrivateEngine, reap_orphans

pytestmark = pytest.mark.engine

SERVE = "echo hi >/tmp/index.html; exec httpd -f -h /tmp"


def _get(host: str, port: int) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=3)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    except OSError:
        return b""
    finally:
        connection.close()


def _left_behind(home: Path) -> list[Any]:
    mounts = [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(home) in line
    ]
    processes = [pid for pid in system.pids() if f"{home}/" in system.command_line(pid)]
    groups = system.control_groups(home.name)
    return [*mounts, *processes, *groups, *([home] if home.exists() else [])]


def test_engine_containers_answer_the_test(
    engine: PrivateEngine, project: str, wait_until: Callable[..., Any]
) -> None:
    name = f"{project}-web"
    engine.docker(
        "run", "-d", "--name", name, "-p", "127.0.0.1::80", "busybox:stable", "sh", "-c", SERVE
    )
    settings = engine.inspect(name)["NetworkSettings"]
    port = int(settings["Ports"]["80/tcp"][0]["HostPort"])
    assert wait_until(lambda: _get(settings["IPAddress"], 80)) == b"hi\n"
    assert wait_until(lambda: _get("127.0.0.1", port)) == b"hi\n"


def test_engine_lists_containers_by_label(engine: PrivateEngine, project: str) -> None:
    made = engine.docker("create", "--label", f"app={project}", "busybox:stable")
    assert [entry["Id"] for entry in engine.containers(f"app={project}")] == [made]
    engine.discard(project)
    assert engine.containers(f"app={project}") == []


def test_engine_killed_and_started_again(
    own_engine: PrivateEngine, wait_until: Callable[..., Any]
) -> None:
    stays = own_engine.docker(
        "run", "-d", "--restart", "always", "--stop-timeout", "1", "busybox:stable", "sleep", "600"
    )
    sleeper = own_engine.inspect(stays)["State"]["Pid"]
    own_engine.kill()
    assert not own_engine.is_ready()
    assert system.is_alive(sleeper)
    own_engine.start()
    assert wait_until(lambda: own_engine.inspect(stays)["State"]["Running"])


def test_engine_stopped_and_started_again(own_engine: PrivateEngine) -> None:
    ends = own_engine.docker("run", "-d", "--stop-timeout", "1", "busybox:stable", "sleep", "600")
    own_engine.restart()
    assert not own_engine.inspect(ends)["State"]["Running"]


def test_engine_live_restore_setting(make_engine: Callable[..., PrivateEngine]) -> None:
    own = make_engine(config={"live-restore": True})
    sleeper = own.docker("run", "-d", "busybox:stable", "sleep", "600")
    pid = own.inspect(sleeper)["State"]["Pid"]
    own.kill()
    own.start()
    assert own.inspect(sleeper)["State"]["Pid"] == pid


def test_engine_removed_with_running_container() -> None:
    own = PrivateEngine.create()
    own.start_once()
    own.docker("run", "-d", "busybox:stable", "sleep", "600")
    assert _left_behind(own.home)
    own.remove()
    assert _left_behind(own.home) == []


def test_engine_of_a_killed_session_is_reaped() -> None:
    owner = subprocess.Popen(["sleep", "600"])
    script = [sys.executable, "-m", "tests.support.engine", "start", str(owner.pid)]
    home = Path(subprocess.check_output(script, text=True).strip())
    own = PrivateEngine(home)
    own.make_base_image()
    own.docker("run", "-d", "busybox:stable", "sleep", "600")
    own.kill()
    assert home not in reap_orphans()
    owner.kill()
    owner.wait()
    assert home in reap_orphans()
    assert _left_behind(home) == []


def test_engine_refusing_its_settings_says_why() -> None:
    own = PrivateEngine.create(config={"no-such-setting": 1})
    try:
        with pytest.raises(RuntimeError, match="no-such-setting"):
            own.start()
    finally:
        own.remove()


def test_session_is_in_the_engines_namespace(engine: PrivateEngine) -> None:
    assert os.getpid() in system.pids_in_namespace(engine.namespace)
    assert engine.run_inside(["cat", "/proc/net/dev"]).stdout.count("docker0") == 1
