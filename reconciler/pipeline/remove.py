"""Stage `remove`: the containers of an app that is gone from the spec."""

from __future__ import annotations

from reconciler.pipeline.context import Context
from reconciler.queue import StageResult


def skip(_context: Context) -> str:
    """There is always something to look for."""
    return ""


def run(context: Context) -> StageResult:
    """Stop and remove. Volumes, networks and images stay."""
    names = (context.name, *context.tools.store.former_names(context.name))
    count = sum(context.runtime.remove(name, context.job) for name in names)
    return StageResult(data={"containers": count})
