"""Listens to the engine: what happens to a container of an app is looked at at once.

An event only asks for a pass, which sees what is there. After each (new) connection one is asked
for as well, as something may have happened before it.

The engine tells of a container's end, and of a pause, a moment before its list shows them; an
inspection of the container waits for that moment to be over. Without one, a pass would see all
well, and nothing would ask for the next.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from reconciler.daemon.loop import Wish
from reconciler.daemon.reports import Reports
from reconciler.errors import EngineUnavailable, Interrupted, Stopped
from reconciler.host.engine import Engine, Request
from reconciler.host.job import Job
from reconciler.host.labels import (
    LABEL_APP,
    LABEL_DEPLOYMENT,
    LABEL_PROJECT,
    LABEL_PROXY,
    LABEL_TASK,
)
from reconciler.host.stream import Refusal, stream

ACTIONS = ("die", "oom", "destroy", "stop", "start", "pause", "unpause", "health_status")
EARLY = ("die", "pause")
"""Those that the engine tells of before its list shows them."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

Concern = Literal["", "news", "serving"]
"""What a container's events are to us: our own doing, or news; `serving` if it shall run."""


class EngineEvents:
    """Asks for a pass whenever a container changes that is of `concern`, by its app and the
    deployment that it is from.
    """

    def __init__(
        self,
        engine: Engine,
        ask: Callable[[Wish], None],
        concern: Callable[[str, str], Concern],
        reports: Reports,
    ) -> None:
        self._engine = engine
        self._ask = ask
        self._concern = concern
        self._reports = reports
        self._ended: dict[str, str] = {}
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
        actor, action = message.get("Actor") or {}, str(message.get("Action", ""))
        container, attributes = str(actor.get("ID", "")), actor.get("Attributes") or {}
        if proxy := attributes.get(LABEL_PROXY, ""):
            self._look(container, action, f"{proxy}: proxy {action}")
        app, deployment = attributes.get(LABEL_APP, ""), attributes.get(LABEL_DEPLOYMENT, "")
        if not app or LABEL_TASK in attributes:
            return
        if action == "stop" and self._ended.get(app) == container:
            self._hint(app)
        concern = self._concern(app, deployment)
        if not concern:
            return  # the end of its deployment asks for a pass
        if action == "die" and concern == "serving":
            self._ended[app] = container
        self._look(container, action, f"{app}: container {action}")

    def _look(self, container: str, action: str, cause: str) -> None:
        if action in EARLY:
            with suppress(EngineUnavailable):  # it may be gone altogether; the list shows that
                self._engine.get(f"/containers/{container}/json")
        self._ask(Wish(cause))

    def _hint(self, app: str) -> None:
        name = app.partition("/")[2]
        text = f"stopped by somebody; to keep it stopped: reconcile suspend {name}, then stop it"
        self._reports.tell("stopped", text, app=app)


def _request() -> Request:
    filters = {"type": ["container"], "event": list(ACTIONS), "label": [LABEL_PROJECT]}
    return Request("GET", "/events", {"filters": json.dumps(filters)})
