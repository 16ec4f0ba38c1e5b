"""The small proxy in front of a project's apps: what it is asked, and what it tells.

Routes come from the spec and change rarely (`settle`); which containers take traffic changes with
every rollout (`switch`, `look`, `drop`), without a reload. A rollout of one app:

    1  start the new container beside the old one, verify it
    2  switch(app, [new])                  new requests go to the new one, the old one drains
       (canary: switch(app, [Server(old, …, weight=90), Server(new, …, weight=10)]), look, …)
    3  look(app)                           sessions of the old one, errors of the new one
       back: switch(app, [old])
    4  drop(app, [old]) when it has no sessions left or the drain's time is over; then stop it

Every call is level-triggered and safe to repeat after a crash: it says what shall be, and does
what is missing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from reconciler.host.job import Job
from reconciler.spec.routes import Expose, ProxySettings
from reconciler.values import frozen

FULL_WEIGHT = 100
"""Weights are shares: servers of 90 and 10 get nine and one of ten requests. 0 to 256."""


@frozen
class Server:
    """A container that takes traffic. `container` is its full id, `address` its own address, which
    the host can reach; the ports are the route's."""

    container: str
    address: str
    weight: int = FULL_WEIGHT


@frozen
class Counters:
    """What a server answered since it last began to take traffic, or since the proxy's last
    reload: values may begin again at 0, never go on from somewhere else.

    `requests`: of HTTP; of TCP, connections. `errors`: answers of 500 and above, of the app or of
    the proxy for it (it didn't answer in time, or broke off). `connect_errors`: connections that
    were refused or timed out.
    """

    requests: int = 0
    errors: int = 0
    connect_errors: int = 0


@frozen
class ServerState:
    """A server as the proxy has it. `draining`: it finishes what it has and gets nothing new.

    `sessions`: requests and connections under way, those of earlier reloads included.
    """

    server: Server
    draining: bool
    sessions: int
    counters: Counters = field(default_factory=Counters)


@frozen
class Route:
    """How one app is reached. `certificate`: chain and key as one PEM text, empty without TLS,
    None to go on with the one in use, as the new one can't be read."""

    expose: Expose
    certificate: str | None = field(default="", repr=False)

    def __repr__(self) -> str:
        return f"Route({self.expose!r})"


@frozen
class Front:
    """What a project's proxy shall be.

    `routes` by app (`<project>/<name>`); without any there shall be no proxy. `servers`: which
    containers shall take an app's traffic; apps that it doesn't name are left as they are, as
    their rollout is under way, and `likely` says who takes the traffic of those that the proxy
    knows nobody of. `kept`: apps that the spec doesn't have any more and whose
    containers stay; so do their routes, unless another app has them now.
    """

    project: str
    settings: ProxySettings
    routes: Mapping[str, Route]
    servers: Mapping[str, tuple[Server, ...]] = field(default_factory=dict)
    likely: Mapping[str, tuple[Server, ...]] = field(default_factory=dict)
    kept: Collection[str] = ()


class Proxy(Protocol):
    """The proxies of all projects. Raises `EngineUnavailable` for an engine or a proxy that
    doesn't answer, and `DeployError` for what can't be."""

    def settle(self, front: Front, job: Job) -> tuple[str, ...]:
        """Make it so: create, start, reload, replace or remove the proxy as needed, and correct
        the servers. Returns what was wrong, as causes (`routes changed`, `its container is
        missing`); empty when nothing was, which costs no call of the engine.

        Raises `DeployError` when the engine or HAProxy refuses, with everything as it was, and
        when a certificate is of no use, after all the rest.
        """

    def examine(self, front: Front) -> tuple[str, ...]:
        """What `settle` would find wrong. Changes nothing."""

    def switch(self, app: str, servers: Sequence[Server], job: Job) -> None:
        """From now on exactly these take the app's new requests, by their weights; others that
        have it drain. Returns once it is so, within milliseconds.

        Raises `DeployError` when the proxy has no route to this app.
        """

    def look(self, app: str) -> tuple[ServerState, ...]:
        """Every server of the app now, draining ones included; empty when it has no route."""

    def drop(self, app: str, containers: Collection[str], job: Job) -> None:
        """These get nothing any more, and what they still have under way is cut off. Fine when
        the proxy doesn't know them."""


class LaterProxy:
    """A proxy that is made when it is first asked: a command without work doesn't pay for it."""

    def __init__(self, make: Callable[[], Proxy]) -> None:
        self._make = make

    @functools.cached_property
    def _real(self) -> Proxy:
        return self._make()

    def settle(self, front: Front, job: Job) -> tuple[str, ...]:
        """See `Proxy`."""
        return self._real.settle(front, job)

    def examine(self, front: Front) -> tuple[str, ...]:
        """See `Proxy`."""
        return self._real.examine(front)

    def switch(self, app: str, servers: Sequence[Server], job: Job) -> None:
        """See `Proxy`."""
        self._real.switch(app, servers, job)

    def look(self, app: str) -> tuple[ServerState, ...]:
        """See `Proxy`."""
        return self._real.look(app)

    def drop(self, app: str, containers: Collection[str], job: Job) -> None:
        """See `Proxy`."""
        self._real.drop(app, containers, job)
