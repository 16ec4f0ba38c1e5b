"""A deployment's log, followed over real HTTP while it is written."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from reconciler import queue
from reconciler.api.streams import CHUNK_BYTES, read_pieces
from reconciler.state.records import Deployment
from tests.api.conftest import Api

SSE = {"Accept": "text/event-stream"}


@pytest.fixture
def row(api: Api) -> Deployment:
    """A deployment that waits, with a log of one line."""
    api.post("application.deploy", applicationId="api")
    (found,) = api.store.unfinished()
    write(api, found, "first")
    return found


def write(api: Api, row: Deployment, *lines: str, end: str = "\n") -> None:
    path = api.store.log_path(row.app, row.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("\n".join(lines) + end)


def finish(api: Api, row: Deployment) -> None:
    queue.cancel_waiting(api.store, time.time(), only=[row.id])


def url(row: Deployment, app: str = "api") -> str:
    return f"/apps/{app}/deployments/{row.id}/log"


@contextmanager
def follow(api: Api, row: Deployment, **headers: str) -> Iterator[httpx.Response]:
    with api.client.stream("GET", url(row), headers=api.headers | SSE | headers) as response:
        yield response


def events(text: str) -> list[dict[str, str]]:
    parts = [part for part in text.split("\n\n") if "data: " in part]
    return [dict(line.split(": ", 1) for line in part.splitlines()) for part in parts]


def test_stream_follows_until_the_end(api: Api, row: Deployment) -> None:
    seen: list[str] = []
    with follow(api, row) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                seen.append(line)
            if line == "data: first":
                write(api, row, "second", "half a line", end="")
                finish(api, row)
    assert seen[:3] == ["data: first", "data: second", "data: half a line"]
    assert json.loads(seen[3].removeprefix("data: ")) == {
        "status": "done",
        "outcome": "cancelled",
        "reason": "taken out of the queue",
    }


def test_stream_goes_on_from_the_last_event(api: Api, row: Deployment) -> None:
    write(api, row, "zweite Zeile: schön", "third")
    finish(api, row)
    with follow(api, row) as response:
        whole = events(response.read().decode())
    assert [event.get("data") for event in whole[:3]] == ["first", "zweite Zeile: schön", "third"]
    with follow(api, row, **{"Last-Event-ID": whole[1]["id"]}) as response:
        assert [e.get("event", e["data"]) for e in events(response.read().decode())] == [
            "third",
            "end",
        ]
    with follow(api, row, **{"Last-Event-ID": whole[-1]["id"]}) as response:
        assert response.status_code == 204
    with follow(api, row, **{"Last-Event-ID": "-1"}) as response:
        assert response.status_code == 400


def test_stream_as_plain_text(api: Api, row: Deployment) -> None:
    write(api, row, "second")
    finish(api, row)
    answer = api.client.get(url(row), headers=api.headers | {"Accept": "text/plain"})
    assert answer.text == "first\nsecond\n"
    assert answer.headers["content-type"].startswith("text/plain")


def test_stream_of_a_deployment_that_is_cleared(api: Api, row: Deployment) -> None:
    with follow(api, row) as response:
        for line in response.iter_lines():
            if line == "data: first":
                with api.store.transaction() as connection:
                    connection.execute("DELETE FROM deployments WHERE id = ?", (row.id,))
                api.store.log_path(row.app, row.id).unlink()
    assert response.is_success


def test_stream_of_somebody_elses_app(api: Api, row: Deployment) -> None:
    api.token("web", apps=("web",))
    for name, app, status in (
        ("", "api", 401),
        ("web", "api", 403),
        ("web", "web", 404),
        ("read", "web", 404),
        ("read", "nothing", 404),
    ):
        answer = api.client.get(url(row, app), headers=api.as_(name).headers)
        assert (name, app, answer.status_code) == (name, app, status)


def test_stream_heartbeat(api: Api, row: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.api.streams.HEARTBEAT_SECONDS", 0.05)
    with follow(api, row) as response:
        assert any(line.startswith(":") for line in response.iter_lines())
    finish(api, row)


def test_stream_with_a_hundred_followers_needs_no_thread_for_each(
    api: Api, row: Deployment
) -> None:
    started = threading.Semaphore(0)

    limits = httpx.Limits(max_connections=200)
    client = httpx.Client(base_url=api.server.url, limits=limits, timeout=30)

    def one() -> int:
        with client.stream("GET", url(row), headers=api.headers | SSE) as response:
            lines = response.iter_lines()
            next(line for line in lines if line == "data: first")
            started.release()
            return sum(line.startswith("data: ") for line in lines)

    before = {thread.name for thread in threading.enumerate()}
    with client, ThreadPoolExecutor(100, "followers") as pool:
        answers = [pool.submit(one) for _ in range(100)]
        for _ in answers:
            assert started.acquire(timeout=20)
        now = {thread.name for thread in threading.enumerate()} - before
        write(api, row, "second")
        finish(api, row)
        assert [answer.result() for answer in answers] == [2] * 100
    assert len([name for name in now if not name.startswith("followers")]) <= 10


def test_pieces_of_a_long_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = [f"{number} {'x' * 100}" for number in range(3000)]
    path.write_text("\n".join(lines) + "\n" + "y" * (CHUNK_BYTES + 5) + "\nlast")
    offset, found = 0, []
    while pieces := read_pieces(path, offset, whole=True):
        offset = pieces[-1].offset
        found += [piece.text for piece in pieces]
    assert found[:3000] == lines
    assert found[-1] == "last"
    assert set("".join(found[3000:-1])) == {"y"}
    assert offset == path.stat().st_size
    assert read_pieces(path, offset - 4, whole=False) == []
    assert read_pieces(tmp_path / "none", 0, whole=True) == []
