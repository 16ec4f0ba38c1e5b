"""Who takes an app's traffic: what the stages tell the proxy.

Which containers are new and which old is read from the engine each time, so that a process that
resumes a deployment, or ends one, goes by what is there:

    old   containers that run and belong to another deployment, or are above the number of replicas
    new   the others that run

Before the stage `switch` the old ones have the traffic, behind it the new ones; in between it may
be either, and whoever comes next says again what it shall be: the new ones to go on (`give`), the
old ones to go back (`give_back`). An app without `expose` has no traffic here; these functions do
nothing then.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from reconciler.errors import DeployError
from reconciler.host.job import Cancellation
from reconciler.pipeline.context import Context
from reconciler.runtime.base import Replica
from reconciler.runtime.proxy import FULL_WEIGHT, Proxy, Server
from reconciler.spec.scalars import seconds
from reconciler.values import frozen

LOOK_SECONDS = 0.02
SHORT_DRAIN_SECONDS = 5.0
"""How long new containers that failed may finish what they have, at most."""
LARGEST_WEIGHT = 256


@frozen
class Crew:
    """What runs of the app now."""

    new: tuple[Replica, ...]
    old: tuple[Replica, ...]


def observe(context: Context) -> Crew:
    """One call of the engine."""
    former = context.tools.store.former_names(context.name)
    running = context.runtime.running(context.name, former)
    new = tuple(one for one in running if _is_new(context, one))
    return Crew(new, tuple(one for one in running if one not in new))


def _is_new(context: Context, one: Replica) -> bool:
    return one.deployment == context.owner and one.number <= context.app.replicas


def proxy_of(context: Context) -> Proxy:
    """The proxy. Raises `DeployError` where there is none."""
    if context.tools.proxy is None:
        raise DeployError("there is no proxy on this runtime", app=context.name)
    return context.tools.proxy


# -- forth -----------------------------------------------------------------------------------


def give(context: Context, replicas: Iterable[Replica]) -> None:
    """These take all new requests from now on."""
    proxy_of(context).switch(context.name, _servers(replicas), context.job)


def split(context: Context, crew: Crew, new_share: float) -> None:
    """The new ones take so much of the requests (0 to 1), the old ones the rest."""
    new, old = weights(new_share, len(crew.new), len(crew.old))
    servers = [*_servers(crew.new, new), *_servers(crew.old, old)]
    proxy_of(context).switch(context.name, servers, context.job)


def weights(new_share: float, new: int, old: int) -> tuple[int, int]:
    """The weights of each of `new` and each of `old` servers, as large as they can be."""
    each_new, each_old = new_share / new, (1 - new_share) / old
    scale = LARGEST_WEIGHT / max(each_new, each_old)
    return _weight(each_new * scale), _weight(each_old * scale)


def _weight(wanted: float) -> int:
    return max(round(wanted), 1) if wanted > 0 else 0


def keep_from(context: Context, number: int) -> None:
    """With `recreate`: the old container of this number is about to be stopped."""
    if context.app.expose is None or context.app.strategy != "recreate":
        return
    crew = observe(context)
    rest = (*crew.new, *(one for one in crew.old if one.number != number))
    if rest:
        give(context, rest)


def drain_old(context: Context, hurry: Cancellation) -> None:
    """Wait until the old ones have finished what they have, `rollout.drain` at most, and cut the
    rest off. `hurry`: a deployment that is asked to stop by now doesn't wait.
    """
    if context.app.expose is None:
        return
    proxy, new = proxy_of(context), {one.id for one in observe(context).new}
    old = [s.server.container for s in proxy.look(context.name) if s.server.container not in new]
    if old:
        _await_quiet(context, old, seconds(context.app.rollout.drain), hurry)
        proxy.drop(context.name, old, context.job)


# -- and back --------------------------------------------------------------------------------


def give_back(context: Context) -> None:
    """The old ones that run take the traffic again, at once; the new ones finish what they have."""
    if context.app.expose is None:
        return
    crew = observe(context)
    if not crew.old or not crew.new or context.request.joins:
        return
    give(context, crew.old)
    context.job.log("the old version has the traffic")
    new = [one.id for one in crew.new]
    patience = min(seconds(context.app.rollout.drain), SHORT_DRAIN_SECONDS)
    _await_quiet(context, new, patience, Cancellation())
    proxy_of(context).drop(context.name, new, context.job)


def give_to_rest(context: Context) -> None:
    """Whatever runs now has the traffic: one that was started again may have a new address."""
    if context.app.expose is None:
        return
    crew = observe(context)
    if rest := (*crew.new, *crew.old):
        give(context, rest)


def _await_quiet(
    context: Context, containers: Collection[str], patience: float, hurry: Cancellation
) -> None:
    deadline = time.monotonic() + patience
    while hurry.reason is None and time.monotonic() < deadline:
        states = proxy_of(context).look(context.name)
        left = sum(s.sessions for s in states if s.server.container in containers)
        if not left:
            return
        time.sleep(LOOK_SECONDS)


def _servers(replicas: Iterable[Replica], weight: int = FULL_WEIGHT) -> list[Server]:
    return [Server(one.id, one.address, weight) for one in replicas]
