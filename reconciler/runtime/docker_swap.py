"""Containers on one Docker engine: new ones start, old ones go.

Strategy `recreate`: the old one stops, then the new one starts. What `deploy` does in this order,
and what a crash behind each step leaves:

    1  create the new container         old serves; a container that never started beside it
    2  rename the old to …-previous-…   old serves, marked as one that has to come back
    3  its restart policy becomes "no"  the same; from here no restart of the engine starts both
       (not needed for `unless-stopped`: what was stopped by a call stays so)
    4  stop it, with its grace period   nothing serves; the old one can be started
    5  start the new one                new serves, not verified, the old one set aside
       (health check)
    6  settle: remove all others        new serves
    7  rename the new to the app's name done

Everything that can be refused without stopping anything (image, mounts, limits, names, ports of
other containers) is refused at 1. `deploy` again goes on where it ended, as each step looks at
what is there; `revert` removes the new one and, from 2 on, lets the old one serve again and takes
its mark away last. One that still runs at that point may have been told to stop already, so it is
restarted at once rather than left to end some seconds later.

Strategies `blue-green` and `canary` (`Workload.beside`): the new one starts beside the old one.
The steps between those of this module are the stages of the pipeline, which tells the proxy:

    1  create the new container         old serves; a container that never started beside it
    2  start it                         old serves and has the traffic; new runs, not verified
       (health check; then 1, 2 and the check for each further replica)
    3  switch: the proxy leads to new   new has the traffic, the old one finishes what it has;
       (canary: in steps)               behind a step, both have their shares
       (watch; post_deploy)             from the end of the last of these stages on, nothing goes
                                        back any more
    4  drain, drop the old              new serves, the old one runs without traffic
    5  settle: stop and remove the old  new serves
    6  rename the new to the app's name done

Until 4 the old one is never touched, so going back is the switch to it, and removing the new one.
Who is new and who is old is read from the label of the deployment; who shall have the traffic from
the stages that the state has (`pipeline.traffic`). The next start says it again: forward from where
the deployment was, or back when somebody asked it to stop. The proxy keeps what it was told last,
also across its own death. A canary begins again with its first step.

With `replicas` above 1, either happens to one container after the other (stage `replicas`), each
verified before the next. Each has its number in a label and, from 2 on, in its name.

The container that this very process runs in (`own`) is never stopped by `deploy`, as nobody would
be left to go on: the new one starts beside it, and stands by. `revert` finds the old one untouched.
`settle` gives the new one its name, and lets the engine stop this one, which ends in order and
leaves the rest to the new one: removing what is left over. The stopped one's restart policy is "no"
by then, so nothing ever brings back both.

Named volumes and networks are never removed. An anonymous volume (a `VOLUME` of the image that
`volumes` doesn't cover) stays behind when a container that served is removed, and the log names
it, as it may hold data; that of a container that never got verified goes with it.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import DeployError, Transient
from reconciler.host.job import Job
from reconciler.host.labels import LABEL_APP, LABEL_PROJECT
from reconciler.host.refusals import is_disk_full
from reconciler.runtime.background import Background, call_cancellable
from reconciler.runtime.base import Workload
from reconciler.runtime.docker_api import DockerApi, Refused, refusals
from reconciler.runtime.docker_config import (
    MANY_NETWORKS_VERSION,
    CreateCall,
    make_create_call,
    our_labels,
    restart_policy,
)
from reconciler.runtime.docker_crew import Crew, Member, parse_crew, replica_name
from reconciler.runtime.docker_errors import (
    explain_refusal,
    port_holder,
    port_taken,
    taken_port,
)
from reconciler.runtime.docker_instance import DockerInstance
from reconciler.runtime.docker_networks import ensure_network
from reconciler.runtime.docker_observe import published_ports
from reconciler.spec.scalars import Port, parse_port, parse_volume

NEIGHBOUR_SECONDS = 30.0
IN_FLIGHT_SECONDS = 10.0
"""How long the engine may be at work for a process that died: the name is taken, and what has
it can't be seen yet."""


