"""Listens to the engines: what happens to a container of an app is looked at at once.

An event only asks for a pass, which sees what is there. After each (new) connection one is asked
for as well, as something may have happened before it; so a host that was away goes on.

While nobody can listen to a host it is away, and passes don't ask it (`Hosts.watch`): only its
listener does, less and less often. A connection that breaks off is no absence yet, if the next one
is there at once. One that is cut off without a word ends after some seconds (`host.ways`,
`host.tunnel`), or when somebody else's call gets no answer.

The engine tells of a container's end, and of a pause, a moment before its list shows them; an
inspection of the container waits for that moment to be over. Without one, a pass would see all
well, and nothing would ask for the next.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal

from reconciler.daemon.loop import Wish
from reconciler.daemon.reports import Reports
from reconciler.errors import EngineUnavailable, Interrupted, Stopped
from reconciler.host.engine import Engine, Request
from reconciler.host.hosts import Hosts
from reconciler.host.job import Job
from reconciler.host.labels import (
    LABEL_APP,
    LABEL_DEPLOYMENT,
    LABEL_PROJECT,
    LABEL_PROXY,
    LABEL_TASK,
)
from reconciler.host.stream import Opening, Refusal, stream
from reconciler.plan.places import SWARM, Places
from reconciler.spec.hosts import LOCAL

ACTIONS = ("die", "oom", "destroy", "stop", "start", "pause", "unpause", "health_status")
EARLY = ("die", "pause")
"""Those that the engine tells of before its list shows them."""
SWARM_TYPES, SWARM_ACTIONS = ("service", "node"), ("create", "update", "remove")

FIRST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE_ELSEWHERE = 0.1, 1.0, 10.0
ANSWER_SECONDS, END_SECONDS = 10.0, 1.0
CALM_SECONDS = 10.0
"""A connection that lasted this long was a good one: the next one is tried at once."""

Concern = Literal["", "news", "serving"]
"""What a container's events are to us: our own doing, or news; `serving` if it shall run."""
Ask = Callable[[Wish], None]
Judge = Callable[[str, str], Concern]


class EngineEvents:
    """Asks for a pass whenever a container changes that is of `concern`, by its app and the
    deployment that it is from. A thread for each host.
    """

    def __init__(self, hosts: Hosts, ask: Ask, concern: Judge, reports: Reports) -> None:
        self._hosts = hosts
        self._ask = ask
        self._reader = _Reader(ask, concern, reports)
        self._reports = reports
        self._listeners: dict[str, _Listener] = {}

    @property
    def follows(self) -> bool:
        """Whether it listens to anything."""
        return bool(self._listeners)

    def follow(self, places: Iterable[Places]) -> None:
        """Listen at these places from now on, and nowhere else. Not to be called side by side."""
        wanted: dict[str, bool] = {}
        for one in places:
            for host in one.hosts:
                wanted[host] = wanted.get(host, False) or one.runtime == SWARM
        for name, listener in list(self._listeners.items()):
            if wanted.get(name) != listener.swarm:
                del self._listeners[name]
                listener.end()
        for name, swarm in wanted.items():
            if name not in self._listeners:
                self._listeners[name] = listener = _Listener(self, name, swarm=swarm)
                listener.start()

    def end(self) -> None:
        """Listen no more."""
        for listener in self._listeners.values():
            listener.end()
        deadline = time.monotonic() + END_SECONDS
        for listener in self._listeners.values():
            listener.join(max(0.0, deadline - time.monotonic()))


