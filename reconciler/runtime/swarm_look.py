"""What a manager says of one service, read again and again, also while its engine restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from reconciler.errors import EngineUnavailable
from reconciler.host.job import Job
from reconciler.host.labels import LABEL_APP
from reconciler.runtime.background import call_cancellable
from reconciler.runtime.swarm_api import SwarmApi
from reconciler.runtime.swarm_crew import Document, Service, parse_services

T = TypeVar("T")

PAUSE_SECONDS = 0.15
PATIENCE_SECONDS = 60.0
"""How long a manager may be away, such as at the restart of its engine, while the Swarm is at
work for us."""

END_SECONDS = 15.0
"""For the end of tasks, beside their grace period."""


def look(api: SwarmApi, name: str) -> Service | None:
    """The service of this id or name, with three calls; None when there is none."""
    document = api.service(name)
    if document is None:
        return None
    return parse_services([document], api.tasks_of(document["ID"]), api.nodes())[0]


def await_end(api: SwarmApi, service: Service) -> None:
    """Return when the tasks of a service that was removed have ended, or should have."""
    container = service.spec["TaskTemplate"].get("ContainerSpec") or {}
    grace = float(container.get("StopGracePeriod", 0)) / 1e9
    deadline = time.monotonic() + END_SECONDS + grace
    while time.monotonic() < deadline:
        left = api.tasks(f"{LABEL_APP}={service.app}")
        if not any(task["ServiceID"] == service.id and _has_process(task) for task in left):
            return
        time.sleep(0.05)


def _has_process(task: Document) -> bool:
    return task["Status"]["State"] in ("starting", "running")


class Watch:
    """Looks at one service as long as somebody wants to know. `name` may be its id."""

    def __init__(self, api: SwarmApi, name: str, job: Job) -> None:
        self._api = api
        self._name = name
        self._job = job
        self._began = time.monotonic()
        self._looked = 0.0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def look(self) -> Service | None:
        """How it is now, a moment after the last look; a manager that is away is waited for.

        Raises `EngineUnavailable` when it stays away, and the job's `Stopped` at once.
        """
        if self._looked:
            self._job.cancel.wait(max(self._looked + PAUSE_SECONDS - time.monotonic(), 0))
        found = self.patiently(lambda: look(self._api, self._name))
        self._looked = time.monotonic()
        return found

    def patiently(self, ask: Callable[[], T]) -> T:
        """What it answers, though it may be away for a while."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call_cancellable(self._job.cancel, ask)
            except EngineUnavailable:
                if time.monotonic() > deadline:
                    raise
            self._job.cancel.wait(PAUSE_SECONDS)
