"""Which image a deployment uses, when it is there already."""

from __future__ import annotations

from reconciler.host.images import find_built, image_id_of
from reconciler.pipeline.context import Context
from reconciler.spec.models import ImageSource


def find_image(context: Context) -> str:
    """The id of the image to use, or empty when it has to be built or pulled.

    In this order: what this deployment built before a crash, what was asked for (heal,
    rollback), and, unless a build is forced, what has the same build hash.
    """
    if context.found.image_id is None:
        context.found.image_id = _find(context)
    return context.found.image_id


def _find(context: Context) -> str:
    engine = context.image_engine
    for image_id in (context.row.image_id, context.request.image_id):
        if image_id and image_id_of(engine, image_id):
            return image_id
    if context.request.image_id:
        context.job.log(f"image {context.request.image_id[:19]} is gone; it is made again")
    if context.request.force or isinstance(context.app.source, ImageSource):
        return ""
    project = context.name.partition("/")[0]
    return find_built(engine, context.build_hash, project) or ""


def image_repository(context: Context) -> str:
    """The repository that the app's built images are named by."""
    image = context.app.image
    return image.repository if image else f"reconciler/{context.name}"
