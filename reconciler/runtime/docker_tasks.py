"""Tasks: one-off containers beside an app, for the hooks of a deployment.

A task's container carries the app's labels and `LABEL_TASK`, so that it is never taken for one
that serves. It has the app's environment, volumes, networks and limits, and none of what would
bring traffic to it: no published ports, no aliases, no labels of the user's.

It is made once for a deployment and stays until `clear`, after its end as well: whoever comes
after a crash finds it by its name, waits for its end or reads how it ended, and never runs it
twice. A task that is cancelled or takes too long is removed at once.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from reconciler.errors import HandedOver, HookError, Stopped
from reconciler.host.job import Cancellation, Job
from reconciler.host.labels import LABEL_APP
from reconciler.host.refusals import is_disk_full
from reconciler.runtime.background import Background
from reconciler.runtime.base import Task, TaskEnd, Workload
from reconciler.runtime.docker_api import DockerApi, Document, Refused, refusals
from reconciler.runtime.docker_config import (
    MANY_NETWORKS_VERSION,
    make_task_call,
    our_labels,
)
from reconciler.runtime.docker_crew import parse_crew
from reconciler.runtime.docker_errors import explain_refusal
from reconciler.runtime.docker_instance import clean_lines
from reconciler.runtime.docker_networks import ensure_network

IN_FLIGHT_SECONDS = 10.0
LEAST_SECONDS = 1.0
"""What one that is found after its time still gets: it may have ended meanwhile."""
DRAIN_SECONDS = 5.0
"""How long the rest of the output is waited for when the container has ended."""


class DockerTasks:
    """`locks` is a directory, for locks on names."""

    def __init__(self, api: DockerApi, locks: Path) -> None:
        self._api = api
        self._locks = locks

    def run(self, workload: Workload, task: Task, job: Job) -> TaskEnd:
        """Run it to its end, or find how it ended. See `Runtime.run_task`."""
        job.cancel.check()
        with refusals(workload.app):
            try:
                return self._run(workload, task, job)
            except Refused as error:
                if is_disk_full(error.text):
                    raise
                raise explain_refusal(error.text, workload) from error

    def _run(self, workload: Workload, task: Task, job: Job) -> TaskEnd:
        identity, state = self._find_or_create(workload, task, job)
        try:
            if state["Status"] == "created":
                self._api.start(identity)
            else:
                job.log("it has begun before; its output from the beginning:")
            return self._await(identity, task, _seconds_since(state["StartedAt"]), job)
        except HandedOver:
            raise  # it goes on, and whoever takes over finds it
        except (HookError, Refused, Stopped):
            self._api.remove(identity, volumes=True)
            raise

    def clear(self, app: str) -> None:
        """Remove the containers of all tasks of the app."""
        for member in parse_crew(app, self._api.list(f"{LABEL_APP}={app}")).tasks:
            self._api.remove(member.id, volumes=True)

    def _find_or_create(self, workload: Workload, task: Task, job: Job) -> tuple[str, Document]:
        several = len(workload.spec.networks) > 1
        takes_many = not several or self._api.version() >= MANY_NETWORKS_VERSION
        call = make_task_call(workload, task, takes_many_networks=takes_many)
        deadline = time.monotonic() + IN_FLIGHT_SECONDS
        while (found := self._api.inspect(call.name)) is None:
            for network in call.networks:
                ensure_network(self._api, network, our_labels(workload), self._locks, job)
            try:
                self._api.create(call.name, call.body)
            except Refused as error:  # the engine is at work for a process that died
                if not error.is_conflict or time.monotonic() > deadline:
                    raise
                job.cancel.wait(0.05)
        if found["State"]["Status"] == "created":
            for network, endpoint in call.connect.items():
                if network not in found["NetworkSettings"]["Networks"]:
                    self._api.connect(network, found["Id"], endpoint)
        return found["Id"], found["State"]

    def _await(self, identity: str, task: Task, elapsed: float, job: Job) -> TaskEnd:
        output = Output(job.log)
        following = Background(functools.partial(self._api.follow, identity, output.take))
        ending = Background(functools.partial(self._api.wait, identity))
        if not ending.wait(job.cancel, max(task.timeout - elapsed, LEAST_SECONDS)):
            raise HookError(
                f"{task.title} did not end within {task.timeout:g} s",
                app=job.app,
                todo="Find out in its log what it waits for, or raise the hook's timeout.",
            )
        code = ending.result()
        if following.wait(Cancellation(), DRAIN_SECONDS):
            following.result()
        output.end()
        return TaskEnd(code, output.last)


class Output:
    """Cuts a stream of bytes into lines for a log. `last`: the last line that says something."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._rest = b""
        self.last = ""

    def take(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._tell(line)

    def end(self) -> None:
        """What stood behind the last newline."""
        if self._rest:
            self._tell(self._rest)
            self._rest = b""

    def _tell(self, line: bytes) -> None:
        for text in clean_lines(line) or [""]:
            self._log(text)
            self.last = text.strip() or self.last


def _seconds_since(started_at: str) -> float:
    """How long a container runs already; the engine's zero time means that it never did."""
    started = datetime.fromisoformat(started_at[:19]).replace(tzinfo=UTC)
    if started.year == 1:
        return 0.0
    return max((datetime.now(UTC) - started).total_seconds(), 0.0)
