"""Hooks: commands around a deployment, each in a one-off container of the new image.

`pre_deploy` runs before anything is changed. `post_deploy` is the last part of the verification:
when one fails, the old version comes back as if the health check had failed.

A hook runs once for each deployment. Its container stays until its stage is committed, so that
whoever resumes the deployment after a crash finds it: still running, it is awaited; ended, its
exit code counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.errors import HookError
from reconciler.pipeline.context import Context
from reconciler.pipeline.images import find_image
from reconciler.queue import StageResult
from reconciler.runtime.base import Task
from reconciler.spec.models import Hook
from reconciler.spec.scalars import seconds

WITHOUT_HOOKS = ("heal", "push", "remove", "scale", "move")
"""Kinds that bring nothing new."""


def has_hooks(context: Context, hooks: Sequence[Hook]) -> bool:
    """Whether this deployment runs them."""
    return bool(hooks) and context.request.kind not in WITHOUT_HOOKS


def run_hooks(context: Context, stage: str, hooks: Sequence[Hook]) -> StageResult:
    """Run them one after the other. Raises `HookError` at the first that fails."""
    image_id = find_image(context)
    if not image_id:
        raise HookError("there is no image to run", app=context.name, todo="Deploy it again.")
    workload = context.workload(image_id, context.copies[0])
    for number, hook in enumerate(hooks, 1):
        program = hook.command[0]
        task = Task(
            name=f"{stage.replace('_', '-')}-{number}",
            title=f"the {stage} hook {program}",
            command=hook.command,
            timeout=seconds(hook.timeout),
        )
        context.job.log(f"running {program} (up to {hook.timeout})")
        end = context.runtime.run_task(workload, task, context.job)
        if end.code != 0:
            said = f": {end.last_line}" if end.last_line else " without a word"
            raise HookError(
                f"{task.title} exited with {end.code}{said}",
                app=context.name,
                todo="Correct what it does, or the hook; its output is in the log.",
            )
    return StageResult(data={"hooks": len(hooks)})
