"""What an app's container wrote, on whichever host it is; of a service, what its tasks did."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from reconciler.errors import ReconcilerError, UsageError
from reconciler.host.engine import Engine
from reconciler.plan.places import SWARM, Places, places_of
from reconciler.plan.states import Container
from reconciler.runtime.fleet import Fleet
from reconciler.state.store import Store
from reconciler.values import frozen

_DETAILS = re.compile(
    r"com\.docker\.swarm\.node\.id=(?P<node>\w+),com\.docker\.swarm\.service\.id=\w+,"
    r"com\.docker\.swarm\.task\.id=(?P<task>\w+) ?"
)


@frozen
class Output:
    """The output of one app. `host`: the name of the only one that is looked at; empty for all.

    Raises `UsageError` when nothing of it is there, and `EngineUnavailable`.
    """

    store: Store
    fleet: Fleet
    app: str
    host: str = ""

    def places(self) -> Places:
        """Where it may be."""
        row = self.store.find_app(self.app)
        places = places_of(row.settings if row else {})
        if not self.host:
            return places
        if self.host not in places.hosts:
            raise UsageError(
                f"{self.app} isn't on the host {self.host!r}",
                todo=f"It is on {', '.join(places.hosts)}.",
            )
        return Places(places.runtime, (self.host,))

    def container(self) -> Container:
        """The one that runs, on the first host that has one; else one that has ended."""
        places = self.places()
        observed = self.fleet.observe(self.app.partition("/")[0], [places])
        names = (self.app, *self.store.former_names(self.app))
        containers = [one for name in names for one in observed.apps.get(name, ())]
        if not containers:
            raise UsageError(f"{self.app} has no container", todo="`reconcile explain` says why.")
        order = {host: number for number, host in enumerate(places.hosts)}
        return min(containers, key=lambda one: (one.state != "running", order.get(one.host, 0)))

    def read(self, container: Container, lines: int, *, follow: bool) -> Iterator[bytes]:
        """Pieces of what it wrote, beginning with so many lines of the past; of a service, so many
        of each task, and with the task in front of each line."""
        engine = self.fleet.hosts.engine(container.host)
        with engine.errors(self.app):
            if container.runtime == SWARM:
                yield from _read_service(engine, container, lines, follow=follow)
                return
            api = engine.client.api
            yield from api.logs(container.id, stream=True, follow=follow, tail=lines)

    def lines(self, count: int) -> list[str]:
        """The last ones."""
        data = b"".join(self.read(self.container(), count, follow=False))
        return data.decode("utf-8", "replace").splitlines()


def _read_service(
    engine: Engine, container: Container, lines: int, *, follow: bool
) -> Iterator[bytes]:
    from reconciler.runtime.swarm_names import service_of

    names = _TaskNames(engine, container.deployment)
    service = service_of(container.id)
    api = engine.client.api
    for frame in api.service_logs(
        service,
        details=True,
        stdout=True,
        stderr=True,
        follow=follow,
        tail=str(lines),
        is_tty=False,
    ):
        text = frame.decode("utf-8", "replace")
        found = _DETAILS.match(text)
        name = names.find(found["task"], found["node"]) if found else ""
        if name is not None:
            line = text[found.end() :] if found else text
            yield f"{name} | {line}".encode() if name else line.encode()


class _TaskNames:
    """`1@node2` for tasks of a deployment, `node2` for those of a global service; each is asked
    for once."""

    def __init__(self, engine: Engine, deployment: str) -> None:
        self._engine = engine
        self._deployment = deployment
        self._known: dict[str, str | None] = {}
        self._nodes: dict[str, str] = {}

    def find(self, task: str, node: str) -> str | None:
        """None when it is of another deployment."""
        if task not in self._known:
            self._known[task] = self._ask(task, node)
        return self._known[task]

    def _ask(self, task: str, node: str) -> str | None:
        from reconciler.runtime.swarm_names import LABEL_SERVICE_DEPLOYMENT

        if node not in self._nodes:
            found = self._get(f"/nodes/{node}")
            self._nodes[node] = found["Description"]["Hostname"] if found else node[:12]
        document = self._get(f"/tasks/{task}")
        if document is None:
            return f"{task[:12]}@{self._nodes[node]}"
        labels = document["Spec"]["ContainerSpec"].get("Labels") or {}
        if labels.get(LABEL_SERVICE_DEPLOYMENT, self._deployment) != self._deployment:
            return None
        slot = document.get("Slot")
        return f"{slot}@{self._nodes[node]}" if slot else self._nodes[node]

    def _get(self, path: str) -> Any:
        """None when it is gone."""
        try:
            return self._engine.get(path)
        except ReconcilerError:
            return None
