"""Messages to people: written once with what was told, delivered by a child, tried again."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler import queue
from reconciler.engine.notices import AGAIN_SECONDS, deliver, tell
from reconciler.engine.snapshot import Snapshot
from reconciler.engine.wiring import open_tools
from reconciler.errors import TimedOut
from reconciler.events import Event
from reconciler.host.job import Job
from reconciler.host.owner import current_owner
from reconciler.pipeline.tools import Tools
from reconciler.plan.actions import Action, Plan
from reconciler.plan.states import Observed, Recorded
from reconciler.queue import Ending
from reconciler.spec.loader import LoadedSpec, load_text
from reconciler.state.apps import FailedTry
from reconciler.state.records import Request
from tests.support.receiver import Receiver

APP = "shop/api"
TOKEN = "t0k3n-of-the-service"
PUSH = Request(
    APP, "deploy", "apply", "v1:t", {"source": {"path": "."}}, "/", cause="env.A changed"
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


class Desk:
    """Tools with a clock to turn, and what was reported."""

    def __init__(self, tools: Tools, tmp_path: Path) -> None:
        self.now = 1_000_000.0
        self.reports: list[Event] = []
        self.tools = replace(tools, clock=lambda: self.now, listen=self.reports.append)
        self.directory = tmp_path

    def spec(self, *urls: str, events: str = "") -> LoadedSpec:
        more = f", events: {events}" if events else ""
        text = f"notify: {{urls: [{', '.join(urls)}]{more}}}" if urls else ""
        app = "apps: {api: {source: {path: .}}, web: {source: {path: .}}}"
        whole = f"version: 1\nproject: shop\n{text}\n{app}\n"
        return load_text(whole.encode(), "apps.yaml", self.directory)

    def end(self, outcome: str, reason: str = "", request: Request = PUSH) -> None:
        """A deployment that ends like this, from the queue on."""
        queue.put(self.tools.store, request, self.now)
        claim = queue.claim(self.tools.store, current_owner(), self.now)
        assert claim is not None
        failed = FailedTry(reason) if reason else None
        queue.finish(self.tools.store, claim, Ending(outcome, reason, failed), self.now)

    def tell(self, loaded: LoadedSpec, *actions: Action) -> bool:
        targets: Any = {APP: SimpleNamespace(), "shop/web": SimpleNamespace()}
        snapshot = Snapshot(targets, Recorded({}), Observed({}), Plan(actions))
        return tell(self.tools, loaded, snapshot)

    def deliver(self, loaded: LoadedSpec) -> float | None:
        return deliver(self.tools, loaded, Job())

    def statuses(self) -> list[object]:
        return [event.data["status"] for event in self.reports if event.kind == "notice"]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_tools(tmp_path / "state") as tools:
        yield Desk(tools, tmp_path)


DEPLOY = Action(APP, "deploy", ("env.A changed",))


def writes(desk: Desk) -> int:
    return int(desk.tools.store.connection.total_changes)


def test_failure_and_recovery_are_told_once_each(desk: Desk, receiver: Receiver) -> None:
    loaded = desk.spec(receiver.url())
    desk.end("failed", "it exited with 3")
    assert desk.tell(loaded, DEPLOY)
    assert desk.deliver(loaded) is None
    before = writes(desk)
    quarantine = Action(APP, "quarantine", ("failed before",))
    assert not desk.tell(loaded, quarantine)
    assert writes(desk) == before
    desk.end("succeeded")
    assert desk.tell(loaded)
    desk.deliver(loaded)
    assert not desk.tell(loaded)
    assert receiver.titles == ["shop/api failed", "shop/api recovered"]
    first = receiver.messages[0]
    assert "reason: it exited with 3" in first["message"]
    assert "cause: env.A changed" in first["message"]
    assert first["type"] == "failure"
    assert desk.statuses() == ["sent", "sent"]


def test_service_away_is_tried_again_and_only_that_one(desk: Desk, receiver: Receiver) -> None:
    with Receiver() as other:
        loaded = desk.spec(receiver.url(TOKEN), other.url())
        receiver.status = 503
        desk.end("failed", "broken")
        desk.tell(loaded, DEPLOY)
        due = desk.deliver(loaded)
        assert due is not None
        assert desk.now < due < desk.now + 60
        assert desk.deliver(loaded) == due  # nothing before its time
        receiver.status, desk.now = 200, due
        assert desk.deliver(loaded) is None
        assert (receiver.tried, other.tried) == (2, 1)
    assert sorted(map(str, desk.statuses())) == ["failed", "sent", "sent"]
    (failure,) = [one for one in desk.reports if one.data["status"] == "failed"]
    assert "503" in str(failure.data["reason"])


def test_delivery_cut_short_is_tried_again(desk: Desk) -> None:
    """By a service that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        loaded = desk.spec(f"json://127.0.0.1:{silent.getsockname()[1]}/")
        desk.end("failed", "broken")
        desk.tell(loaded, DEPLOY)
        job = Job()
        timer = threading.Timer(0.5, job.cancel.cancel, (TimedOut("not within half a second"),))
        timer.start()
        due = deliver(desk.tools, loaded, job)
        timer.join()
    assert due == desk.now + AGAIN_SECONDS
    assert desk.statuses() == ["failed"]


