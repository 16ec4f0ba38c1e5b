"""What long work is given: where its log lines go, and how it learns that it shall end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field

from reconciler.errors import Stopped
from reconciler.values import frozen


class Cancellation:
    """A wish to end, with its reason, that wakes everybody who waits or blocks.

    Work registers how it can be interrupted with `interrupting`, and asks `check` between steps.
    The first reason stays.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._interrupts: list[Callable[[], None]] = []
        self.reason: Stopped | None = None

    def cancel(self, reason: Stopped) -> None:
        """Set the reason and interrupt everything that is registered now."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
            interrupts = list(self._interrupts)
        self._wake.set()
        for interrupt in interrupts:
            interrupt()

    def check(self) -> None:
        """Raise the reason, if there is one."""
        if self.reason is not None:
            raise self.reason

    def wait(self, seconds: float) -> None:
        """Sleep, but not past a cancellation, which is raised."""
        self._wake.wait(seconds)
        self.check()

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """While the block runs, `cancel` calls `interrupt` (from the cancelling thread)."""
        self.check()
        with self._lock:
            self._interrupts.append(interrupt)
        try:
            if self.reason is not None:  # it came between the check and the registration
                interrupt()
            yield
        finally:
            with self._lock:
                self._interrupts.remove(interrupt)


def ignore_line(_line: str) -> None:
    """A log for work that nobody reads about."""


def ignore_process(_pid: int | None) -> None:
    """For work whose child processes nobody has to find again."""


@frozen
class Job:
    """One piece of work for one app.

    `log` takes one line without its newline; secrets are hidden behind it.
    `on_process` is told the process group of each child, and None when it has ended, so that
    another process can end it, or sweep it after a crash.
    """

    app: str = ""
    log: Callable[[str], None] = ignore_line
    cancel: Cancellation = field(default_factory=Cancellation)
    on_process: Callable[[int | None], None] = ignore_process
