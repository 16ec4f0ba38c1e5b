"""Stage `deploy`: the new container is made and started, the old one is set aside."""

from __future__ import annotations

import json

from reconciler.errors import DeployError, Interrupted
from reconciler.pipeline.context import Context
from reconciler.pipeline.images import find_image
from reconciler.pipeline.same import find_same
from reconciler.queue import StageResult


def skip(context: Context) -> str:
    """A push alone touches no container, nor does a rebuild that changes nothing."""
    if context.request.stages == ("push",):
        return "only the push was asked for"
    return find_same(context) if context.request.keep_same else ""


def check(context: Context) -> None:
    """Nothing is touched, and so nothing to be put back, while a host is known to be away."""
    context.tools.runtime.check(context.station)


def run(context: Context) -> StageResult:
    """Replace the app's container, and remember what it is made of."""
    _check_joined(context)
    image_id = find_image(context)
    if not image_id:
        raise DeployError("there is no image to run", app=context.name, todo="Deploy it again.")
    first = context.copies[0]
    instance = context.runtime.deploy(context.workload(image_id, first), context.job)
    context.found.instances[first] = instance
    facts = {"build": dict(context.build_facts), "run": dict(context.run_facts)}
    return StageResult(
        data={"container": instance.id},
        columns={
            "container": instance.id,
            "image_id": image_id,
            "build_hash": context.build_hash,
            "facts": json.dumps(facts, ensure_ascii=False),
        },
    )


def _check_joined(context: Context) -> None:
    """What shall be made complete may have been replaced while this waited."""
    row = context.tools.store.find_app(context.name)
    if context.request.joins and (row is None or row.serving != context.request.joins):
        raise Interrupted("another deployment serves by now", app=context.name)
