"""Stage `post_deploy`: the hooks that run when the new container is verified."""

from __future__ import annotations

from reconciler.pipeline import deploy
from reconciler.pipeline.context import Context
from reconciler.pipeline.hooks import has_hooks, run_hooks
from reconciler.queue import StageResult


def wanted(context: Context) -> bool:
    """Only where there are hooks the stage is shown."""
    return has_hooks(context, context.app.hooks.post_deploy)


def skip(context: Context) -> str:
    """Nothing was deployed. What ran before a crash is found again."""
    return deploy.skip(context)


def run(context: Context) -> StageResult:
    """Run them. Raises `HookError`."""
    return run_hooks(context, "post_deploy", context.app.hooks.post_deploy)
