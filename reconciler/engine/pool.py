"""Runs whatever is in the queue, for as long as a daemon lives.

One thread looks: at once when somebody here has put something in (`wake`), and five times a
second whether another process has changed the state, which costs microseconds and writes nothing.
Each deployment runs in a thread of its own, up to `concurrency` of them.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable

from reconciler import queue
from reconciler.engine.worker import Leases, run_claim
from reconciler.errors import HandedOver, ReconcilerError
from reconciler.host.owner import current_owner
from reconciler.pipeline.tools import Tools
from reconciler.queue import Claim
from reconciler.state.records import Deployment

LOOK_SECONDS = 0.2
ORPHAN_SECONDS = 2.0
"""How often it looks although nothing was written: a dead owner writes nothing."""

FINISHING = ("deploy", "health", "remove")
"""Stages that swap containers: short, and better ended than put back."""

Ended = Callable[[str, Deployment | Exception | None], None]
"""Told of each end: the app, and its row; None when others go on with it; what kept it from being
written down, and then it is resumed."""


class Pool:
    """The workers of a daemon. `concurrency` may be changed at any time."""

    def __init__(self, tools: Tools, ended: Ended) -> None:
        self.concurrency = 1
        self._tools = tools
        self._ended = ended
        self._leases = Leases(tools)
        self._woken = threading.Condition()
        self._wanted = False
        self._closing = False
        self._threads: dict[str, threading.Thread] = {}
        self._looker = threading.Thread(target=self._look, name="queue", daemon=True)
        self._keeper: threading.Thread | None = None

    def start(self) -> None:
        """Begin to take deployments."""
        self._keeper = self._leases.start()
        self._looker.start()

    def wake(self) -> None:
        """Look into the queue now."""
        with self._woken:
            self._wanted = True
            self._woken.notify_all()

    def apps(self) -> set[str]:
        """Those with a deployment that runs here."""
        return {claim.deployment.app for claim, _ in self._leases.running()}

    def hand_over(self, patience: float) -> bool:
        """Take nothing more, and end within `patience` seconds; whether everything has ended.

        Deployments that swap containers get most of that time to end by themselves; all others,
        and those that need longer, wait for the next process.
        """
        deadline = time.monotonic() + patience
        with self._woken:
            self._closing = True
            self._woken.notify_all()
        while self._hand_over_all_but(FINISHING) and time.monotonic() < deadline - patience / 3:
            with self._woken:
                self._woken.wait(0.05)
        self._hand_over_all_but(())
        for thread in [self._looker, *self._threads.values()]:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._leases.end()
        if self._keeper is not None:
            self._keeper.join(1.0)
        return not self._leases.running()

    def _hand_over_all_but(self, stages: tuple[str, ...]) -> int:
        """How many still run."""
        running = self._leases.running()
        for claim, cancel in running:
            row = self._tools.store.find_deployment(claim.id)
            if row is None or row.stage not in stages:
                app = claim.deployment.app
                cancel.cancel(HandedOver("the daemon was stopped", app=app))
        return len(running)

    # -- looking -----------------------------------------------------------------------------

    def _look(self) -> None:
        seen, looked = -1, 0.0
        while True:
            with self._woken:
                if not self._wanted and not self._closing:
                    self._woken.wait(LOOK_SECONDS)
                wanted, self._wanted = self._wanted, False
                if self._closing:
                    return
            try:
                version = self._tools.store.version()
                due = time.monotonic() - looked > ORPHAN_SECONDS
                if wanted or due or version != seen:
                    looked = time.monotonic()
                    self._take_what_fits()
                    seen = version
            except (ReconcilerError, sqlite3.Error):
                continue  # the state is locked, or its disk is full: that may pass

    def _take_what_fits(self) -> None:
        while len(self._threads) < self.concurrency and not self._closing:
            claim = queue.claim(self._tools.store, current_owner(), self._tools.clock())
            if claim is None:
                return
            name = f"worker {claim.deployment.app}"
            thread = threading.Thread(target=self._run, args=(claim,), name=name, daemon=True)
            with self._woken:
                self._threads[claim.id] = thread
            thread.start()

    def _run(self, claim: Claim) -> None:
        app = claim.deployment.app
        end: Deployment | Exception | None = None
        cancel = self._leases.add(claim)
        if self._closing:
            cancel.cancel(HandedOver("the daemon was stopped", app=app))
        try:
            end = run_claim(self._tools, claim, cancel)
        except (ReconcilerError, sqlite3.Error) as error:
            end = error
        finally:
            self._leases.drop(claim)
            with self._woken:
                self._threads.pop(claim.id, None)
                self._wanted = True
                self._woken.notify_all()
            self._ended(app, end)
