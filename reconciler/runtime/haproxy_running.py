"""How a project's running proxy is brought from one record to another: least first.

    tell        servers: commands over the socket; within milliseconds, nobody notices
    reload      routes, certificates, ports: new workers take the listening sockets over
    replace     image, or it is gone: a new container takes the listening sockets over

What shall be is written down first, so that a proxy that starts again at any moment starts with
it. When the engine or HAProxy refuses, files and proxy are as they were.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from reconciler.errors import DeployError, EngineUnavailable
from reconciler.host.container import own_container
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.runtime.docker_api import DockerApi
from reconciler.runtime.haproxy_config import Host, backends, structure_hash
from reconciler.runtime.haproxy_container import Containers, path_on_host
from reconciler.runtime.haproxy_control import Control, Stat
from reconciler.runtime.haproxy_files import Files
from reconciler.runtime.haproxy_servers import commands, with_bases
from reconciler.runtime.proxy_record import Record

START_SECONDS = 15.0
RETIRE_SECONDS = 0.5
TRIES = 2
"""So often the engine may start a proxy again before it counts as refused."""

_HARMLESS = "Failed to get the sockets from the old process"
"""Said by a proxy without one before it."""


class Running:
    """The proxy of one project: its files, its sockets, its containers."""

    def __init__(self, engine: Engine, state_dir: Path, project: str) -> None:
        self._api = DockerApi(engine)
        self.files = Files(state_dir, project)
        self.control = Control(self.files.directory)
        self.containers = Containers(engine, self._api, project)

    @functools.cached_property
    def mounted(self) -> Path:
        """The directory as the engine knows it, also where this process is in a container."""
        own = own_container()
        document = self._api.inspect(own) if own else None
        if document is None:
            return self.files.directory
        return path_on_host(self.files.directory, document["Mounts"])

    def old_stats(self, sections: Collection[str]) -> list[Stat]:
        """The slots of all workers that finish what they had before a reload."""
        workers = self.control.old_workers()
        return [stat for one in workers for stat in self.control.old_stats(one, sections)]

    def tell(self, record: Record, wanted: Record, apps: Iterable[str]) -> bool:
        """Write `wanted` down, and tell the proxy what differs in the servers of `apps`; whether
        anything did. Raises `EngineUnavailable` while the proxy doesn't answer."""
        apps = list(apps)
        sections = {name for app in apps for name in backends(wanted, app)}
        stats = self.control.stats(sections)
        based = with_bases(record, wanted, stats, time.time())
        if based != record:
            self.files.save(based, this_host())
        todo = commands(based, apps, stats)
        if todo:
            answer = self.control.tell(todo)
            if commands(based, apps, self.control.stats(sections)):
                raise DeployError(
                    f"the proxy didn't take its servers: {' '.join(answer.split())[:200]}",
                    todo="Run `reconcile apply`, which corrects the proxy first.",
                )
        return bool(todo)

    def change_servers(self, record: Record, wanted: Record, app: str, job: Job) -> None:
        """For a rollout, which doesn't wait for the next pass when the proxy is just gone."""
        try:
            if structure_hash(wanted) != structure_hash(record):
                self.reload(record, wanted, job)  # there was no free slot
            else:
                self.tell(record, wanted, [app])
        except EngineUnavailable as error:
            job.log(f"{error.what}; it is started again")
            self.replace(record, wanted, job)

    def reload(self, record: Record, wanted: Record, job: Job) -> None:
        """New workers with `wanted`."""
        structure = structure_hash(wanted)
        self.files.save(wanted, this_host())
        self.control.reload()
        deadline = time.monotonic() + START_SECONDS
        while not self.control.await_info(structure, 0.1):
            if self.control.failed_reloads() or time.monotonic() > deadline:
                self.files.save(record, this_host())
                current = self.containers.find(record.container)
                raise refusal(self.containers.last_lines(current["Id"]) if current else "")
        self.files.drop_certificates(wanted)
        job.log("the proxy has its new configuration, without a break")

    def replace(self, record: Record, wanted: Record, job: Job) -> None:
        """A container of the wanted kind, which serves, and no other."""
        self.files.save(replace(wanted, unsettled=True), this_host())
        for stranger in self.containers.strangers(self.mounted):
            self.containers.remove(stranger)
        try:
            identity = self.containers.start(wanted.settings, self.mounted, this_host(), job)
            self._await(identity, structure_hash(wanted), job)
            self.tell(wanted, wanted, wanted.routes)  # it may have been there with other servers
        except BaseException:
            self._restore(record, wanted)
            raise
        others = self.containers.others(wanted.container)
        self.files.save(replace(wanted, retiring=tuple(self._retire(others))), this_host())
        self.files.drop_certificates(wanted)

    def _await(self, identity: str, structure: str, job: Job) -> None:
        deadline = time.monotonic() + START_SECONDS
        first = self.containers.restarts(identity)
        while not self.control.await_info(structure, 0.2):
            job.cancel.check()
            now = self.containers.restarts(identity)
            fails = now is None or first is None or now - first >= TRIES
            if fails or time.monotonic() > deadline:
                raise refusal(self.containers.last_lines(identity))

    def _restore(self, record: Record, wanted: Record) -> None:
        """As it was; of a first one that never served nothing is left."""
        if record.container == wanted.container:
            return
        new = self.containers.find(wanted.container)
        if new:
            self.containers.remove(new["Id"])
        if record.container:
            self.files.save(record, this_host())
        else:
            self.files.remove()

    def _retire(self, containers: list[str]) -> list[str]:
        """They take nothing new; those that have something left."""
        for container in containers:
            self.containers.retire(container)
        return self.containers.remove_ended(containers, RETIRE_SECONDS)

    def sweep(self, record: Record) -> Record:
        """Remove former proxies that have ended by now."""
        if not record.retiring:
            return record
        left = self.containers.remove_ended(record.retiring, 0)
        swept = replace(record, retiring=tuple(left))
        self.files.save(swept, this_host())
        return swept

    def remove(self, job: Job) -> None:
        """The proxy, and all that it left."""
        found = [document["Id"] for document in self.containers.all()]
        for container in self._retire(found):
            self.containers.remove(container)
        self.files.remove()
        job.log("removed the proxy: no app is exposed any more")


def refusal(said: str) -> DeployError:
    """What HAProxy said, with what to do."""
    alerts = [one for one in said.splitlines() if "[ALERT]" in one and _HARMLESS not in one]
    taken = next((line for line in alerts if "cannot bind" in line), "")
    if taken:
        where = taken.rpartition("[")[2].partition("]")[0]
        return DeployError(
            f"the proxy can't listen on {where}: another process does, or the address isn't here",
            todo="Free the port, or choose another under `proxy:` or in `expose`.",
            detail=taken,
        )
    return DeployError(
        "the proxy didn't start with its new configuration",
        todo="See what it says, and correct the spec.",
        detail="\n".join(alerts or said.splitlines()[-4:]),
    )


def this_host() -> Host:
    """What the configuration depends on."""
    try:
        ipv6 = bool(Path("/proc/net/if_inet6").read_text().strip())
    except OSError:
        ipv6 = False
    return Host(os.geteuid(), ipv6)
