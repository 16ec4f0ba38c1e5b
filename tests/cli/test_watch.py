"""`status --watch`: a screen on a terminal, lines elsewhere."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reconciler import queue
from reconciler.cli.status import Seen
from reconciler.cli.watch import Scene, draw
from reconciler.host.owner import current_owner
from reconciler.state.records import Request, Stage
from reconciler.state.store import Store

SPEC = "version: 1\nproject: shop\napps: {api: {source: {path: .}}, web: {source: {path: .}}}\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "apps.yaml").write_text(SPEC)
    store = Store(tmp_path / "state")
    yield store
    store.close()


def start(directory: Path, stdout: int, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *("env", "--default-signal=INT", sys.executable, "-m", "reconciler"),
            *("status", "--watch", "--state-dir", "state", *arguments),
        ],
        env={**os.environ, "DOCKER_HOST": f"unix://{directory}/none", "COLUMNS": "120"},
        cwd=directory, stdout=stdout, stderr=subprocess.PIPE,
    )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> bytes:
    """Ctrl-C: it ends at once, and with 0."""
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    with process.stderr as errors:
        said = errors.read()
    assert process.wait(5) == 0
    return said


def fail(store: Store) -> None:
    request = Request("shop/api", "deploy", "apply", "t", {"source": {"path": "."}}, "/")
    queue.put(store, request, time.time())
    claim = queue.claim(store, current_owner(), time.time())
    assert claim is not None
    queue.finish(store, claim, queue.Ending("failed", "it exited with 3"), time.time())


def test_watch_on_a_terminal_is_a_screen(
    store: Store, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    ours, theirs = pty.openpty()
    process = start(tmp_path, theirs)
    shown = bytearray()

    def shows(text: bytes) -> bool:
        while select.select([ours], [], [], 0)[0]:
            shown.extend(os.read(ours, 1 << 16))
        return text in shown

    wait_until(lambda: shows(b"no daemon"))
    assert b"\x1b[?1049h" in shown
    fail(store)
    wait_until(lambda: shows(b"it exited with 3"))
    assert end(process) == b""
    wait_until(lambda: shows(b"\x1b[?1049l"))  # the terminal is as it was
    os.close(theirs)
    os.close(ours)


def test_watch_elsewhere_prints_each_change_once(
    store: Store, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    with (tmp_path / "out").open("wb") as out:
        process = start(tmp_path, out.fileno())
    lines = lambda: (tmp_path / "out").read_text().splitlines()  # noqa: E731
    wait_until(lambda: len(lines()) == 3)
    fail(store)
    wait_until(lambda: len(lines()) == 4)
    end(process)
    texts = [line.partition(" ")[2] for line in lines()]
    assert texts[0] == "api: idle, none: "
    assert "doesn't answer" in texts[2]
    assert texts[3] == "api: error, none: it exited with 3"


def test_watch_as_json_is_a_document_for_each_change(
    store: Store, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    with (tmp_path / "out").open("wb") as out:
        process = start(tmp_path, out.fileno(), "-o", "json")
    wait_until(lambda: (tmp_path / "out").read_text().endswith("\n"))
    end(process)
    (document,) = map(json.loads, (tmp_path / "out").read_text().splitlines())
    assert [app["name"] for app in document["apps"]] == ["api", "web"]


def entry(name: str, status: str) -> dict[str, Any]:
    texts = dict.fromkeys(("revision", "running_revision", "reason", "hold", "held_back"), "")
    return {
        **texts,
        "name": name, "status": status, "health": "healthy", "cause": "env.A changed",
        "stage": "build", "in_spec": True, "deployment": "d1", "away": {}, "containers": [],
        "hosts": ["local"], "runtime": "docker",
    }  # fmt: skip


def test_screen_shows_stages_with_times_and_what_moves_first() -> None:
    apps = [entry(f"app{number}", "done") for number in range(50)] + [entry("zeta", "running")]
    configuration = {"place": "/srv/apps.yaml", "revision": "", "problem": "line 3 is\nwrong"}
    document = {"apps": apps, "configuration": configuration, "hosts": []}
    stages = (
        Stage("d1", "clone", "done", 90.0, 0.4, {}),
        Stage("d1", "push", "skipped", 90.0, 0.0, {}),
        Stage("d1", "build", "running", 95.0, None, {}),
    )
    scene = Scene(Seen(document), {"zeta": stages}, "daemon 7, for 2h00m", 100.0)
    console = Console(width=120, height=20, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(draw(scene, 20))
    console.file.close()
    lines = console.export_text().splitlines()
    assert len(lines) <= 20
    assert lines[0].strip() == "/srv/apps.yaml  daemon 7, for 2h00m  1 running, 50 done"
    assert lines[1].strip() == "! not up to date: line 3 is wrong"
    assert "clone 0.4s ▸ build 5.0s …  env.A changed" in lines[-2]
    assert lines[-1].strip() == "… and 35 more"
