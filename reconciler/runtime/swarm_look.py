"""What a manager says of one service, read again and again, also while its engine restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from reconciler.errors import EngineUnavailable
from reconciler.host.job import Job
from reconciler.runtime.background import call_cancellable
from reconciler.runtime.swarm_api import SwarmApi
from reconciler.runtime.swarm_crew import Service, parse_services

T = TypeVar("T")

PAUSE_SECONDS = 0.15
PATIENCE_SECONDS = 60.0
"""How long a manager may be away, such as at the restart of its engine, while the Swarm is at
work for us."""


def look(api: SwarmApi, name: str) -> Service | None:
    """The service of this id or name, with three calls; None when there is none."""
    document = api.service(name)
    if document is None:
        return None
    return parse_services([document], api.tasks_of(document["ID"]), api.nodes())[0]


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
