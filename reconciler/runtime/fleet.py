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
        self._made: dict[Place, tuple[Engine, Runtime]] = {}
        self.looked_at: tuple[Places, ...] = ()
        """The places that the project was last looked at, those that are away included."""

    def runtime(self, kind: str, host: str) -> Runtime:
        """The runtime of one kind on one host. Raises `EngineUnavailable`."""
        engine = self.hosts.engine(host)
        known = self._made.get((kind, host))
        if known is None or known[0] is not engine:
            known = engine, self._kinds[kind](engine, self._state_dir, host)
            self._made[kind, host] = known
        return known[1]

    def at(self, station: Station) -> Runtime:
        """A runtime for one app that is there."""
        return Spread(self, station)

    def check(self, station: Station) -> None:
        """Raises `EngineUnavailable` when one of the places is away, and isn't asked now."""
        for place in station.here:
            hosts = station.places.hosts if place[0] == SWARM else place[1:]
            if all(self.hosts.is_away(host, place[0]) for host in hosts):
                self.hosts.check(hosts[0], place[0])

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
        errors = [one for one in answers[: len(asked)] if isinstance(one, ReconcilerError)]
        if errors and len(errors) == len(asked):
            raise errors[0]
        away: dict[Place, str] = {}
        sight = _Sight()
        for one, answer in zip(asked, answers, strict=False):
            if isinstance(answer, ReconcilerError):
                away |= dict.fromkeys(one.all, answer.what)
            else:
                sight.add(one, answer)
        if len(answers) > len(asked) and isinstance(answers[-1], ReconcilerError):
            away[DOCKER, builder] = answers[-1].what
        return Observed(sight.apps(), away)

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
                self.hosts.check(host, places.runtime)
            except EngineUnavailable as error:
                failure = failure or error
                continue
            try:
                answer = work(self.runtime(places.runtime, host))
            except EngineUnavailable as error:
                self.hosts.failed(host, error, places.runtime)
                failure = error
                continue
            self.hosts.answered(host, places.runtime)
            return answer
        assert failure is not None  # noqa: S101 - there is at least one host
        raise failure

    def next_ask(self, away: Collection[Place]) -> float | None:
        """Seconds until one of these places may be asked again; None when nobody has to: none is
        away, or somebody watches those that are."""
        asked = [one for one in self.looked_at if not set(one.all).isdisjoint(away)]
        moments = [self.hosts.next_ask(one.hosts, one.runtime) for one in asked]
        return min((one for one in moments if one is not None), default=None)


class _Sight:
    """What was seen at several places, each container once.

    An engine may have two names: what both of them show is at the one that it was made under, or,
    where that name isn't asked any more, at the first. What a Swarm shows is at the place that its
    managers have together, whichever of them has answered.
    """

    def __init__(self) -> None:
        self._found: dict[str, dict[tuple[str, str], Container]] = {}
        self._own: set[tuple[str, str]] = set()

    def add(self, places: Places, observed: Observed) -> None:
        host = places.hosts[0]
        for app, containers in observed.apps.items():
            known = self._found.setdefault(app, {})
            for one in containers:
                key = one.id, host if places.runtime == SWARM else ""
                own = one.host == host and key not in self._own  # made locally, it names no host
                if own:
                    self._own.add(key)
                if own or key not in known:
                    known[key] = replace(one, host=host)

    def apps(self) -> dict[str, tuple[Container, ...]]:
        return {app: _newest_first(known.values()) for app, known in self._found.items()}


