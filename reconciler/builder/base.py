"""What every build type can do. One module a kind; `BUILDERS` in the package lists them.

A builder turns a build section and a checked-out directory into a `Prepared` context; a backend
(`buildkit` or `classic`) turns the `Recipe` made of it into an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Protocol

from reconciler.host.job import Job
from reconciler.spec.models import Build
from reconciler.values import frozen


@frozen
class Prepared:
    """A build context and the Dockerfile in it, both absolute and free of symlinks."""

    context: Path
    path: Path


@frozen
class Recipe:
    """Everything that one image build needs.

    `dockerfile` lies inside `context`. `secrets` are values, never logged and never in argv.
    `tags` are full references, `labels` go onto the image.
    """

    app: str
    context: Path
    dockerfile: Path
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    pull: bool = False


class Builder(Protocol):
    """A build type."""

    def prepare(self, app: str, build: Build, context: Path) -> Prepared:
        """Make the checked-out directory `context` ready. Safe to repeat.

        Raises `BuildError` when the Dockerfile or directory isn't there or lies outside.
        """


class Backend(Protocol):
    """A way to run a build on this host. One object serves several threads."""

    name: str

    def build(self, recipe: Recipe, job: Job) -> str:
        """Build, log each line of output, and return the image id (`sha256:…`).

        Raises `BuildError`, `RegistryUnavailable` (for a base image), `EngineUnavailable`,
        `DiskFull`, or the job's `Stopped` within half a second of its cancellation, with
        nothing of the build left running.
        """
