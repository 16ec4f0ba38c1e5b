"""Machines that may be away, each with a fake runtime of its own."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from reconciler.errors import EngineUnavailable
from reconciler.plan.states import Observed
from reconciler.testing import FakeRuntime
from tests.support.fake_engine import FakeEngine

AWAY = "no route to it"
_CALLS = ("observe", "deploy", "settle", "revert", "remove", "running")
_numbers = itertools.count(1)


class Machine(FakeRuntime):
    """A runtime that may be away; `asked` counts its list calls, also those without an answer.

    `beside`: what a list call waits for, to show that others are asked at the same time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1000 * next(_numbers))  # no two containers have one id
        self.away = False
        self.asked = 0
        self.beside: threading.Barrier | None = None

    def __getattribute__(self, name: str) -> Any:
        if name in _CALLS and self.away:
            self.asked += 1
            raise EngineUnavailable(AWAY)
        return super().__getattribute__(name)

    def observe(self, project: str) -> Observed:
        self.asked += 1
        if self.beside:
            self.beside.wait(10)
        return super().observe(project)

    def deployments(self) -> list[str]:
        """Of the containers that are there."""
        return [one.workload.deployment for one in self.containers.values()]


class Listening(Machine):
    """One that also has an engine's socket, below `directory`."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._open = ExitStack()
        self.url = f"unix://{directory}/engine.sock"

    @contextmanager
    def listening(self) -> Iterator[None]:
        self.come_back()
        try:
            yield
        finally:
            self._open.close()

    def go_away(self) -> None:
        self.away = True
        self._open.close()
        (self._directory / "engine.sock").unlink()

    def come_back(self) -> None:
        self._directory.mkdir(exist_ok=True)
        self._open.enter_context(FakeEngine(self._directory))
        self.away = False
