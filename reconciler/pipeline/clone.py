"""Stage `clone`: bring the source's files, or for an image source the image, to this host."""

from __future__ import annotations

from reconciler.pipeline.context import Context
from reconciler.pipeline.images import find_image, pull_again
from reconciler.queue import StageResult


def skip(context: Context) -> str:
    """Nothing to fetch when the image is there already."""
    return "the image is already there" if find_image(context) else ""


def run(context: Context) -> StageResult:
    """Check out, or pull."""
    if image_id := pull_again(context):
        context.found.image_id = image_id
        return StageResult(data={"image_id": image_id}, columns={"image_id": image_id})
    placed = context.source.place(context.wanted, context.resolved, context.checkout, context.job)
    if not placed.image_id:
        context.found.build_context = placed.context
        return StageResult(data={"context": str(placed.context)})
    context.found.image_id, context.found.holder = placed.image_id, context.image_host
    return StageResult(
        data={"image_id": placed.image_id},
        columns={
            "image_id": placed.image_id,
            "image": context.request.reference,
            "digest": context.request.resolved,
            "build_hash": context.build_hash,
        },
    )
