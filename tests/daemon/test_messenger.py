"""The daemon's thread for messages: delivers after passes, and what an earlier daemon left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.daemon.messenger import Messenger
from reconciler.engine.snapshot import Snapshot
from reconciler.engine.wiring import open_tools
from reconciler.plan.actions import Action, Plan
from reconciler.plan.states import Observed, Recorded
from tests.engine.test_notices import APP, Desk
from tests.support.receiver import Receiver


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_tools(tmp_path / "state") as tools:
        yield Desk(tools, tmp_path)


def snapshot(*actions: Action) -> Snapshot:
    targets: Any = {APP: SimpleNamespace()}
    return Snapshot(targets, Recorded({}), Observed({}), Plan(actions))


def test_messenger_delivers_at_once_and_after_a_failure(
    desk: Desk, wait_until: Callable[..., Any]
) -> None:
    with Receiver() as receiver:
        loaded = desk.spec(receiver.url())
        first = Messenger(desk.tools)
        first.start()
        receiver.status = 503
        first.look(loaded, snapshot(Action(APP, "block", ("no such branch",))))
        wait_until(lambda: desk.statuses() == ["failed"])
        first.end()
        receiver.status = 200
        desk.now += 60
        second = Messenger(desk.tools)
        second.start()
        second.look(loaded, snapshot())
        wait_until(lambda: len(receiver.titles) == 2)
        second.end()
    assert receiver.titles == ["shop/api failed", "shop/api recovered"]