def test_message_not_delivered_for_a_day_is_dropped(desk: Desk, receiver: Receiver) -> None:
    receiver.status = 500
    loaded = desk.spec(receiver.url())
    desk.end("failed", "broken")
    desk.tell(loaded, DEPLOY)
    desk.now += 86_401
    assert desk.deliver(loaded) is None
    assert desk.statuses() == ["dropped"]


def test_reference_that_is_missing_and_url_that_is_gone(
    desk: Desk, receiver: Receiver, tmp_path: Path
) -> None:
    loaded = desk.spec("{file: url}")
    desk.end("failed", "broken")
    desk.tell(loaded, DEPLOY)
    due = desk.deliver(loaded)
    assert due is not None
    (tmp_path / "url").write_text(f"{receiver.url(TOKEN)}\n")
    desk.now = due
    assert desk.deliver(loaded) is None
    assert receiver.titles == ["shop/api failed"]
    desk.end("succeeded")
    desk.tell(loaded)
    assert desk.deliver(desk.spec(receiver.url())) is None
    assert desk.statuses() == ["failed", "sent", "dropped"]


def test_url_stays_out_of_state_reports_and_argv(desk: Desk, tmp_path: Path) -> None:
    loaded = desk.spec(f"json://user:{TOKEN}@127.0.0.1:9/{TOKEN}", f"nonsense://{TOKEN}")
    desk.end("failed", "broken")
    desk.tell(loaded, DEPLOY)
    desk.deliver(loaded)
    assert sorted(map(str, desk.statuses())) == ["dropped", "failed"]
    assert TOKEN not in repr(desk.reports)
    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert [path for path in files if TOKEN.encode() in path.read_bytes()] == []
    assert "apprise" not in sys.modules


def test_events_that_nobody_wants_are_not_told(desk: Desk, receiver: Receiver) -> None:
    loaded = desk.spec(receiver.url(), events="[recovered]")
    desk.end("failed", "broken")
    assert not desk.tell(loaded, DEPLOY)
    desk.end("succeeded")
    assert desk.tell(loaded)
    desk.deliver(loaded)
    assert receiver.titles == ["shop/api recovered"]


def test_apps_blocked_alike_are_told_together(desk: Desk, receiver: Receiver) -> None:
    loaded = desk.spec(receiver.url())
    both = [Action(app, "block", ("the host is away",), passing=True) for app in (APP, "shop/web")]
    assert not desk.tell(loaded, *both)
    desk.now += 301
    assert desk.tell(loaded, *both)
    desk.deliver(loaded)
    assert receiver.titles == ["2 apps of shop failed"]


def test_app_gone_from_the_spec_is_forgotten(desk: Desk, receiver: Receiver) -> None:
    loaded = desk.spec(receiver.url())
    desk.tell(loaded, Action(APP, "block", ("no such branch",)))
    snapshot = Snapshot({}, Recorded({}), Observed({}), Plan(()))
    tell(desk.tools, loaded, snapshot)
    rows = desk.tools.store.connection.execute("SELECT count(*) FROM told").fetchone()
    assert rows[0] == 0


def test_spec_without_notify_reads_and_writes_nothing(desk: Desk) -> None:
    before = writes(desk)
    desk.end("failed", "broken")
    before = writes(desk)
    assert not desk.tell(desk.spec(), DEPLOY)
    assert writes(desk) == before
