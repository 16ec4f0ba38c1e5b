"""How images are built. A new build type is one module here, one line below, one model.

`builder_for(build).prepare(...)` makes a context ready, `backend.choose_backend(engine)` says how
this host builds, and the stage `build` of the pipeline puts both together.
"""

from __future__ import annotations

from reconciler.builder.base import Builder
from reconciler.builder.dockerfile import DockerfileBuilder
from reconciler.builder.static import StaticBuilder
from reconciler.spec.models import Build

BUILDERS: dict[str, Builder] = {
    "dockerfile": DockerfileBuilder(),
    "static": StaticBuilder(),
}


def builder_for(build: Build) -> Builder:
    """The build type that the section asks for."""
    return BUILDERS["dockerfile" if build.static is None else "static"]
