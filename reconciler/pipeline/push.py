"""Stage `push`: the image goes to its registry, and the registry's digest is recorded."""

from __future__ import annotations

from reconciler.errors import DeployError
from reconciler.host.images import push_image
from reconciler.host.registry import registry_auth
from reconciler.pipeline.context import Context
from reconciler.pipeline.images import (
    find_holder,
    find_image,
    find_reference,
    repository_of,
)
from reconciler.queue import StageResult


def skip(context: Context) -> str:
    """Nothing to push when the spec doesn't ask for it, or this deployment has done it."""
    image = context.app.image
    if image is None or not image.push:
        return "push is off"
    if context.request.kind in ("heal", "rollback", "scale", "move"):
        return "the image was pushed when it was built"
    return "already pushed" if context.row.digest else _skip_elsewhere(context, image.repository)


def _skip_elsewhere(context: Context, repository: str) -> str:
    """Where it was made it may be gone by now, or that host away."""
    image_id = find_image(context)
    if not image_id or find_holder(context, image_id) == context.image_host:
        return ""
    pushed = repository_of(find_reference(context, image_id)) == repository
    return "the registry has it" if pushed else ""


def run(context: Context) -> StageResult:
    """Tag and push."""
    image, image_id = context.app.image, find_image(context)
    if image is None or not image_id:
        raise DeployError("there is no image to push", app=context.name, todo="Deploy it first.")
    from reconciler.builder.labels import image_tag

    tag = image_tag(context.request.resolved, context.build_hash)
    auth = registry_auth(image.repository, image.credentials, context.secrets, context.name)
    engine = context.tools.hosts.engine(find_holder(context, image_id) or context.image_host)
    digest = push_image(engine, (image_id, image.repository, tag), auth, context.job)
    context.found.reference = f"{image.repository}@{digest}"
    name = f"{image.repository}:{tag}"
    context.job.log(f"pushed {name}@{digest}")
    return StageResult(
        data={"image": name, "digest": digest}, columns={"digest": digest, "image": name}
    )
