"""Stage `replicas`: the containers beside the first, each verified, a few at a time.

On one host after the other, so that a version that fails does so on the first of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from reconciler.errors import DeployError, HealthError
from reconciler.pipeline import deploy, traffic
from reconciler.pipeline.context import Context, Copy
from reconciler.pipeline.health import check_health
from reconciler.pipeline.images import find_image
from reconciler.queue import StageResult
from reconciler.runtime.base import Instance


def wanted(context: Context) -> bool:
    """Only where there are several."""
    return len(context.copies) > 1


def skip(context: Context) -> str:
    """Nothing was deployed, nothing to add."""
    return deploy.skip(context)


def run(context: Context) -> StageResult:
    """Start and verify. The next ones begin when those before them work."""
    image_id = find_image(context)
    if not image_id:
        raise DeployError("there is no image to run", app=context.name, todo="Deploy it again.")
    rest, at_once = context.copies[1:], context.app.rollout.max_unavailable
    for start in range(0, len(rest), at_once):
        _roll(context, image_id, rest[start : start + at_once])
    return StageResult(data={"replicas": context.app.replicas})


def _roll(context: Context, image_id: str, copies: Sequence[Copy]) -> None:
    """These at once; the first of their failures is raised when all have ended."""
    for (_, _), number in copies:
        traffic.keep_from(context, number)
    if len(copies) == 1:
        _bring_up(context, image_id, copies[0])
        return
    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(lambda copy: _bring_up(context, image_id, copy), copies))


def _bring_up(context: Context, image_id: str, copy: Copy) -> None:
    try:
        instance = context.runtime.deploy(context.workload(image_id, copy), context.job)
        _check_own(context, copy, instance)
        context.found.instances[copy] = instance
        verified = check_health(instance, context.app.health, context.job)
    except (DeployError, HealthError) as error:
        error.what = f"{_say(context, copy)}: {error.what}"
        raise
    context.job.log(f"{_say(context, copy)} is healthy: {verified}")


def _check_own(context: Context, copy: Copy, instance: Instance) -> None:
    """Two names for one engine would be one container under both."""
    for (other, _), known in list(context.found.instances.items()):
        if known.id == instance.id:
            raise DeployError(
                f"the hosts {other[1]} and {copy[0][1]} are the same engine",
                app=context.name,
                todo="Name one of them as the app's host.",
            )


def _say(context: Context, copy: Copy) -> str:
    """`replica 2`, `replica 1 on web2`."""
    (_, host), number = copy
    return f"replica {number}" + (f" on {host}" if len(context.station.here) > 1 else "")
