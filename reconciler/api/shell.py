"""What every request needs of the process, and the threads that blocking work runs in."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from reconciler.api.access import Caller, Gate, Slowdown
from reconciler.api.backend import Backend
from reconciler.api.errors import Overloaded, Refusal, Unauthorized, refuse
from reconciler.errors import ReconcilerError

QUICK_THREADS = 8
SLOW_THREADS = 32
MOST_WAITING = 128
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


class Threads:
    """Threads that stay, so that each keeps its one connection to the state.

    Look-ups have their own: they stay quick while others wait for git or for a deployment's end.
    """

    def __init__(self) -> None:
        self._quick = ThreadPoolExecutor(QUICK_THREADS, "api-quick")
        self._slow = ThreadPoolExecutor(SLOW_THREADS, "api-slow")
        self.waiting = 0
        """How many slow ones are under way."""

    async def run(self, work: Callable[[], Answer], *, slow: bool = False) -> Answer:
        """Do blocking work off the loop. Raises `Overloaded`, and what the work raises."""
        loop = asyncio.get_running_loop()
        if not slow:
            return await loop.run_in_executor(self._quick, work)
        if self.waiting >= MOST_WAITING:
            raise Overloaded("too much is under way at once", todo="Try again in a moment.")
        self.waiting += 1
        future = loop.run_in_executor(self._slow, work)
        future.add_done_callback(self._one_less)
        return await future

    def _one_less(self, _future: asyncio.Future[Answer]) -> None:
        self.waiting -= 1

    def close(self) -> None:
        """Take no more work; what runs ends by itself."""
        for pool in (self._quick, self._slow):
            pool.shutdown(wait=False, cancel_futures=True)


class Shell:
    """What a request needs of the process. One for each server."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.gate = Gate(backend)
        self.slowdown = Slowdown()
        self.threads = Threads()

    def refuse(self, error: BaseException) -> Refusal:
        """The answer for an error; what is a bug goes to the log, without secrets."""
        hide = self.backend.tools.redactor.hide
        if not isinstance(error, ReconcilerError):
            lines = traceback.format_exception(error)
            log.error("a call failed: %s", hide("".join(lines)))
        return refuse(error, hide)

    async def admit(self, headers: Mapping[str, str], address: str, scope: str) -> Caller:
        """The caller, for routes that aren't procedures. Raises `Unauthorized` and `Forbidden`."""

        def work() -> Caller:
            caller = self.gate.admit(headers, address)
            caller.must(scope)
            return caller

        try:
            return await self.threads.run(work)
        except Unauthorized as error:
            await self.slow_down(error, address)
            raise

    async def slow_down(self, error: Unauthorized, address: str) -> None:
        """Let the answer to a wrong token wait. Raises `TooMany`."""
        if error.tried:
            await asyncio.sleep(self.slowdown.delay(address))
