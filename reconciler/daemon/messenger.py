"""Tells people of changes, on a thread of its own, so that no pass ever waits for a mail server."""

from __future__ import annotations

import threading

from reconciler.engine.notices import deliver, tell
from reconciler.engine.snapshot import Snapshot
from reconciler.errors import Interrupted
from reconciler.host.job import Job
from reconciler.pipeline.tools import Tools
from reconciler.spec.loaded import LoadedSpec


class Messenger:
    """Delivers what passes have to tell, and what couldn't be delivered before."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._job = Job()
        self._changed = threading.Condition()
        self._loaded: LoadedSpec | None = None
        self._due: float | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="messages", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def end(self, patience: float = 1.0) -> None:
        """What isn't delivered by then is for the next start."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._job.cancel.cancel(Interrupted("the daemon was stopped"))
        self._thread.join(patience)

    def look(self, loaded: LoadedSpec, snapshot: Snapshot) -> None:
        """After a pass: write down what is to be told. Quick; never raises."""
        news = tell(self._tools, loaded, snapshot)
        with self._changed:
            first, self._loaded = self._loaded is None, loaded
            if news or (first and loaded.spec.notify):
                self._due = self._tools.clock()
                self._changed.notify_all()

    def _work(self) -> None:
        while loaded := self._wait():
            due = deliver(self._tools, loaded, self._job)
            with self._changed:
                self._due = due if self._due is None else self._due

    def _wait(self) -> LoadedSpec | None:
        """The spec in force, once something is due; None at the end."""
        with self._changed:
            while not self._ending:
                rest = None if self._due is None else self._due - self._tools.clock()
                if rest is not None and rest <= 0:
                    self._due = None
                    return self._loaded
                self._changed.wait(rest)
        return None
