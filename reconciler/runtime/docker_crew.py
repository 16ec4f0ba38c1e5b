"""The containers of one app and the part that each plays, which their names keep. Pure.

<project>-<app>                            serves; verified
<project>-<app>-<deployment>               new: created, or started and not verified yet
<project>-<app>-previous-<deployment>      set aside, or about to be stopped for that
…-<number>                                 each of them, for the second replica and above
<project>-<app>-<deployment>-<task>        a task of the deployment, which plays no part
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.host.labels import LABEL, LABEL_DEPLOYMENT, LABEL_REPLICA, LABEL_TASK
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
    replica: int = 1

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
    """All containers of one app, newest first. `name` is that of the first that serves."""

    name: str
    members: tuple[Member, ...]
    tasks: tuple[Member, ...] = ()

    def of(self, deployment: str, replica: int = 1) -> Member | None:
        """The container of a deployment, if there is a usable one."""
        own = (m for m in self.own(deployment) if m.replica == replica)
        return next(own, None)

    def own(self, deployment: str) -> tuple[Member, ...]:
        """The usable containers of a deployment."""
        return tuple(m for m in self.members if m.deployment == deployment and not m.doomed)

    def others(self, deployment: str) -> tuple[Member, ...]:
        return tuple(m for m in self.members if m.deployment != deployment)

    def serving(self, deployment: str, replica: int = 1) -> Member | None:
        """Which one of the others has to make room for `deployment`, and to come back if needed.

        The one that runs. Where none does (it exited, or a crash came between), the one that
        did: by its name, then the newest that ever started.
        """
        same = (m for m in self.others(deployment) if m.replica == replica)
        ranked = [m for m in same if not m.never_started and not m.doomed]
        return min(ranked, key=self._rank, default=None)

    def _rank(self, member: Member) -> tuple[bool, bool, bool]:
        return not member.runs, not self.is_settled(member), not self.is_aside(member)

    def asides(self, deployment: str) -> Iterator[Member]:
        """The others that were set aside and that nothing serves in place of: the newest of each
        number. One whose name is held was never needed: it is left from before."""
        found = {m.replica for m in self.others(deployment) if self.is_settled(m)}
        for member in self.others(deployment):
            if self.is_aside(member) and member.replica not in found:
                found.add(member.replica)
                yield member

    def is_settled(self, member: Member) -> bool:
        """Whether it has the name of one that is verified and serves."""
        return member.name == self.name_of(member)

    def is_new(self, member: Member) -> bool:
        """Whether it has the name of one that isn't verified yet."""
        return member.name == replica_name(f"{self.name}-{member.deployment}", member.replica)

    def is_aside(self, member: Member) -> bool:
        return member.name.startswith(f"{self.name}-previous-")

    def name_of(self, member: Member) -> str:
        """The name that it serves under."""
        return replica_name(self.name, member.replica)

    def aside_name(self, member: Member) -> str:
        whose = member.deployment or member.id[:12]
        return replica_name(f"{self.name}-previous-{whose}", member.replica)

    def holds_name(self, name: str) -> bool:
        """Whether a name belongs to one of these, so to nobody else."""
        return any(member.name == name for member in self.members)


def replica_name(name: str, replica: int) -> str:
    """The name itself for the first, with its number for the others."""
    return name if replica == 1 else f"{name}-{replica}"


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
        replica=int(labels.get(LABEL_REPLICA, 1)),
    )
