"""All places together: which runtime does what, on which host.

    Fleet                observes every place side by side; one that is away hides nothing of others
      └─ at(Station) ──▶ Spread, a `Runtime` for one app: each call goes to the places of the app
           └─ docker on web1, docker on web2, or the Swarm behind the first manager that answers

A host that doesn't answer is left alone for a while (`Hosts`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from reconciler.errors import EngineUnavailable, ReconcilerError
from reconciler.host.engine import Engine, Request
from reconciler.host.hosts import Hosts
from reconciler.host.job import Job
from reconciler.plan.places import DOCKER, SWARM, Places
from reconciler.plan.states import Container, Observed, Place
from reconciler.runtime.base import Instance, MakeRuntime, Replica, Runtime, Task, TaskEnd, Workload
from reconciler.spec.hosts import LOCAL
from reconciler.values import frozen

S = TypeVar("S")
T = TypeVar("T")
MOST_AT_ONCE = 32
PING_SECONDS = 10.0


@frozen
class Station:
    """Where one app's deployment works. `only`: places of it, where these aren't all; `leaves`:
    places that it served at before and shall not any more."""

    places: Places
    only: tuple[Place, ...] = ()
    leaves: tuple[Place, ...] = ()

    @property
    def here(self) -> tuple[Place, ...]:
        """The places to work at."""
        return tuple(one for one in self.places.all if not self.only or one in self.only)


def _ping(engine: Engine) -> None:
    engine.send(Request("GET", "/_ping"), timeout=PING_SECONDS)


class Fleet:
    """`kinds`: what makes the runtime of a kind for an engine; `state_dir` is for their locks.
    `ping` raises `EngineUnavailable` when an engine isn't there."""

    def __init__(
        self,
        hosts: Hosts,
        state_dir: Path,
        kinds: Mapping[str, MakeRuntime],
        ping: Callable[[Engine], object] = _ping,
    ) -> None:
        self.hosts = hosts
        self._ping = ping
        self._state_dir = state_dir
        self._kinds = kinds
        self._made: dict[tuple[str, Engine], Runtime] = {}

    def runtime(self, kind: str, host: str) -> Runtime:
        """The runtime of one kind on one host. Raises `EngineUnavailable`."""
        engine = self.hosts.engine(host)
        known = self._made.get((kind, engine))
        if known is None:
            known = self._kinds[kind](engine, self._state_dir, host)
            self._made[kind, engine] = known
        return known

    def at(self, station: Station) -> Runtime:
        """A runtime for one app that is there."""
        return Spread(self, station)

    def at_place(self, place: Place) -> Runtime:
        """A runtime for one place."""
        kind, host = place
        return Spread(self, Station(Places(kind, (host,))))

    def observe(self, project: str, everywhere: Collection[Places], builder: str = "") -> Observed:
        """What runs at all these places, by one list call for each; those that don't answer are
        `away`. Raises `EngineUnavailable` when none does.

        `builder`: a host that is `away` as well when it doesn't answer, though nothing runs there.
        """
        asked = _distinct(everywhere)
        looks = [functools.partial(self._look, project, one) for one in asked]
        if builder and Places(DOCKER, (builder,)) not in asked:
            looks.append(functools.partial(self._greet, builder))
        answers = _side_by_side(lambda look: look(), looks)
        away: dict[Place, str] = {}
        found: dict[str, dict[str, Container]] = {}
        for one, answer in zip(asked, answers, strict=False):
            if isinstance(answer, ReconcilerError):
                away |= dict.fromkeys(one.all, answer.what)
                continue
            for app, containers in answer.apps.items():
                known = found.setdefault(app, {})
                for container in containers:  # one engine may have two names
                    known.setdefault(container.id, container)
        if asked and len(away) >= sum(len(one.all) for one in asked):
            raise next(one for one in answers if isinstance(one, ReconcilerError))
        if len(answers) > len(asked) and isinstance(answers[-1], ReconcilerError):
            away[DOCKER, builder] = answers[-1].what
        return Observed({app: _newest_first(known.values()) for app, known in found.items()}, away)

    def _look(self, project: str, places: Places) -> Observed | ReconcilerError:
        try:
            return self.ask(places, lambda runtime: runtime.observe(project))
        except ReconcilerError as error:
            return error

    def _greet(self, host: str) -> Observed | ReconcilerError:
        """Whether it is there; of nothing that runs."""
        try:
            self.hosts.check(host)
            self._ping(self.hosts.engine(host))
        except ReconcilerError as error:
            if isinstance(error, EngineUnavailable):
                self.hosts.failed(host, error)
            return error
        self.hosts.answered(host)
        return Observed({})

    def ask(self, places: Places, work: Callable[[Runtime], T]) -> T:
        """What `work` gives with the runtime of the first of the hosts that answers. Raises what
        the last one that didn't gave."""
        failure: EngineUnavailable | None = None
        for host in places.hosts:
            try:
                self.hosts.check(host)
            except EngineUnavailable as error:
                failure = failure or error
                continue
            try:
                answer = work(self.runtime(places.runtime, host))
            except EngineUnavailable as error:
                self.hosts.failed(host, error)
                failure = error
                continue
            self.hosts.answered(host)
            return answer
        assert failure is not None  # noqa: S101 - there is at least one host
        raise failure


