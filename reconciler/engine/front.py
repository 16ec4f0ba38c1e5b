"""What the project's proxy shall be, from the spec and the three states; part of every pass.

A project in which nothing is exposed costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError
from reconciler.events import Event
from reconciler.host.job import Job
from reconciler.pipeline.tools import Tools
from reconciler.plan.places import Places
from reconciler.plan.renaming import assign_containers, former_names
from reconciler.plan.states import Container, Observed, Recorded
from reconciler.runtime.proxy import Front, Proxy, Route, Server
from reconciler.spec.loaded import LoadedSpec
from reconciler.state.recorded import read_recorded
from reconciler.values import frozen

if TYPE_CHECKING:
    from reconciler.spec.models import App


@frozen
class FrontState:
    """What was wrong with the proxy, as causes, and what still is."""

    causes: tuple[str, ...] = ()
    troubles: tuple[ReconcilerError, ...] = ()


def has_front(tools: Tools, loaded: LoadedSpec) -> bool:
    """Whether an app is exposed, or was."""
    exposed = any(app.expose is not None for app in loaded.spec.apps.values())
    return exposed or (tools.store.directory / "proxy" / loaded.spec.project).is_dir()


def settle_front(
    tools: Tools, loaded: LoadedSpec, recorded: Recorded, observed: Observed
) -> FrontState:
    """Make the proxy what it shall be. Its troubles keep nothing else from being done."""
    state = _hold_against(
        tools, loaded, (recorded, observed), lambda proxy, front: proxy.settle(front, Job())
    )
    if state.causes:
        tools.listen(Event("proxy", "", data={"cause": ", ".join(state.causes)}))
    return state


def examine_front(
    tools: Tools, loaded: LoadedSpec, recorded: Recorded, observed: Observed
) -> FrontState:
    """The same, and nothing is changed."""
    return _hold_against(
        tools, loaded, (recorded, observed), lambda proxy, front: proxy.examine(front)
    )


def _hold_against(
    tools: Tools,
    loaded: LoadedSpec,
    states: tuple[Recorded, Observed],
    act: Callable[[Proxy, Front], tuple[str, ...]],
) -> FrontState:
    """What `act` finds wrong with the proxy, and what is in the way."""
    if tools.proxy is None or not has_front(tools, loaded):
        return FrontState()
    front, troubles = make_front(tools, loaded, *states)
    causes: tuple[str, ...] = ()
    try:
        causes = act(tools.proxy, front)
    except ReconcilerError as error:
        troubles.append(error)
    return FrontState(causes, tuple(troubles))


def prepare_front(tools: Tools, loaded: LoadedSpec, app: str) -> None:
    """Before one app is deployed by hand: there is a route to it. Raises what keeps it from being.

    Costs nothing for an app that isn't exposed.
    """
    if loaded.spec.apps[app.partition("/")[2]].expose is None:
        return
    project = loaded.spec.project
    recorded = read_recorded(tools.store, project)
    observed = assign_containers(former_names(recorded), tools.runtime.observe(project, [Places()]))
    for trouble in settle_front(tools, loaded, recorded, observed).troubles:
        if trouble.app in ("", app):
            raise trouble


def make_front(
    tools: Tools, loaded: LoadedSpec, recorded: Recorded, observed: Observed
) -> tuple[Front, list[ReconcilerError]]:
    """What the proxy shall be, and which certificates can't be read."""
    project = loaded.spec.project
    exposed = {f"{project}/{n}": app for n, app in loaded.spec.apps.items() if app.expose}
    troubles: list[ReconcilerError] = []
    routes = {name: _route(tools, loaded, (name, app), troubles) for name, app in exposed.items()}
    gone = {name for name in observed.apps if name.partition("/")[2] not in loaded.spec.apps}
    kept = {name for name in gone if any(_serves(one) for one in observed.apps[name])}
    serving = {name: _serving(name, recorded, observed) for name in routes}
    calm = {n for n in routes if n in recorded.apps and not recorded.apps[n].in_flight}
    front = Front(
        project,
        loaded.spec.proxy,
        routes,
        {name: found for name, found in serving.items() if found is not None and name in calm},
        {name: found for name, found in serving.items() if found and name not in calm},
        sorted(kept),
    )
    return front, troubles


def _route(
    tools: Tools, loaded: LoadedSpec, named: tuple[str, App], troubles: list[ReconcilerError]
) -> Route:
    name, app = named
    assert app.expose is not None  # noqa: S101 - only those are asked for
    tls = app.expose.http.tls if app.expose.http else None
    if tls is None:
        return Route(app.expose)
    secrets = tools.secrets(loaded.base_dir(name.partition("/")[2]))
    try:
        cert = secrets.read(tls.cert, app=name, what="expose.http.tls.cert")
        key = secrets.read(tls.key, app=name, what="expose.http.tls.key")
    except ReconcilerError as error:
        troubles.append(error)
        return Route(app.expose, None)
    return Route(app.expose, f"{cert}\n{key}\n")


def _serving(name: str, recorded: Recorded, observed: Observed) -> tuple[Server, ...] | None:
    """The containers that serve now; None for an app that never served."""
    state = recorded.apps.get(name)
    if state is None or state.serving is None:
        return None
    deployment = state.serving.deployment
    own = [one for one in observed.apps.get(name, ()) if one.deployment == deployment]
    found = sorted((one for one in own if _serves(one)), key=lambda one: one.id)
    return tuple(Server(one.id, one.address) for one in found)


def _serves(container: Container) -> bool:
    return container.state == "running" and bool(container.address) and not container.task
