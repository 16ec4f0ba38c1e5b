"""The queue as a state machine: put, claim, heartbeat, finish, crash, cancel in any order."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reconciler import queue
from reconciler.errors import LeaseLost
from reconciler.host.owner import current_owner
from reconciler.queue import Claim, Ending
from reconciler.state.records import Request
from reconciler.state.store import Store

APPS = ["shop/api", "shop/db", "shop/web"]
DEAD = "another-boot/1:1:1"


class QueueMachine(RuleBasedStateMachine):
    """`owned`: claims of workers that live; `lost`: claims of workers that crashed."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="queue-"))
        self.store = Store(self.directory)
        self.now = 1000.0
        self.asked: dict[str, list[str]] = defaultdict(list)
        self.owned: list[Claim] = []
        self.lost: list[Claim] = []
        self.runs: dict[str, int] = defaultdict(int)
        self.ended: dict[str, str] = {}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)

    def tick(self) -> float:
        self.now += 1.0
        return self.now

    @rule(app=st.sampled_from(APPS))
    def put(self, app: str) -> None:
        spec = {"source": {"path": "./x"}}
        row = queue.put(self.store, Request(app, "deploy", "apply", "t", spec, "/"), self.tick())
        self.asked[app].append(row.id)

    @rule(alive=st.booleans())
    def claim(self, alive: bool) -> None:
        claim = queue.claim(self.store, current_owner() if alive else DEAD, self.tick())
        if claim is None:
            return
        self.runs[claim.id] += 1
        self.owned = [one for one in self.owned if one.id != claim.id]
        (self.owned if alive else self.lost).append(claim)

    @rule()
    def heartbeat(self) -> None:
        queue.heartbeat(self.store, self.owned, self.tick())

    @rule(seconds=st.sampled_from([1.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "cancelled"]))
    def finish(self, data: st.DataObject, outcome: str) -> None:
        if self.owned:
            claim = self.owned.pop(data.draw(st.integers(0, len(self.owned) - 1)))
            queue.finish(self.store, claim, Ending(outcome), self.tick())
            assert claim.id not in self.ended
            self.ended[claim.id] = outcome

    @rule(data=st.data())
    def finish_after_losing_the_lease(self, data: st.DataObject) -> None:
        if not self.lost:
            return
        claim = self.lost[data.draw(st.integers(0, len(self.lost) - 1))]
        row = self.store.find_deployment(claim.id)
        assert row is not None
        if row.status == "running" and row.token == claim.token:
            return  # nobody has noticed the crash yet
        try:
            queue.finish(self.store, claim, Ending("succeeded"), self.tick())
        except LeaseLost:
            return
        raise AssertionError("a lost lease could write")

    @rule(app=st.sampled_from(["", *APPS]))
    def cancel_waiting(self, app: str) -> None:
        for deployment in queue.cancel_waiting(self.store, self.tick(), app=app):
            self.ended[deployment] = "cancelled"

    @invariant()
    def one_running_and_one_waiting_for_each_app(self) -> None:
        seen = [(row.app, row.status) for row in self.store.unfinished()]
        assert len(seen) == len(set(seen))

    @invariant()
    def nothing_is_lost(self) -> None:
        rows = {row.id: row for row in self.store.list_deployments(limit=-1)}
        assert set(rows) == {one for ids in self.asked.values() for one in ids}
        for ids in self.asked.values():
            for deployment in ids:
                row = rows[deployment]
                if row.outcome == "superseded":
                    assert deployment not in self.runs
                elif row.ended:
                    assert row.outcome == self.ended[deployment]

    @invariant()
    def newest_request_of_an_app_is_never_superseded(self) -> None:
        for ids in self.asked.values():
            row = self.store.find_deployment(ids[-1])
            assert row is not None
            assert row.outcome != "superseded"

    @invariant()
    def status_of_an_app_is_running_while_something_is_unfinished(self) -> None:
        unfinished = {row.app for row in self.store.unfinished()}
        for app in self.asked:
            row = self.store.find_app(app)
            assert row is not None
            assert (row.status == "running") == (app in unfinished)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