class Spread:
    """The `Runtime` of one app that may be at several places; a `Workload` names its own."""

    def __init__(self, fleet: Fleet, station: Station) -> None:
        self._fleet = fleet
        self._station = station

    def observe(self, project: str) -> Observed:
        """All containers of the project's apps, at the places of this one."""
        return self._fleet.observe(project, [self._asked(place) for place in self._station.here])

    def instance(self, app: str, container: str) -> Instance:
        """One container, for a closer look, at the only place."""
        (place,) = self._station.here
        return self._ask(place, lambda runtime: runtime.instance(app, container))

    def deploy(self, workload: Workload, job: Job) -> Instance:
        """See `Runtime`; at the workload's host."""
        return self._ask(self._place(workload), lambda runtime: runtime.deploy(workload, job))

    def settle(self, workload: Workload, job: Job) -> None:
        """At each place; and then the app leaves those where it shall not be any more."""
        self._each(lambda place, runtime: runtime.settle(_at(workload, place), job))
        for place in self._station.leaves:
            try:
                self._leave(place, workload, job)
            except EngineUnavailable as error:
                job.log(f"what runs on {place[1]} is left over until that host is back: {error}")

    def _leave(self, place: Place, workload: Workload, job: Job) -> None:
        """Containers that also show at a place of the app are none of that one's own."""
        kept = {container.id for container in self._containers(workload)}
        names, places = (workload.app, *workload.former), Places(place[0], (place[1],))
        seen = self._fleet.ask(places, lambda runtime: runtime.observe(workload.project))
        for name in names:
            own = seen.apps.get(name, ())
            ids = {one.id for one in own if one.host == place[1] and one.id not in kept}
            if ids:
                job.log(f"{name} works elsewhere, and ends on {place[1]}")
                remove = functools.partial(_remove, name, job, ids)
                self._fleet.ask(places, remove)

    def revert(self, workload: Workload, job: Job) -> bool:
        """At each place. An old one that serves at a place that was to be left counts as well."""
        before = self._containers(workload) if self._station.leaves else ()
        restored = self._each(lambda place, runtime: runtime.revert(_at(workload, place), job))
        if any(restored) or not self._station.leaves:
            return any(restored)
        after = {container.id for container in self._containers(workload)}
        return any(one.state != "created" and one.id not in after for one in before)

    def remove(self, app: str, job: Job, containers: Collection[str] | None = None) -> int:
        """At each place, those that are left included; how many."""
        places = (*self._station.here, *self._station.leaves)
        return sum(self._each(lambda _, one: one.remove(app, job, containers), places))

    def running(self, app: str, former: Collection[str] = ()) -> tuple[Replica, ...]:
        """At all places."""
        found = self._each(lambda _, runtime: runtime.running(app, former))
        return tuple(replica for replicas in found for replica in replicas)

    def run_task(self, workload: Workload, task: Task, job: Job) -> TaskEnd:
        """See `Runtime`; at the workload's host."""
        place = self._place(workload)
        return self._ask(place, lambda runtime: runtime.run_task(workload, task, job))

    def clear_tasks(self, app: str) -> None:
        """At each place."""
        self._each(lambda _, runtime: runtime.clear_tasks(app))

    # -- within ------------------------------------------------------------------------------

    def _containers(self, workload: Workload) -> tuple[Container, ...]:
        observed = self._each(lambda _, runtime: runtime.observe(workload.project))
        names = (workload.app, *workload.former)
        return tuple(one for seen in observed for name in names for one in seen.apps.get(name, ()))

    def _place(self, workload: Workload) -> Place:
        return self._station.places.runtime, workload.host

    def _asked(self, place: Place) -> Places:
        kind, host = place
        own = self._station.places
        return own if kind == SWARM == own.runtime and host in own.hosts else Places(kind, (host,))

    def _ask(self, place: Place, work: Callable[[Runtime], T]) -> T:
        return self._fleet.ask(self._asked(place), work)

    def _each(
        self, work: Callable[[Place, Runtime], T], places: Sequence[Place] | None = None
    ) -> list[T]:
        """At every place, whatever happens at one of them. Raises the first error at the end."""
        answers: list[T] = []
        errors: list[ReconcilerError] = []
        for place in self._station.here if places is None else places:
            try:
                answers.append(self._ask(place, functools.partial(work, place)))
            except ReconcilerError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return answers


def fleet_of(runtime: Runtime, hosts: Hosts, state_dir: Path) -> Fleet:
    """A fleet of one runtime, whatever the host."""

    def make(_engine: object, _state_dir: Path, _host: str) -> Runtime:
        return runtime

    return Fleet(hosts, state_dir, {DOCKER: make, SWARM: make}, ping=lambda _engine: None)


def _remove(app: str, job: Job, containers: Collection[str], runtime: Runtime) -> int:
    return runtime.remove(app, job, containers)


def _at(workload: Workload, place: Place) -> Workload:
    return workload if workload.host == place[1] else replace(workload, host=place[1])


def _distinct(everywhere: Iterable[Places]) -> list[Places]:
    """Each docker host once, and each Swarm as its apps name its managers."""
    found: dict[Places, None] = {}
    for one in everywhere:
        if one.runtime == SWARM:
            found.setdefault(one)
        else:
            found |= {Places(one.runtime, (host,)): None for host in one.hosts}
    return sorted(found, key=lambda one: (one.hosts != (LOCAL,), one.runtime, one.hosts))


def _side_by_side(ask: Callable[[S], T], about: Sequence[S]) -> list[T]:
    if len(about) < 2:
        return [ask(one) for one in about]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(about), MOST_AT_ONCE)) as pool:
        return list(pool.map(ask, about))


def _newest_first(containers: Iterable[Container]) -> tuple[Container, ...]:
    return tuple(sorted(containers, key=lambda container: -container.created))
