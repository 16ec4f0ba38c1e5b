"""Stage `replicas`: the containers beside the first, one after the other, each verified."""

from __future__ import annotations

from reconciler.errors import DeployError
from reconciler.pipeline import deploy, traffic
from reconciler.pipeline.context import Context
from reconciler.pipeline.health import check_health
from reconciler.pipeline.images import find_image
from reconciler.queue import StageResult


def wanted(context: Context) -> bool:
    """Only where there are several."""
    return context.app.replicas > 1


def skip(context: Context) -> str:
    """Nothing was deployed, nothing to add."""
    return deploy.skip(context)


def run(context: Context) -> StageResult:
    """Start and verify. The next one begins when the one before it works."""
    image_id = find_image(context)
    if not image_id:
        raise DeployError("there is no image to run", app=context.name, todo="Deploy it again.")
    for number in range(2, context.app.replicas + 1):
        traffic.keep_from(context, number)
        workload = context.workload(image_id, number)
        instance = context.tools.runtime.deploy(workload, context.job)
        context.found.instances[number] = instance
        verified = check_health(instance, context.app.health, context.job)
        context.job.log(f"replica {number} is healthy: {verified}")
    return StageResult(data={"replicas": context.app.replicas})
