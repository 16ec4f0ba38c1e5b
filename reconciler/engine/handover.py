"""An app is renamed: its rows, its logs and its container are the new name's. Restarts nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconciler.errors import ReconcilerError, UsageError
from reconciler.host.job import Job
from reconciler.pipeline.tools import Tools
from reconciler.plan.renaming import rename_recorded
from reconciler.plan.states import Observed
from reconciler.plan.view import replicas_of
from reconciler.runtime.base import Workload
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


def settle(tools: Tools, served: Deployment) -> bool:
    """Remove what is left beside the container that serves, and give that its name.

    Whether that went well: nothing depends on it, and the next pass can try again.
    """
    request = served.read_request()
    workload = Workload(
        served.app,
        served.id,
        served.image_id,
        replace(from_plain(App, request.spec), replicas=_replicas(tools, served)),
        {},
        Path(request.base_dir),
        former=tools.store.former_names(served.app),
    )
    try:
        tools.runtime.settle(workload, Job(served.app))
    except ReconcilerError:
        return False
    return True


def _replicas(tools: Tools, served: Deployment) -> int:
    """As many as were recorded last, which may be more or fewer than were deployed."""
    row = tools.store.find_app(served.app)
    return replicas_of(row.settings) if row else 1


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
