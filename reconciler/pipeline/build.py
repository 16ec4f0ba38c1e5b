"""Stage `build`: make the image, unless one with the same build hash exists.

Builders are imported by what builds: a restart with another environment doesn't pay for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import BuildError
from reconciler.pipeline.context import Context
from reconciler.pipeline.images import find_image, image_repository
from reconciler.queue import StageResult
from reconciler.spec.models import ImageSource

if TYPE_CHECKING:
    from reconciler.builder.base import Recipe


def skip(context: Context) -> str:
    """Nothing to build for an image source, or when the image is there already."""
    if isinstance(context.app.source, ImageSource):
        return "the source is an image"
    return "the image is already there" if find_image(context) else ""


def run(context: Context) -> StageResult:
    """Build, tag and label."""
    from reconciler.builder.backend import choose_backend

    recipe = _make_recipe(context)
    choice = choose_backend(context.image_engine)
    context.job.log(f"building {recipe.tags[0]} with {choice.backend.name}")
    image_id = choice.backend.build(recipe, context.job)
    context.job.log(f"built {image_id}")
    context.found.image_id, context.found.holder = image_id, context.image_host
    return StageResult(
        data={"image_id": image_id, "image": recipe.tags[0]},
        columns={
            "image_id": image_id,
            "image": recipe.tags[0],
            "build_hash": context.build_hash,
        },
        build=(context.build_hash, image_id, recipe.tags[0]),
    )


def _make_recipe(context: Context) -> Recipe:
    from reconciler.builder import builder_for
    from reconciler.builder.base import Recipe
    from reconciler.builder.labels import image_labels, image_tag

    build, directory = context.app.build, context.found.build_context
    assert directory is not None  # noqa: S101 - clone skips only when build does
    if context.app.env_file:
        write_env_file(directory / ".env", context)
    tag = image_tag(context.request.resolved, context.build_hash)
    dockerfile = builder_for(build).prepare(context.name, build, directory)
    return Recipe(
        app=context.name,
        context=dockerfile.context,
        dockerfile=dockerfile.path,
        target=build.target,
        args=build.args,
        secrets={
            name: context.secrets.read(ref, app=context.name, what=f"build.secrets.{name}")
            for name, ref in build.secrets.items()
        },
        tags=(f"{image_repository(context)}:{tag}",),
        labels=image_labels(context.name, context.app.source, context.resolved, context.build_hash),
        no_cache=context.request.no_cache,
        pull=context.request.pull,
    )


def write_env_file(path: Path, context: Context) -> None:
    """Write the environment as a dotenv file that its readers understand. Raises `BuildError`."""
    if path.is_symlink() or path.exists():
        raise BuildError(
            "the source has a .env of its own, which env_file would replace",
            app=context.name,
            todo="Remove .env from the repository, or set env_file: false.",
        )
    lines = [f"{name}={_quote(value)}\n" for name, value in context.env.items()]
    path.touch(mode=0o600)
    path.write_text("".join(lines), encoding="utf-8")


def _quote(value: str) -> str:
    """Single quotes keep every character but themselves; those need the escapes of double ones."""
    if "'" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
