"""One pass at a time, soon after anybody asked for one.

Ticks, edits, events of the engine, hooks, signals and ends of deployments all do the same: they
ask. What is asked for before a pass begins is answered by it; what comes while one runs, by one
more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from reconciler.values import frozen

SETTLE_SECONDS = 0.02
"""From the first wish to the pass: what belongs together (an engine's `kill`, `die` and `destroy`
of one container) comes within milliseconds."""


@frozen
class Wish:
    """Why a pass is asked for, for people, and what it has to look at anew.

    `look`: `due` asks hosts whose pause is over, `now` asks whatever has failed; empty relies on
    what was answered last. `apps`: for `now`, which ones; none for all.
    """

    cause: str
    look: Literal["", "due", "now"] = ""
    apps: tuple[str, ...] = ()


Run = Callable[[Sequence[Wish]], None]


class Loop:
    """Calls `run` on a thread of its own, with all wishes since the last time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._wishes: list[Wish] = []
        self._changed = threading.Condition()
        self._ending = False
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._work, name="passes", daemon=True)

    def start(self) -> None:
        """Begin to answer wishes."""
        self._thread.start()

    def ask(self, wish: Wish) -> None:
        """Ask for a pass; returns at once. The same wish twice is one."""
        with self._changed:
            if wish not in self._wishes:
                self._wishes.append(wish)
                self._changed.notify_all()

    def end(self, patience: float) -> bool:
        """Begin no pass any more; whether the last one ended within `patience` seconds."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def stuck_for(self) -> float:
        """Seconds that the present pass has taken; 0 between passes."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    def alive(self) -> bool:
        """Whether wishes are going to be answered."""
        return self._thread.is_alive()

    def _work(self) -> None:
        while wishes := self._wait():
            self._busy_since = time.monotonic()
            self._run(wishes)
            self._busy_since = None

    def _wait(self) -> list[Wish]:
        """All wishes, a moment after the first of them; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._wishes or self._ending)
        time.sleep(0 if self._ending else SETTLE_SECONDS)
        with self._changed:
            wishes, self._wishes = self._wishes, []
            return [] if self._ending else wishes
