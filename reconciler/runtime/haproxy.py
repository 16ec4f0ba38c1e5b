"""The proxy as HAProxy in a container. See `proxy` for what it is asked, `haproxy_running` for how
it is brought there."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from reconciler.errors import DeployError, ReconcilerError, RegistryUnavailable, Stalled
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.runtime.docker_api import Refused, refusals
from reconciler.runtime.haproxy_config import backends, structure_hash
from reconciler.runtime.haproxy_container import check_local
from reconciler.runtime.haproxy_control import Stat
from reconciler.runtime.haproxy_running import Running, this_host
from reconciler.runtime.haproxy_servers import address_of, counted, free_commands, sessions_of
from reconciler.runtime.haproxy_settle import find_step, find_useless, take_step
from reconciler.runtime.proxy import Front, Server, ServerState
from reconciler.runtime.proxy_record import Record, with_servers, without

END_SECONDS = 0.5
"""What is under way at a server that is dropped may end by itself for so long."""
RETRY_SECONDS = 60.0
"""How long what HAProxy refused isn't tried again as it is."""
GONE = "no app is exposed any more"


class HaProxy:
    """The proxies of the projects of one state directory, on one engine."""

    def __init__(self, engine: Engine, state_dir: Path) -> None:
        self._engine = engine
        self._state_dir = state_dir
        self._parts: dict[str, Running] = {}
        self._refused: dict[str, tuple[str, float, ReconcilerError]] = {}

    def _running(self, app: str) -> Running:
        project = app.partition("/")[0]
        if project not in self._parts:
            self._parts[project] = Running(self._engine, self._state_dir, project)
        return self._parts[project]

    # -- settle ------------------------------------------------------------------------------

    def settle(self, front: Front, job: Job) -> tuple[str, ...]:
        """Make the project's proxy what `front` says; what was wrong."""
        running = self._running(front.project)
        if not front.routes and not running.files.exist():
            return ()
        check_local(self._engine)
        with _explained(), running.files.held(job) as found:
            if not front.routes and not front.kept:
                running.remove(job)
                return (GONE,)
            record = running.sweep(found)
            useless = find_useless(running, record, front)
            front = _without(front, useless)
            causes = self._take(running, record, front, job)
        for trouble in useless.values():
            raise trouble
        return causes

    def _take(self, running: Running, record: Record, front: Front, job: Job) -> tuple[str, ...]:
        step = find_step(running, record, front)
        structure = structure_hash(step.wanted)
        known, until, refused = self._refused.get(front.project, ("", 0.0, ReconcilerError("")))
        if known == structure and time.monotonic() < until:
            raise refused
        try:
            take_step(running, record, step, front, job)
        except (Stalled, RegistryUnavailable) as error:
            self._refused[front.project] = (structure, time.monotonic() + RETRY_SECONDS, error)
            raise
        return step.causes

    def examine(self, front: Front) -> tuple[str, ...]:
        """What `settle` would find wrong."""
        running = self._running(front.project)
        if not front.routes and not front.kept:
            return (GONE,) if running.files.exist() else ()
        with _explained():
            return find_step(running, running.files.load(), front).causes

    # -- rollouts ----------------------------------------------------------------------------

    def switch(self, app: str, servers: Sequence[Server], job: Job) -> None:
        """Exactly `servers` take the app's new requests."""
        running = self._running(app)
        with _explained(app), running.files.held(job) as record:
            if app not in record.routes:
                raise DeployError(
                    "the proxy has no route to it", app=app, todo="Run `reconcile apply` first."
                )
            running.change_servers(record, with_servers(record, app, servers), app, job)

    def look(self, app: str) -> tuple[ServerState, ...]:
        """Its servers, with their sessions in all workers."""
        running = self._running(app)
        record = running.files.load()
        sections = backends(record, app)
        if not sections:
            return ()
        began = time.time() - running.control.await_answer().uptime
        stats = running.control.stats(sections)
        everywhere = [*stats, *running.old_stats(sections)]
        return tuple(
            ServerState(
                slot.server,
                slot.draining,
                sessions_of(slot.server, sections, everywhere),
                counted(slot, stats, began),
            )
            for slot in record.of(app)
        )

    def drop(self, app: str, containers: Collection[str], job: Job) -> None:
        """Free the slots of these; what they have under way ends."""
        running = self._running(app)
        if not running.files.exist():
            return
        with running.files.held(job) as record:
            gone = [slot for slot in record.of(app) if slot.server.container in containers]
            if gone:
                sections = backends(record, app)
                running.files.save(without(record, app, containers), this_host())
                running.control.await_answer()
                running.control.tell(free_commands(sections, [slot.number for slot in gone]))
                _end_sessions(running, sections, [slot.server for slot in gone])


def _end_sessions(running: Running, sections: Mapping[str, int], servers: Sequence[Server]) -> None:
    """Cut off what doesn't end by itself at once."""
    addresses = {address_of(one, port) for one in servers for port in sections.values()}
    deadline = time.monotonic() + END_SECONDS
    while busy := _busy(addresses, running.control.stats(sections)):
        if time.monotonic() > deadline:
            running.control.tell([f"shutdown sessions server {name}/s{n}" for name, n in busy])
            break
        time.sleep(0.02)
    for worker in running.control.old_workers():
        if busy := _busy(addresses, running.control.old_stats(worker, sections)):
            running.control.end_old(worker, busy)


def _busy(addresses: Collection[str], stats: Sequence[Stat]) -> list[tuple[str, int]]:
    """Slots, by section and number, in which something is under way at one of the addresses."""
    found = (stat for stat in stats if stat.sessions and stat.address in addresses)
    return [(stat.section, stat.number) for stat in found]


def _without(front: Front, useless: Collection[str]) -> Front:
    """The front in which these apps go on with the certificates that they have."""
    routes = {
        app: replace(route, certificate=None) if app in useless else route
        for app, route in front.routes.items()
    }
    return replace(front, routes=routes)


@contextmanager
def _explained(app: str = "") -> Iterator[None]:
    """Turns what the engine refuses into a `DeployError`."""
    with refusals(app):
        try:
            yield
        except Refused as error:
            raise DeployError(
                f"the engine refused the proxy: {error.text}",
                app=app,
                todo="Correct `proxy:` in the spec, or the engine.",
            ) from error
