"""Listens to the engine: what happens to a container of an app is looked at at once.

An event only asks for a pass, which sees what is there. After each (new) connection one is asked
for as well, as something may have happened before it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from reconciler.daemon.loop import Wish
from reconciler.daemon.reports import Reports
from reconciler.errors import EngineUnavailable, Interrupted, Stopped
from reconciler.host.engine import Engine, Request
from reconciler.host.job import Job
from reconciler.host.labels import LABEL_APP, LABEL_PROJECT, LABEL_PROXY
from reconciler.host.stream import Refusal, stream

ACTIONS = ("die", "oom", "destroy", "stop", "start", "pause", "unpause", "health_status")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class EngineEvents:
    """Asks for a pass whenever a container of an app changes that is `concerned`: one of this
    project that no deployment works on right now, as those events are its own doing.
    """

    def __init__(
        self,
        engine: Engine,
        ask: Callable[[Wish], None],
        concerned: Callable[[str], bool],
        reports: Reports,
    ) -> None:
        self._engine = engine
        self._ask = ask
        self._concerned = concerned
        self._reports = reports
        self._job = Job()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._thread = threading.Thread(target=self._listen, name="engine events", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Listen no more."""
        self._job.cancel.cancel(Interrupted("the daemon was stopped"))
        if self._thread is not None:
            self._thread.join(2.0)

    def _listen(self) -> None:
        pause = FIRST_PAUSE
        try:
            while True:
                opened: list[bool] = []
                try:
                    stream(self._engine, _request(), self._job, self._take, self._opened(opened))
                    reason = "it ended the stream of events"
                except (EngineUnavailable, Refusal, ValueError) as error:  # no JSON: no engine
                    reason = str(error)
                pause = FIRST_PAUSE if opened else min(pause * 2, LONGEST_PAUSE)
                self._reports.begin("engine", f"can't hear the engine: {reason}")
                self._job.cancel.wait(pause)
        except Stopped:
            return

    def _opened(self, opened: list[bool]) -> Callable[[], None]:
        def tell() -> None:
            opened.append(True)
            self._reports.over("engine", "the engine answers again")
            self._ask(Wish("connected to the engine"))

        return tell

    def _take(self, message: dict[str, Any]) -> None:
        attributes = message.get("Actor", {}).get("Attributes", {})
        app, action = attributes.get(LABEL_APP, ""), str(message.get("Action", ""))
        if proxy := attributes.get(LABEL_PROXY, ""):
            self._ask(Wish(f"{proxy}: proxy {action}"))
        if not app or not self._concerned(app):
            return  # the end of its deployment asks for a pass
        if action == "stop":
            self._hint(app)
        self._ask(Wish(f"{app}: container {action}"))

    def _hint(self, app: str) -> None:
        name = app.partition("/")[2]
        text = f"stopped by somebody; to keep it stopped: reconcile suspend {name}, then stop it"
        self._reports.tell("stopped", text, app=app)


def _request() -> Request:
    filters = {"type": ["container"], "event": list(ACTIONS), "label": [LABEL_PROJECT]}
    return Request("GET", "/events", {"filters": json.dumps(filters)})
