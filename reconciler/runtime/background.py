"""Calls that block inside a library that knows nothing of our cancellation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from reconciler.host.job import Cancellation

T = TypeVar("T")


class Background(Generic[T]):
    """A call that runs in a thread of its own, from the moment this is made.

    The thread is a daemon's: a call that nobody waits for any more doesn't keep the process.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._ended = threading.Event()
        self._wake = threading.Event()
        self._error: BaseException | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._answer = self._call()
        except BaseException as error:  # it is raised where it is waited for
            self._error = error
        finally:
            self._ended.set()
            self._wake.set()

    def wait(self, cancel: Cancellation, timeout: float | None = None) -> bool:
        """Whether it has ended within `timeout` seconds. Raises the reason of a cancellation,
        at once; the call then goes on alone."""
        with cancel.interrupting(self._wake.set):
            self._wake.wait(timeout)
        cancel.check()
        return self._ended.is_set()

    def result(self) -> T:
        """What it returned or raised, once it has ended."""
        if self._error is not None:
            raise self._error
        return self._answer


def call_cancellable(cancel: Cancellation, call: Callable[[], T]) -> T:
    """`call()`, but a cancellation is raised at once, while the call goes on alone."""
    cancel.check()
    background = Background(call)
    background.wait(cancel)
    return background.result()
