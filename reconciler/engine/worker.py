"""Runs deployments: threads that claim and run, and one that keeps the leases and hears stops.

A one-shot (`Workers`) works on the deployments that it asked for and waits for those that others
run. A daemon works on whatever is there: `engine.pool`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from reconciler import queue
from reconciler.engine.cleanup import keep_to_retention
from reconciler.errors import Interrupted, ReconcilerError, Stopped
from reconciler.host.job import Cancellation
from reconciler.host.owner import current_owner
from reconciler.pipeline.ending import stop_reason
from reconciler.pipeline.runner import run_deployment
from reconciler.pipeline.tools import Tools
from reconciler.queue import Claim
from reconciler.state.records import Deployment

POLL_SECONDS = 0.05
"""How often a worker without work looks for some, and a waiter for the end."""

STOP_POLL_SECONDS = 0.1
"""How often the owner of a deployment looks whether it shall end: cancel works within a second."""

IDLE_SECONDS = 0.5
"""How often it looks while nothing runs: a first stop may wait that much longer."""


@dataclass
class Leases:
    """The deployments that this process runs now; a thread of its own keeps their leases."""

    tools: Tools
    _running: dict[str, tuple[Claim, Cancellation]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _end: threading.Event = field(default_factory=threading.Event)

    def start(self) -> threading.Thread:
        """Start the thread; `end` ends it."""
        thread = threading.Thread(target=self._keep, name="leases", daemon=True)
        thread.start()
        return thread

    def end(self) -> None:
        """Let the thread end."""
        self._end.set()

    def add(self, claim: Claim) -> Cancellation:
        """Keep this lease from now on; the cancellation is how its work hears of a stop."""
        cancel = Cancellation()
        with self._lock:
            self._running[claim.id] = (claim, cancel)
        return cancel

    def drop(self, claim: Claim) -> None:
        """The work has ended."""
        with self._lock:
            self._running.pop(claim.id, None)

    def stop_all(self, reason: Stopped) -> None:
        """End everything that runs here."""
        for _, cancel in self.running():
            cancel.cancel(reason)

    def running(self) -> list[tuple[Claim, Cancellation]]:
        """What runs here now."""
        with self._lock:
            return list(self._running.values())

    def _keep(self) -> None:
        beaten = self.tools.clock()
        while not self._end.wait(STOP_POLL_SECONDS if self._running else IDLE_SECONDS):
            running = self.running()
            now = self.tools.clock()
            try:
                for claim, cancel in running:
                    self._hear(claim, cancel)
                if running and now - beaten >= queue.HEARTBEAT_SECONDS:
                    queue.heartbeat(self.tools.store, [claim for claim, _ in running], now)
                    beaten = now
            except (ReconcilerError, sqlite3.Error):
                continue  # the state is locked, or its disk is full: that may pass

    def _hear(self, claim: Claim, cancel: Cancellation) -> None:
        how = queue.read_stop(self.tools.store, claim)
        still_running = claim.id in self._running
        if how and still_running:
            cancel.cancel(stop_reason(how, claim.deployment.app))


class Workers:
    """Runs what it may claim, up to `concurrency` side by side.

    `only`: ids to run or wait for. `ours`: those of them that this process asked for, and takes
    out of the queue when it is interrupted.
    """

    def __init__(
        self,
        tools: Tools,
        concurrency: int,
        only: Collection[str],
        ours: Collection[str] | None = None,
    ) -> None:
        self._tools = tools
        self._ours = only if ours is None else ours
        self._concurrency = concurrency
        self._only = only
        self._leases = Leases(tools)
        self._stop = threading.Event()
        self._changed = threading.Condition()

    def run_to_end(self) -> list[Deployment]:
        """Run until every deployment in `only` has ended, here or elsewhere; their rows.

        On KeyboardInterrupt what runs here is stopped, put back and ended as `interrupted`, what
        waits is taken out of the queue, and the exception goes on.
        """
        ids = list(self._only)
        count = max(1, min(self._concurrency, len(ids)))
        keeper = self._leases.start()
        try:
            with ThreadPoolExecutor(count, thread_name_prefix="worker") as pool:
                futures = [pool.submit(self._work, ids) for _ in range(count)]
                try:
                    for future in futures:
                        future.result()
                except BaseException:
                    self._interrupt()
                    raise
        finally:
            self._leases.end()
            keeper.join()
        rows = [self._tools.store.find_deployment(deployment) for deployment in ids]
        return [row for row in rows if row is not None]

    def _interrupt(self) -> None:
        self._stop.set()
        ours = list(self._ours)
        queue.cancel_waiting(self._tools.store, self._tools.clock(), only=ours)
        self._leases.stop_all(Interrupted("interrupted"))

    def _work(self, ids: list[str]) -> None:
        while not self._stop.is_set():
            claim = queue.claim(self._tools.store, current_owner(), self._tools.clock(), self._only)
            if claim is not None:
                self._run(claim)
            elif self._all_ended(ids):
                return
            else:
                with self._changed:
                    self._changed.wait(POLL_SECONDS)

    def _run(self, claim: Claim) -> None:
        cancel = self._leases.add(claim)
        if self._stop.is_set():
            cancel.cancel(Interrupted("interrupted", app=claim.deployment.app))
        try:
            run_claim(self._tools, claim, cancel)
        finally:
            self._leases.drop(claim)
            with self._changed:
                self._changed.notify_all()

    def _all_ended(self, ids: list[str]) -> bool:
        open_ids = {row.id for row in self._tools.store.unfinished()}
        return open_ids.isdisjoint(ids)


def run_claim(tools: Tools, claim: Claim, cancel: Cancellation) -> Deployment | None:
    """Run one deployment, and keep to its app's retention; its row, unless others go on with it."""
    row = run_deployment(tools, claim, cancel)
    if row is not None and row.outcome == "succeeded":
        keep_to_retention(tools, row)
    return row
