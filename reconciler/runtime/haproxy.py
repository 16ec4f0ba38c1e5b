"""The proxy as HAProxy in a container. See `proxy` for what it is asked.

What shall be is written down first (`haproxy_files`), then the running proxy is told: a proxy
that starts again at any moment starts with what shall be. Least first:

    servers     commands over the socket; within milliseconds, nobody notices
    reload      routes, certificates, ports: new workers take the listening sockets over
    container   image, or it is gone: a new one takes the listening sockets over
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from reconciler.errors import DeployError, EngineUnavailable
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.runtime.docker_api import DockerApi, Refused, refusals
from reconciler.runtime.haproxy_config import Host, backends, describe_change, structure_hash
from reconciler.runtime.haproxy_container import Containers, check_local, container_hash
from reconciler.runtime.haproxy_control import Control, Stat
from reconciler.runtime.haproxy_files import Files, digest
from reconciler.runtime.haproxy_servers import (
    commands,
    counted,
    free_commands,
    sessions_of,
    with_bases,
)
from reconciler.runtime.proxy import Front, Server, ServerState
from reconciler.runtime.proxy_record import Record, with_front, with_servers, without

START_SECONDS = 15.0
RESTART_SECONDS = 5.0
RETIRE_SECONDS = 0.5
END_SECONDS = 0.5
TRIES = 2
RETRY_SECONDS = 60.0
"""How long what HAProxy refused isn't tried again as it is."""


