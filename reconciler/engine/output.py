"""What an app's container wrote."""

from __future__ import annotations

from reconciler.errors import UsageError
from reconciler.pipeline.tools import Tools
from reconciler.plan.places import places_of


def read_output(tools: Tools, app: str, lines: int) -> list[str]:
    """The last lines of the running container, or of one that has ended.

    Raises `UsageError` when there is none, and `EngineUnavailable`.
    """
    row = tools.store.find_app(app)
    places = places_of(row.settings if row else {})
    observed = tools.runtime.observe(app.partition("/")[0], [places])
    names = (app, *tools.store.former_names(app))
    containers = [one for name in names for one in observed.apps.get(name, ())]
    if not containers:
        raise UsageError(f"{app} has no container", todo="`reconcile explain` says why.")
    chosen = next((one for one in containers if one.state == "running"), containers[0])
    with tools.engine.errors(app):
        data: bytes = tools.engine.client.api.logs(chosen.id, tail=lines)
    return data.decode("utf-8", "replace").splitlines()
