"""Whether a rebuild changes anything: the image's content, what it is run with, and what runs now.

The id of an image says less than its content: it also covers labels, which name the commit.
"""

from __future__ import annotations

from typing import Any

from reconciler.host.images import inspect_image
from reconciler.pipeline.context import Context
from reconciler.pipeline.images import ask_holders, find_image
from reconciler.plan.hashes import run_hash
from reconciler.state.records import Deployment

_NAMES = ("Labels", "Image")
"""Parts of the configuration that say what an image is called and made from."""

SAME = "the image came out the same, so nothing was restarted"


def find_same(context: Context) -> str:
    """Why the container that serves can stay, or an empty text. Asked once for a deployment."""
    if context.found.unchanged is None:
        context.found.unchanged = SAME if _is_same(context) else ""
    return context.found.unchanged


def _is_same(context: Context) -> bool:
    store = context.tools.store
    row = store.find_app(context.name)
    served = store.find_deployment(row.serving) if row and row.serving else None
    if served is None or context.row.container:  # one was made already, before a crash
        return False
    return _runs_well(context, served) and _content(context, served.image_id) == _content(
        context, find_image(context)
    )


def _runs_well(context: Context, served: Deployment) -> bool:
    """Whether its container works, and is what the deployment would make of its image."""
    wanted = run_hash(served.image_id, context.run_facts)
    observed = context.runtime.observe(context.name.partition("/")[0])
    return any(
        container.deployment == served.id
        and container.state == "running"
        and container.health != "unhealthy"
        and container.run_hash == wanted
        for containers in observed.apps.values()
        for container in containers
        if not container.task
    )


def _content(context: Context, image_id: str) -> Any:
    """Layers and configuration, without labels; the image's id where that is unknown."""
    found = ask_holders(context, lambda engine: inspect_image(engine, image_id))
    if not found:
        return image_id
    config = (found.get("Config") or {}).items()
    return found.get("RootFS"), {key: value for key, value in config if key not in _NAMES}
