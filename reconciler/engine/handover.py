"""An app is renamed: its rows, its logs and its container are the new name's. Restarts nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from reconciler.errors import ReconcilerError, UsageError
from reconciler.host.job import Job
from reconciler.pipeline.tools import Tools
from reconciler.plan.places import places_of
from reconciler.plan.renaming import rename_recorded
from reconciler.plan.states import Container, Facts, Observed
from reconciler.plan.view import replicas_of
from reconciler.runtime.base import Workload
from reconciler.runtime.fleet import Station
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import App
from reconciler.spec.plain import from_plain
from reconciler.state.apps import rename_app
from reconciler.state.recorded import read_recorded
from reconciler.state.records import Deployment


def hand_over(tools: Tools, old: str, new: str) -> None:
    """Everything of `old` in one transaction, and then its container's name, if possible."""
    with tools.store.transaction() as connection:
        rename_app(connection, old, new)
        tools.store.move_logs(old, new)
    row = tools.store.find_app(new)
    served = tools.store.find_deployment(row.serving) if row and row.serving else None
    if served is not None:
        settle(tools, served)


def settle(tools: Tools, served: Deployment, extra: Iterable[Container] = ()) -> bool:
    """Remove what is left beside the container that serves, and give that its name; `extra` also
    where the app isn't any more.

    Whether that went well: nothing depends on it, and the next pass can try again.
    """
    request, settings = served.read_request(), _settings(tools, served)
    places, job = places_of(settings), Job(served.app)
    tools.hosts.learn_described(request.hosts)
    workload = Workload(
        served.app,
        served.id,
        served.image_id,
        replace(from_plain(App, request.spec), replicas=replicas_of(settings), host=places.hosts),
        {},
        Path(request.base_dir),
        former=tools.store.former_names(served.app),
    )
    well = True
    try:
        tools.runtime.at(Station(places)).settle(workload, job)
    except ReconcilerError:
        well = False
    for container in extra:
        if container.place not in places.all:
            well &= _remove(tools, container, job)
    return well


def _remove(tools: Tools, container: Container, job: Job) -> bool:
    """Where the app isn't any more. Whether that went well."""
    try:
        tools.runtime.at_place(container.place).remove(container.app, job, [container.id])
    except ReconcilerError:
        return False
    return True


def _settings(tools: Tools, served: Deployment) -> Facts:
    """As they were recorded last: how many and where may differ from how it was deployed."""
    row = tools.store.find_app(served.app)
    return row.settings if row else {}


def prepare_by_hand(tools: Tools, loaded: LoadedSpec, app: str) -> None:
    """Before a person deploys an app: it gets what its former name has, and its name is its own.

    Raises `UsageError` when another app's container still carries this name.
    """
    project, _, name = app.partition("/")
    recorded = read_recorded(tools.store, project)
    for other in recorded.apps.values():
        if app in other.former:
            raise UsageError(
                f"the container of {other.app}, which was renamed, still carries this name",
                app=app,
                todo=f"`reconcile deploy {other.app.partition('/')[2]}` first.",
            )
    previously = loaded.spec.apps[name].previously
    if previously:
        pairs = {app: f"{project}/{previously}"}
        renamed = rename_recorded(pairs, recorded, Observed({})).apps.get(app)
        if renamed is not None and renamed.renamed_from:
            hand_over(tools, renamed.renamed_from, app)