class DockerSwap:
    """What `DockerRuntime` does to containers. `locks` is a directory, for locks on names.

    `own`: id of the container that this process runs in, empty outside of one.
    """

    def __init__(self, api: DockerApi, locks: Path, own: str = "") -> None:
        self._api = api
        self._locks = locks
        self._own = own

    # -- deploy ------------------------------------------------------------------------------

    def deploy(self, workload: Workload, job: Job) -> DockerInstance:
        """Steps 1 to 5. Raises `DeployError`, `EngineUnavailable`, `DiskFull`, or `Stopped`."""
        job.cancel.check()
        with self._explained(workload):
            crew = self._crew(workload.app, workload.former)
            call = make_create_call(workload, takes_many_networks=self._takes_many(workload))
            new = crew.of(workload.deployment, workload.replica)
            identity = new.id if new else self._create(call, workload, crew, job)
            if new is None or not new.runs:
                self._join(call, identity, new.networks if new else frozenset())
                job.cancel.check()
                self._make_way(crew, workload, job)
                job.log(f"starting {call.name}")
                call_cancellable(job.cancel, functools.partial(self._api.start, identity))
        return DockerInstance(self._api, workload.app, identity)

    def _takes_many(self, workload: Workload) -> bool:
        """Whether the create call takes all networks of the workload; asked only if it matters."""
        return len(workload.spec.networks) < 2 or self._api.version() >= MANY_NETWORKS_VERSION

    def _create(self, call: CreateCall, workload: Workload, crew: Crew, job: Job) -> str:
        """The id of the new container, after everything that can be refused was asked for."""
        self._check_name(workload, crew)
        self._check_ports(workload, crew, job)
        self._check_volumes(workload)
        for network in call.networks:
            ensure_network(self._api, network, our_labels(workload), self._locks, job)
        for member in crew.members:
            broken = (workload.deployment, workload.replica)
            if (member.deployment, member.replica) == broken:  # and has the name
                self._api.remove(member.id, volumes=True)
        deadline = time.monotonic() + IN_FLIGHT_SECONDS
        while True:
            try:
                return self._api.create(call.name, call.body)
            except Refused as error:
                if not error.is_conflict or time.monotonic() > deadline:
                    raise
            job.cancel.wait(0.05)
            crew = self._crew(workload.app, workload.former)
            if made := crew.of(workload.deployment, workload.replica):
                return made.id

    def _join(self, call: CreateCall, identity: str, joined: frozenset[str]) -> None:
        """The networks that the create call could not name. All before the start."""
        for network, endpoint in call.connect.items():
            if network not in joined:
                self._api.connect(network, identity, endpoint)

    def _make_way(self, crew: Crew, workload: Workload, job: Job) -> None:
        """Steps 2 to 4; none of them where that would end this process, or beside the old one."""
        if workload.beside or any(member.id == self._own for member in crew.members):
            return
        old = crew.serving(workload.deployment, workload.replica)
        if old is not None:
            self._set_aside(old, crew)
        for member in crew.others(workload.deployment):
            if member.runs and member.replica == workload.replica:
                self._stop(member, job)

    def _set_aside(self, old: Member, crew: Crew) -> None:
        if not crew.is_aside(old):
            self._api.rename(old.id, crew.aside_name(old))
        stays_stopped = old.restart == "unless-stopped" and old.runs  # as we stop it ourselves
        if old.restart != "no" and not stays_stopped:
            self._api.set_restart_policy(old.id, restart_policy("no"))

    def _stop(self, member: Member, job: Job) -> None:
        """Waits for the end. When the job is cancelled meanwhile, the engine stops it all the
        same: `revert` brings it back."""
        job.log(f"stopping {member.name} (up to {member.stop_grace} s)")
        stop = functools.partial(self._api.stop, member.id, member.stop_grace)
        call_cancellable(job.cancel, stop)

    # -- settle, revert, remove --------------------------------------------------------------

    def settle(self, workload: Workload, job: Job) -> None:
        """Steps 6 and 7."""
        with self._explained(workload):
            crew = self._crew(workload.app, workload.former)
            new = [m for m in crew.own(workload.deployment) if m.replica <= workload.spec.replicas]
            if not new:
                raise DeployError(
                    "the new container is gone", app=workload.app, todo="Deploy it again."
                )
            others = [member for member in crew.members if member not in new]
            own = [member for member in others if member.id == self._own]
            self._end([member for member in (*others, *crew.tasks) if member not in own], job)
            for member in own:
                self._set_aside(member, crew)
            for member in new:
                if not crew.is_settled(member):
                    self._api.rename(member.id, crew.name_of(member))
            for member in own:
                self._end_own(member, job)

    def _end(self, members: Collection[Member], job: Job) -> None:
        """Stop side by side what runs, and remove it."""
        running = [member for member in members if member.runs]
        if running:
            with ThreadPoolExecutor(len(running)) as pool:
                list(pool.map(lambda member: self._stop(member, job), running))
        for member in members:
            self._remove(member, job)

    def _end_own(self, own: Member, job: Job) -> None:
        """Doesn't wait: what is left to do here is done before the end, and soon."""
        job.log(f"ending {own.name}, which this process runs in; the new container takes over")
        Background(functools.partial(self._api.stop, own.id, own.stop_grace))

    def revert(self, workload: Workload, job: Job) -> bool:
        """Undo `deploy`, from wherever it ended.

        A container that the engine is just creating, for a process that died in that moment,
        can't be seen yet: it never starts, and whatever comes next for this app removes it.
        """
        with self._explained(workload):
            crew = self._crew(workload.app, workload.former)
            new = [m for m in crew.own(workload.deployment) if crew.is_new(m)]
            for member in crew.members:
                if member in new or member.never_started or self._is_broken(member, workload):
                    self._api.remove(member.id, volumes=True)
            asides = list(crew.asides(workload.deployment))
            for old in asides:
                self._bring_back(old, crew, job)
            began = any(not member.never_started for member in new)
            left = (member for member in crew.members if member not in new)
            return bool(asides) or (began and any(member.runs for member in left))

    def _is_broken(self, member: Member, workload: Workload) -> bool:
        return member.doomed and member.deployment == workload.deployment

    def _bring_back(self, old: Member, crew: Crew, job: Job) -> None:
        name = crew.name_of(old)
        job.log(f"starting {name} again, the container {old.id[:12]} from before")
        if old.runs:
            self._api.restart(old.id)
        else:
            self._api.start(old.id)
        if old.restart != "no":
            self._api.set_restart_policy(old.id, restart_policy(old.restart))
        self._api.rename(old.id, name)

    def remove(self, app: str, job: Job, containers: Collection[str] | None = None) -> int:
        """Stop and remove. Anonymous volumes stay, and the log names them."""
        with refusals(app):
            crew = self._crew(app)
            members = [
                member
                for member in (*crew.members, *crew.tasks)
                if containers is None or member.id in containers
            ]
            self._end(members, job)
        return len(members)

    def _remove(self, member: Member, job: Job) -> None:
        """One that served, and may have left data in anonymous volumes."""
        self._api.remove(member.id, volumes=member.never_started)
        job.log(f"removed {member.name}")
        for volume, path in () if member.never_started else member.anonymous:
            job.log(f"kept its anonymous volume {volume[:12]} of {path} (docker volume rm)")

    # -- what the engine says ----------------------------------------------------------------

    def _crew(self, app: str, former: Collection[str] = ()) -> Crew:
        lists = [self._api.list(f"{LABEL_APP}={name}") for name in (app, *former)]
        return parse_crew(app, itertools.chain.from_iterable(lists))

    @contextmanager
    def _explained(self, workload: Workload) -> Iterator[None]:
        """Turns what the engine refuses into a `DeployError` that says what to do."""
        with refusals(workload.app):
            try:
                yield
            except Refused as error:
                if is_disk_full(error.text):
                    raise
                port = taken_port(error.text, workload)
                holder = port_holder(self._published(), port) if port else ""
                raise explain_refusal(error.text, workload, holder) from error

    def _check_name(self, workload: Workload, crew: Crew) -> None:
        """Refuse a name that a container of somebody else has, which is never touched."""
        name = replica_name(crew.name, workload.replica)
        foreign = None if crew.holds_name(name) else self._api.inspect(name)
        if foreign and foreign["Name"] == f"/{name}":  # an id may begin like a name
            raise DeployError(
                f"the name {name} belongs to a container that isn't one of this app",
                app=workload.app,
                todo=f"Remove or rename it: docker rename {name} {name}-before",
            )

    def _await_neighbours(self, workload: Workload, wanted: Collection[Port], job: Job) -> None:
        """A port that another app of this project has is about to be given up: no two apps of a
        spec have the same. Raises `Transient` when it isn't within half a minute.
        """
        deadline = time.monotonic() + NEIGHBOUR_SECONDS
        while wanted:
            neighbours = self._api.list_running(f"{LABEL_PROJECT}={workload.project}")
            published = published_ports(neighbours)
            held = [(port, who) for port in wanted if (who := port_holder(published, port))]
            if not held:
                return
            port, who = held[0]
            if time.monotonic() > deadline:
                raise Transient(
                    f"port {port.host} is still held by {who} of this project",
                    app=workload.app,
                    todo="Wait for that app's deployment, or `reconcile explain` it.",
                )
            job.cancel.wait(0.1)

    def _check_ports(self, workload: Workload, crew: Crew, job: Job) -> None:
        """Refuse ports of other containers, before anything is stopped for them."""
        ours = {port for member in crew.members for port in member.ports}
        ports = [parse_port(text) for text in workload.spec.ports]
        self._check_own_ports(workload, crew, ports)
        wanted = [port for port in ports if (port.host, port.protocol) not in ours]
        self._await_neighbours(workload, wanted, job)
        published = self._published() if wanted else []
        for port in wanted:
            if holder := port_holder(published, port):
                raise port_taken(port, workload.app, holder)

    def _check_own_ports(self, workload: Workload, crew: Crew, ports: Collection[Port]) -> None:
        """Refuse ports that this process's own container has until it ends."""
        held = {port for member in crew.members if member.id == self._own for port in member.ports}
        for port in ports:
            if (port.host, port.protocol) in held:
                raise DeployError(
                    f"port {port.host} is published by the container that reconcile itself runs in",
                    app=workload.app,
                    todo="Give it `networks: [host]` and no ports: the next one starts beside it.",
                )

    def _check_volumes(self, workload: Workload) -> None:
        """Refuse another project's volume: two databases in one directory destroy each other.

        A volume that nobody has labelled was made by hand, and may be used.
        """
        for volume in map(parse_volume, workload.spec.volumes):
            found = None if volume.is_bind else self._api.volume(volume.source)
            owner = ((found or {}).get("Labels") or {}).get(LABEL_PROJECT, workload.project)
            if owner != workload.project:
                raise DeployError(
                    f"the volume {volume.source} belongs to the project {owner}",
                    app=workload.app,
                    todo=f"Name it {workload.project}-{volume.source}, for instance.",
                )

    def _published(self) -> list[tuple[str, int, str, str]]:
        return published_ports(self._api.list_running())