class HaProxy:
    """The proxies of the projects of one state directory, on one engine."""

    def __init__(self, engine: Engine, state_dir: Path) -> None:
        self._engine = engine
        self._api = DockerApi(engine)
        self._state_dir = state_dir
        self._refused: dict[str, tuple[str, float, DeployError]] = {}

    # -- settle ------------------------------------------------------------------------------

    def settle(self, front: Front, job: Job) -> tuple[str, ...]:
        """Make the project's proxy what `front` says; what was wrong."""
        files = Files(self._state_dir, front.project)
        if not front.routes and not files.exist():
            return ()
        check_local(self._engine)
        with self._explained(), files.held(job) as record:
            if not front.routes:
                return self._remove(files, job)
            return _Settling(self, files, front, job).run(record)

    def _remove(self, files: Files, job: Job) -> tuple[str, ...]:
        containers = Containers(self._engine, self._api, files.project)
        found = [document["Id"] for document in containers.all()]
        for container in found:
            containers.retire(container)
        for container in containers.remove_ended(found, RETIRE_SECONDS):
            containers.remove(container)
        files.remove()
        job.log("removed the proxy: no app is exposed any more")
        return ("no app is exposed any more",)

    # -- rollouts ----------------------------------------------------------------------------

    def switch(self, app: str, servers: Sequence[Server], job: Job) -> None:
        """Exactly `servers` take the app's new requests."""
        files, _ = self._parts(app)
        with self._explained(app), files.held(job) as record:
            if app not in record.routes:
                raise DeployError(
                    "the proxy has no route to it", app=app, todo="Run `reconcile apply` first."
                )
            wanted = with_servers(record, app, servers)
            if structure_hash(wanted) != structure_hash(record):
                self.reload(files, record, wanted, job)
            else:
                self.tell(files, record, wanted, [app])

    def look(self, app: str) -> tuple[ServerState, ...]:
        """Its servers, with their sessions in all workers."""
        files, control = self._parts(app)
        record = files.load()
        sections = backends(record, app)
        if not sections:
            return ()
        stats = control.stats(sections)
        old = [s for pid in control.old_workers() for s in control.old_stats(pid, sections)]
        info = control.info()
        uptime = info.uptime if info else 0.0
        return tuple(
            ServerState(
                slot.server,
                slot.draining,
                sessions_of(slot.server, sections, [*stats, *old]),
                counted(slot, stats, time.time() - uptime),
            )
            for slot in record.of(app)
        )

    def drop(self, app: str, containers: Collection[str], job: Job) -> None:
        """Free the slots of these; what they have under way ends."""
        files, control = self._parts(app)
        if not files.exist():
            return
        with files.held(job) as record:
            gone = [slot for slot in record.of(app) if slot.server.container in containers]
            if not gone:
                return
            sections = backends(record, app)
            files.save(without(record, app, containers), this_host())
            control.tell(free_commands(sections, [slot.number for slot in gone]))
            self._end_sessions(control, sections, [slot.server for slot in gone])

    def _end_sessions(
        self, control: Control, sections: Mapping[str, int], servers: Sequence[Server]
    ) -> None:
        """Short ones, of visitors that stuck to a server, may end by themselves."""
        deadline = time.monotonic() + END_SECONDS
        while True:
            stats = control.stats(sections)
            if not any(sessions_of(server, sections, stats) for server in servers):
                break
            if time.monotonic() > deadline:
                control.tell(_shutdowns(servers, sections, stats))
                break
            time.sleep(0.02)
        for worker in control.old_workers():
            old = control.old_stats(worker, sections)
            control.tell_old(worker, _shutdowns(servers, sections, old))

    # -- what both need ----------------------------------------------------------------------

    def _parts(self, app: str) -> tuple[Files, Control]:
        files = Files(self._state_dir, app.partition("/")[0])
        return files, Control(files.directory)

    def tell(self, files: Files, record: Record, wanted: Record, apps: Collection[str]) -> bool:
        """Write `wanted` down, and tell the proxy what differs in the servers of `apps`; whether
        anything did. A proxy that starts again in this moment is waited for."""
        control = Control(files.directory)
        sections = {name for app in apps for name in backends(wanted, app)}
        try:
            stats = control.stats(sections)
        except EngineUnavailable:
            files.save(wanted, this_host())
            if not control.await_info(structure_hash(wanted), RESTART_SECONDS):
                raise
            stats = control.stats(sections)
        wanted = with_bases(record, wanted, stats, time.time())
        if wanted != record:
            files.save(wanted, this_host())
        todo = commands(wanted, apps, stats)
        if not todo:
            return False
        answer = control.tell(todo)
        if commands(wanted, apps, control.stats(sections)):
            raise DeployError(
                f"the proxy didn't take its servers: {' '.join(answer.split())[:200]}",
                todo="Run `reconcile apply`, which corrects the proxy first.",
            )
        return True

    def reload(self, files: Files, record: Record, wanted: Record, job: Job) -> None:
        """New workers with `wanted`; when HAProxy refuses, everything is as in `record`."""
        structure = structure_hash(wanted)
        self._check_refused(files.project, structure)
        control = Control(files.directory)
        files.save(wanted, this_host())
        control.reload()
        deadline = time.monotonic() + START_SECONDS
        while not control.await_info(structure, 0.1):
            if control.failed_reloads() or time.monotonic() > deadline:
                files.save(record, this_host())
                containers = Containers(self._engine, self._api, files.project)
                current = containers.find(record.container)
                said = containers.why_not(current["Id"]) if current else ""
                self.refuse(files.project, structure, said)
        files.drop_certificates(wanted)
        job.log("the proxy has new routes or certificates, without a break")

    def containers(self, project: str) -> Containers:
        """Those of a project."""
        return Containers(self._engine, self._api, project)

    def _check_refused(self, project: str, structure: str) -> None:
        known, until, error = self._refused.get(project, ("", 0.0, DeployError("")))
        if known == structure and time.monotonic() < until:
            raise error

    def refuse(self, project: str, structure: str, said: str) -> None:
        """Raise what HAProxy said, and don't try the same again too soon."""
        error = refusal(said)
        self._refused[project] = (structure, time.monotonic() + RETRY_SECONDS, error)
        raise error

    @contextmanager
    def _explained(self, app: str = "") -> Iterator[None]:
        with refusals(app):
            try:
                yield
            except Refused as error:
                raise DeployError(
                    f"the engine refused the proxy: {error.text}",
                    app=app,
                    todo="Correct `proxy:` in the spec, or the engine.",
                ) from error