class Spread:
    """The `Runtime` of one app that may be at several places; a `Workload` names its own."""

    def __init__(self, fleet: Fleet, station: Station) -> None:
        self._fleet = fleet
        self._station = station
        self._reverted: dict[Place, bool] = {}

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
            ids = {one.id for one in own if one.id not in kept}
            if ids:
                job.log(f"{name} works elsewhere, and ends on {place[1]}")
                remove = functools.partial(_remove, name, job, ids)
                self._fleet.ask(places, remove)

    def revert(self, workload: Workload, job: Job) -> bool:
        """At each place. An old one that serves at a place that was to be left counts as well.

        When this is called again because a place didn't answer, the others keep their answer.
        """

        def revert(place: Place, runtime: Runtime) -> bool:
            if place not in self._reverted:
                self._reverted[place] = self._revert(runtime, _at(workload, place), job)
            return self._reverted[place]

        return any(self._each(revert))

    def _revert(self, runtime: Runtime, workload: Workload, job: Job) -> bool:
        if not self._station.leaves:
            return runtime.revert(workload, job)
        before = _shown(runtime, workload)
        if runtime.revert(workload, job):
            return True
        after = {one.id for one in _shown(runtime, workload)}
        return any(one.state != "created" and one.id not in after for one in before)

    def remove(self, app: str, job: Job, containers: Collection[str] | None = None) -> int:
        """At each place, those that are left included; how many. One that is gone from the spec
        and doesn't answer any more is given up."""

        def remove(place: Place) -> int:
            try:
                return self._ask(place, lambda runtime: runtime.remove(app, job, containers))
            except EngineUnavailable as error:
                if self._fleet.hosts.declares(place[1]):
                    raise
                job.log(f"what runs on {place[1]} is left alone: {error}")
                return 0

        return sum(_all_of(remove, (*self._station.here, *self._station.leaves)))

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
        found = self._each(lambda _, runtime: _shown(runtime, workload))
        return tuple(one for containers in found for one in containers)

    def _place(self, workload: Workload) -> Place:
        return self._station.places.runtime, workload.host

    def _asked(self, place: Place) -> Places:
        kind, host = place
        own = self._station.places
        return own if kind == SWARM == own.runtime and host in own.hosts else Places(kind, (host,))

    def _ask(self, place: Place, work: Callable[[Runtime], T]) -> T:
        return self._fleet.ask(self._asked(place), work)

    def _each(self, work: Callable[[Place, Runtime], T]) -> list[T]:
        """At every place, whatever happens at one of them. Raises the first error at the end."""
        return _all_of(
            lambda place: self._ask(place, functools.partial(work, place)), self._station.here
        )


def _all_of(work: Callable[[Place], T], places: Iterable[Place]) -> list[T]:
    answers: list[T] = []
    errors: list[ReconcilerError] = []
    for place in places:
        try:
            answers.append(work(place))
        except ReconcilerError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return answers


def _shown(runtime: Runtime, workload: Workload) -> list[Container]:
    """All containers of the workload's app."""
    seen = runtime.observe(workload.project).apps
    return [one for name in (workload.app, *workload.former) for one in seen.get(name, ())]


def fleet_of(runtime: Runtime, hosts: Hosts, state_dir: Path) -> Fleet:
    """A fleet of one runtime, whatever the host."""

    def make(_engine: object, _state_dir: Path, _host: str) -> Runtime:
        return runtime

    return Fleet(hosts, state_dir, {DOCKER: make, SWARM: make}, ping=lambda _engine: None)


def _remove(app: str, job: Job, containers: Collection[str], runtime: Runtime) -> int:
    return runtime.remove(app, job, containers)


def _at(workload: Workload, place: Place) -> Workload:
    return workload if workload.host == place[1] else replace(workload, host=place[1])


def _distinct(everywhere: Iterable[Places]) -> tuple[Places, ...]:
    """Each docker host once, and each Swarm as its apps name its managers."""
    found: dict[Places, None] = {}
    for one in everywhere:
        if one.runtime == SWARM:
            found.setdefault(one)
        else:
            found |= {Places(one.runtime, (host,)): None for host in one.hosts}
    ordered = sorted(found, key=lambda one: (one.hosts != (LOCAL,), one.runtime, one.hosts))
    return tuple(ordered)


def _side_by_side(ask: Callable[[S], T], about: Sequence[S]) -> list[T]:
    if len(about) < 2:
        return [ask(one) for one in about]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(about), MOST_AT_ONCE)) as pool:
        return list(pool.map(ask, about))


def _newest_first(containers: Iterable[Container]) -> tuple[Container, ...]:
    return tuple(sorted(containers, key=lambda container: -container.created))
