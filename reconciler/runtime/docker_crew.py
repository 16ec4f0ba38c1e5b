"""The containers of one app and the part that each plays, which their names keep. Pure.

<project>-<app>                            serves; verified
<project>-<app>-<deployment>               new: created, or started and not verified yet
<project>-<app>-previous-<deployment>      set aside, or about to be stopped for that
<project>-<app>-<deployment>-<task>        a task of the deployment, which plays no part
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.host.labels import LABEL, LABEL_DEPLOYMENT, LABEL_TASK
from reconciler.runtime.docker_api import Document
from reconciler.runtime.docker_observe import name_of
from reconciler.values import frozen

LABEL_RESTART = f"{LABEL}.restart"
"""The restart policy that the spec asks for; the engine's is "no" while a container is aside."""
LABEL_STOP_GRACE = f"{LABEL}.stop-grace"
"""Whole seconds from SIGTERM to SIGKILL."""


DEFAULT_STOP_GRACE = 10
_ANONYMOUS_LENGTH = 64


@frozen
class Member:
    """One container of an app. `ports`: `(host port, protocol)` that it publishes now.

    `anonymous`: `(volume id, path)` of volumes that only the image asks for.
    """

    id: str
    name: str
    deployment: str
    state: str
    created: int
    restart: str = "no"
    stop_grace: int = DEFAULT_STOP_GRACE
    networks: frozenset[str] = frozenset()
    ports: frozenset[tuple[int, str]] = frozenset()
    anonymous: tuple[tuple[str, str], ...] = ()
    task: str = ""

    @property
    def runs(self) -> bool:
        """Has a process, or will have one again without anybody's doing."""
        return self.state in ("running", "restarting", "paused")

    @property
    def never_started(self) -> bool:
        return self.state == "created"

    @property
    def doomed(self) -> bool:
        """The engine failed at removing it, or is at it."""
        return self.state in ("dead", "removing")


@frozen
class Crew:
    """All containers of one app, newest first. `name` is that of the one that serves."""

    name: str
    members: tuple[Member, ...]
    tasks: tuple[Member, ...] = ()

    def of(self, deployment: str) -> Member | None:
        """The container of a deployment, if there is a usable one."""
        own = (m for m in self.members if m.deployment == deployment and not m.doomed)
        return next(own, None)

    def others(self, deployment: str) -> tuple[Member, ...]:
        return tuple(m for m in self.members if m.deployment != deployment)

    def serving(self, deployment: str) -> Member | None:
        """Which one of the others has to make room for `deployment`, and to come back if needed.

        The one that runs. Where none does (it exited, or a crash came between), the one that
        did: by its name, then the newest that ever started.
        """
        ranked = [m for m in self.others(deployment) if not m.never_started and not m.doomed]
        return min(ranked, key=self._rank, default=None)

    def _rank(self, member: Member) -> tuple[bool, bool, bool]:
        aside = self.is_aside(member)
        return not member.runs, member.name != self.name, not aside

    def aside(self, deployment: str) -> Member | None:
        """The newest of the others that was set aside."""
        return next((m for m in self.others(deployment) if self.is_aside(m)), None)

    def is_served(self, deployment: str) -> bool:
        """Whether one of the others was never touched: what is aside is left from before."""
        return any(member.name == self.name for member in self.others(deployment))

    def is_aside(self, member: Member) -> bool:
        return member.name.startswith(f"{self.name}-previous-")

    def aside_name(self, member: Member) -> str:
        return f"{self.name}-previous-{member.deployment or member.id[:12]}"

    def holds_name(self) -> bool:
        """Whether the serving name belongs to one of these, so to nobody else."""
        return any(member.name == self.name for member in self.members)


def container_name(app: str) -> str:
    """`<project>-<app>` from `<project>/<app>`."""
    return app.replace("/", "-")


def parse_crew(app: str, documents: Iterable[Document]) -> Crew:
    """From a list call filtered by the app's label."""
    members = [_parse_member(document) for document in documents]
    members.sort(key=lambda member: -member.created)
    return Crew(
        container_name(app),
        tuple(member for member in members if not member.task),
        tuple(member for member in members if member.task),
    )


def _parse_member(document: Document) -> Member:
    labels = document.get("Labels") or {}
    networks = (document.get("NetworkSettings") or {}).get("Networks") or {}
    ports = ((p.get("PublicPort"), p["Type"]) for p in document.get("Ports") or ())
    volumes = (m for m in document.get("Mounts") or () if m.get("Type") == "volume")
    return Member(
        id=document["Id"],
        name=name_of(document),
        deployment=labels.get(LABEL_DEPLOYMENT, ""),
        state=document["State"],
        created=document["Created"],
        restart=labels.get(LABEL_RESTART, "no"),
        stop_grace=int(labels.get(LABEL_STOP_GRACE, DEFAULT_STOP_GRACE)),
        networks=frozenset(networks),
        ports=frozenset((port, kind) for port, kind in ports if port),
        anonymous=tuple(
            (m["Name"], m["Destination"]) for m in volumes if len(m["Name"]) == _ANONYMOUS_LENGTH
        ),
        task=labels.get(LABEL_TASK, ""),
    )