class _Settling:
    """One `settle` of a project that has routes."""

    def __init__(self, proxy: HaProxy, files: Files, front: Front, job: Job) -> None:
        self._proxy = proxy
        self._files = files
        self._front = front
        self._job = job
        self._control = Control(files.directory)
        self._containers = proxy.containers(files.project)

    def run(self, record: Record) -> tuple[str, ...]:
        """Do the least that is enough."""
        wanted = self._wanted(record)
        info = self._control.info()
        causes = describe_change(record, wanted) if record.container else ["not there yet"]
        complete = self._files.are_complete()
        if record.unsettled or info is None or record.container != wanted.container:
            causes += [] if info or not record.container else [self._what_is_missing(record)]
            causes += ["its files are gone"] if info and not complete else []
            self._replace(record, wanted)
        elif info.description != structure_hash(wanted) or not complete:
            self._files.save_certificates(self._front.routes)
            self._proxy.reload(self._files, record, wanted, self._job)
            causes = causes or ["it ran with another configuration"]
        else:
            self._sweep(record)
            wanted = self._without_idle(replace(wanted, retiring=record.retiring))
            if self._proxy.tell(self._files, record, wanted, wanted.routes):
                causes.append("servers changed")
        return tuple(causes)

    def _wanted(self, record: Record) -> Record:
        front = self._front
        pems = {app: route.certificate for app, route in front.routes.items()}
        digests = {app: digest(pem) for app, pem in pems.items() if pem}
        wanted = with_front(record, front, digests)
        for app, servers in front.servers.items():
            if app in wanted.routes:
                wanted = with_servers(wanted, app, servers)
        hashed = container_hash(front.settings, self._files.directory, this_host())
        return replace(wanted, container=hashed, unsettled=False)

    def _without_idle(self, wanted: Record) -> Record:
        """Of apps without a rollout, what drains and has nothing left goes."""
        for app in self._front.servers:
            if any(slot.draining for slot in wanted.of(app)):
                idle = [s.server.container for s in self._proxy.look(app) if not s.sessions]
                gone = {s.server.container for s in wanted.of(app) if s.draining}
                wanted = without(wanted, app, gone.intersection(idle))
        return wanted

    def _what_is_missing(self, record: Record) -> str:
        found = self._containers.find(record.container)
        return f"its container is {found['State'] if found else 'missing'}"

    def _replace(self, record: Record, wanted: Record) -> None:
        """A container of the wanted kind, which serves, and no other."""
        files, host, structure = self._files, this_host(), structure_hash(wanted)
        files.save_certificates(self._front.routes)
        files.save(replace(wanted, unsettled=True), host)
        try:
            identity = self._containers.start(wanted.settings, files.directory, host, self._job)
            self._await(identity, structure)
        except BaseException:
            self._restore(record, wanted)
            raise
        others = self._containers.others(wanted.container)
        for container in others:
            self._containers.retire(container)
        left = self._containers.remove_ended(others, RETIRE_SECONDS) if others else []
        files.save(replace(wanted, retiring=tuple(left)), host)
        files.drop_certificates(wanted)

    def _await(self, identity: str, structure: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        first = self._containers.restarts(identity)
        while not self._control.await_info(structure, 0.2):
            self._job.cancel.check()
            now = self._containers.restarts(identity)
            fails = now is None or first is None or now - first >= TRIES
            if fails or time.monotonic() > deadline:
                raise refusal(self._containers.why_not(identity))

    def _restore(self, record: Record, wanted: Record) -> None:
        """As it was; a first one that never served leaves nothing but its record."""
        if record.container and record.container != wanted.container:
            new = self._containers.find(wanted.container)
            if new:
                self._containers.remove(new["Id"])
            self._files.save(record, this_host())
        elif not record.container:
            for document in self._containers.all():
                self._containers.remove(document["Id"])
            self._files.remove()

    def _sweep(self, record: Record) -> None:
        """Former proxies that have ended by now."""
        if record.retiring:
            left = self._containers.remove_ended(record.retiring, 0)
            self._files.save(replace(record, retiring=tuple(left)), this_host())


def _shutdowns(
    servers: Sequence[Server], sections: Mapping[str, int], stats: Sequence[Stat]
) -> list[str]:
    """Commands that cut off what is under way at these servers' addresses."""
    wanted = {f"{server.address}:{port}" for server in servers for port in sections.values()}
    return [
        f"shutdown sessions server {stat.section}/s{stat.number}"
        for stat in stats
        if stat.sessions and stat.address in wanted
    ]


def refusal(said: str) -> DeployError:
    """What HAProxy said, with what to do."""
    alerts = [line for line in said.splitlines() if "[ALERT]" in line or "cannot bind" in line]
    taken = next((line for line in alerts if "cannot bind" in line), "")
    if taken:
        where = taken.rpartition("[")[2].rstrip("]")
        return DeployError(
            f"the proxy can't listen on {where}: another process does, or the address isn't here",
            todo="Free the port, or choose others under `proxy:` or in `expose`.",
            detail=taken,
        )
    return DeployError(
        "the proxy didn't start with its new configuration",
        todo="See what it says, and correct the spec or the certificate's files.",
        detail="\n".join(alerts or said.splitlines()[-4:]),
    )


def this_host() -> Host:
    """What the configuration depends on."""
    try:
        ipv6 = bool(Path("/proc/net/if_inet6").read_text().strip())
    except OSError:
        ipv6 = False
    return Host(os.geteuid(), ipv6)