class _Listener:
    """Listens to one host, and is the one who asks whether it is there."""

    def __init__(self, events: EngineEvents, name: str, *, swarm: bool) -> None:
        self.swarm = swarm
        self.attempts = 0
        """How many connections it has tried."""
        self._name = name
        self._hosts = events._hosts
        self._ask = events._ask
        self._reader = events._reader
        self._reports = events._reports
        self._is_here = False
        self._ended = threading.Event()
        self._connection = Job()
        self._opened_at: float | None = None
        title = "engine events" if name == LOCAL else f"events {name}"
        self._thread = threading.Thread(target=self._listen, name=title, daemon=True)

    def start(self) -> None:
        self._hosts.watch(self._name, self._doubt)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._hosts.watch(self._name, None)
        self._connection.cancel.cancel(Interrupted("nobody listens any more"))

    def join(self, patience: float) -> None:
        """It may be about to connect to a host that doesn't answer; nothing depends on that."""
        self._thread.join(patience)

    def _doubt(self) -> None:
        """Somebody got no answer, or the host is another one now: look whether it is there."""
        if self._opened_at is not None:
            self._connection.cancel.cancel(Interrupted("it may be away"))

    def _listen(self) -> None:
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            lasted = self._connect()
            longest = LONGEST_PAUSE if self._is_here else LONGEST_PAUSE_ELSEWHERE
            pause = FIRST_PAUSE if lasted > CALM_SECONDS else min(pause * 2, longest)
            # Not all at once, where many became unreachable in one moment.
            self._ended.wait(pause * random.uniform(0.75, 1.0))  # noqa: S311
        self._reports.forget("engine", about=self._about)

    def _connect(self) -> float:
        """Listen as long as it lasts; how many seconds that was."""
        self._opened_at, self._connection = None, Job()
        if self._ended.is_set():
            return 0.0
        self.attempts += 1
        try:
            engine = self._hosts.engine(self._name)
            self._is_here = engine.access.is_here
            take = self._reader.of(engine)
            opening = Opening(self._opened, ANSWER_SECONDS)
            stream(engine, _request(swarm=self.swarm), self._connection, take, opening)
        except (EngineUnavailable, Refusal, ValueError) as error:  # no JSON: no engine
            if self._opened_at is None:
                self._fails(error)
        except Stopped:
            pass
        opened, self._opened_at = self._opened_at, None
        return time.monotonic() - opened if opened is not None else 0.0

    def _opened(self) -> None:
        self._opened_at = time.monotonic()
        self._hosts.answered(self._name)
        self._hosts.answered(self._name, SWARM)
        who = f"host {self._name}" if self._about else "the engine"
        self._reports.over("engine", f"{who} answers again", about=self._about)
        self._ask(Wish(f"connected to {who}"))

    def _fails(self, error: Exception) -> None:
        if not isinstance(error, EngineUnavailable):
            error = self._hosts.engine(self._name).unavailable(str(error))
        news = not self._hosts.is_away(self._name)
        self._hosts.failed(self._name, error)
        if news:
            self._ask(Wish(f"host {self._name} is away"))  # its apps wait, and should say so
        said = f"host {self._name} is away" if self._about else "can't hear the engine"
        self._reports.begin("engine", f"{said}: {error}", about=self._about)

    @property
    def _about(self) -> str:
        return "" if self._name == LOCAL else self._name


class _Reader:
    """What the events of an engine mean to us."""

    def __init__(self, ask: Ask, concern: Judge, reports: Reports) -> None:
        self._ask = ask
        self._concern = concern
        self._reports = reports
        self._ended: dict[str, str] = {}

    def of(self, engine: Engine) -> Callable[[dict[str, Any]], None]:
        """Takes this engine's messages."""
        return lambda message: self._take(engine, message)

    def _take(self, engine: Engine, message: dict[str, Any]) -> None:
        actor, action = message.get("Actor") or {}, str(message.get("Action", ""))
        container, attributes = str(actor.get("ID", "")), actor.get("Attributes") or {}
        if (kind := message.get("Type")) in SWARM_TYPES:
            self._ask(Wish(f"{kind} {attributes.get('name', container)} {action}"))
            return
        if proxy := attributes.get(LABEL_PROXY, ""):
            self._look(engine, container, action, f"{proxy}: proxy {action}")
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
        self._look(engine, container, action, f"{app}: container {action}")

    def _look(self, engine: Engine, container: str, action: str, cause: str) -> None:
        if action in EARLY:
            with suppress(EngineUnavailable):  # it may be gone altogether; the list shows that
                engine.get(f"/containers/{container}/json")
        self._ask(Wish(cause))

    def _hint(self, app: str) -> None:
        name = app.partition("/")[2]
        text = f"stopped by somebody; to keep it stopped: reconcile suspend {name}, then stop it"
        self._reports.tell("stopped", text, app=app)


def _request(*, swarm: bool) -> Request:
    """A filter by a container's label would hide services and nodes."""
    filters = {"type": ["container"], "event": list(ACTIONS), "label": [LABEL_PROJECT]}
    if swarm:
        filters = {
            "type": ["container", *SWARM_TYPES],
            "event": [*ACTIONS, *SWARM_ACTIONS],
        }
    return Request("GET", "/events", {"filters": json.dumps(filters)})
