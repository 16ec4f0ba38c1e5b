"""`status` of apps on several hosts, of which some don't answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler import queue
from reconciler.cli import run
from reconciler.host.owner import current_owner
from reconciler.state.records import Request
from reconciler.state.store import Store
from tests.support.fake_engine import FakeEngine

SPEC = """\
version: 1
project: shop
hosts:
  web1: {{docker: "{url}", address: 192.0.2.1}}
  web2: {{docker: "unix://{directory}/none"}}
  m1: {{docker: "unix://{directory}/none-either"}}
apps:
  api: {{source: {{path: .}}, host: web1}}
  both: {{source: {{path: .}}, host: [web1, web2]}}
  gone: {{source: {{path: .}}, host: web2}}
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """With nothing but web1 reachable, and everything deployed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none-here")
    store = Store(tmp_path / "state")
    with FakeEngine(tmp_path) as engine:
        (tmp_path / "apps.yaml").write_text(SPEC.format(url=engine.url, directory=tmp_path))
        for name, hosts in {"api": ["web1"], "both": ["web1", "web2"], "gone": ["web2"]}.items():
            deploy(store, name, hosts)
        yield store
    store.close()


def deploy(store: Store, name: str, hosts: list[str]) -> None:
    spec = {"source": {"path": "."}, "host": hosts}
    queue.put(store, Request(f"shop/{name}", "deploy", "apply", "t", spec, "/"), time.time())
    claim = queue.claim(store, current_owner(), time.time())
    assert claim is not None
    queue.finish(store, claim, queue.Ending("succeeded"), time.time())


def status(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["status", "--state-dir", "state", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_status_with_a_host_away_shows_the_others(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = status(capsys, "-o", "json")
    document: dict[str, Any] = json.loads(out)
    assert code == 0
    hosts = {one["name"]: one for one in document["hosts"]}
    assert {name: one["status"] for name, one in hosts.items()} == {
        "local": "away",  # it builds
        "m1": "away",
        "web1": "reachable",
        "web2": "away",
    }
    assert "web2" in hosts["web2"]["reason"]
    apps = {entry["name"]: entry for entry in document["apps"]}
    assert {name: entry["health"] for name, entry in apps.items()} == {
        "api": "missing",
        "both": "missing",
        "gone": "unknown",
    }
    assert list(apps["both"]["away"]) == list(apps["gone"]["away"]) == ["web2"]
    assert apps["api"]["away"] == {}
    assert apps["both"]["hosts"] == ["web1", "web2"]


def test_status_with_hosts_has_a_column_of_them(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = status(capsys)
    *reasons, head, _, _, _ = lines = out.splitlines()
    rows = lines[len(reasons) + 1 :]
    assert code == 0
    assert len(reasons) == 3
    assert all(reason.startswith("! ") for reason in reasons)
    assert any("web2" in reason for reason in reasons)
    assert head.split()[3] == "HOST"
    assert [row.split()[0] for row in rows] == ["api", "both", "gone"]
    assert "web1, web2" in rows[1]
    assert "web2" in rows[2].split("unknown", 1)[1]


def test_status_when_no_host_answers_is_69(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SPEC.format(url=f"unix://{tmp_path}/gone", directory=tmp_path)
    (tmp_path / "apps.yaml").write_text(text)
    code, out, err = status(capsys, "-o", "json")
    document = json.loads(out)
    assert code == 69
    assert "doesn't answer" in err
    assert document["engine"] == "unreachable"
    assert {entry["health"] for entry in document["apps"]} == {"unknown"}
    assert {host["status"] for host in document["hosts"]} == {"away"}
