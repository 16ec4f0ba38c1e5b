"""Which places a pass looks at: where apps shall be, and where they were recorded."""

from __future__ import annotations

from reconciler.pipeline.tools import Tools
from reconciler.plan.places import Places, places_of
from reconciler.plan.states import Observed, Recorded
from reconciler.spec.loaded import LoadedSpec


def observe(tools: Tools, loaded: LoadedSpec, recorded: Recorded) -> Observed:
    """What runs of the project, everywhere. Raises `EngineUnavailable` when no place answers."""
    return tools.runtime.observe(loaded.spec.project, find_places(tools, loaded, recorded))


def find_places(tools: Tools, loaded: LoadedSpec, recorded: Recorded) -> list[Places]:
    """Each once; the local engine where there is nothing else to look at."""
    found = {Places(app.runtime, app.host): None for app in loaded.spec.apps.values()}
    for app in recorded.apps.values():
        if app.serving is not None:
            places = places_of(app.serving.settings)
            found[places] = None
            if not all(map(tools.hosts.knows, places.hosts)):
                _remember(tools, app.serving.deployment)
    return [*found] or [Places()]


def _remember(tools: Tools, deployment: str) -> None:
    """A host that is gone from the spec, as the deployment knew it."""
    row = tools.store.find_deployment(deployment)
    if row is not None:
        tools.hosts.learn_described(row.read_request().hosts)
