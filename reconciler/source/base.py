"""What every source can do. One module a kind; `SOURCES` in the package lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from reconciler.errors import ReconcilerError
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.host.secrets import Secrets
from reconciler.spec.models import GitSource, ImageSource, PathSource
from reconciler.values import frozen


@frozen
class Wanted:
    """One app's source and the revision that its spec asks for."""

    app: str
    source: GitSource | PathSource | ImageSource
    revision: str | None = None


@frozen
class Resolved:
    """Which version that is now.

    `id`: full commit, or `sha256:…` digest; for a dirty directory `tree:<tree id>`.
    `name`: the branch, tag or version that led there, for people. `reference` is a pullable
    name for images (`repository@sha256:…`), empty otherwise.
    """

    id: str
    name: str
    reference: str = ""


@frozen
class Workplace:
    """Where sources keep what they fetch, and what they read secrets with.

    `root` is the state directory, `base_dir` the directory of `apps.yaml`; `engine` fetches
    images itself.
    """

    root: Path
    base_dir: Path
    secrets: Secrets
    engine: Engine


@frozen
class Placed:
    """What `place` brought: a build context on disk, or an image on the engine; never both."""

    context: Path | None = None
    image_id: str = ""


Outcome = Resolved | ReconcilerError
Version = tuple[Wanted, Resolved]
Content = Mapping[str, str]
"""Path → content id of `subdir` and each `watch` path; for an image `{"image": reference}`.
Equal ids, equal content."""


class Source(Protocol):
    """A kind of source. All methods may be called from several threads and processes at once."""

    def resolve_all(self, wanted: Sequence[Wanted], job: Job) -> Mapping[str, Outcome]:
        """Ask the outside which version each app's revision names now.

        One question for each distinct repository, side by side. Errors are values, so that one
        unreachable host doesn't hide the others.
        """

    def fingerprint_all(
        self, versions: Sequence[Version], job: Job
    ) -> Mapping[str, Content | ReconcilerError]:
        """What each app's source contains at its version; may fetch.

        Apps of one repository at one commit are looked up together. Errors are values:
        `SourceError`, `GitUnavailable` and so on.
        """

    def place(self, wanted: Wanted, resolved: Resolved, into: Path, job: Job) -> Placed:
        """Put the files of that version into the new directory `into`, or pull the image.

        The build context is `into / subdir`, checked to be a directory that is really inside.
        Safe to repeat after a crash: leftovers in `into` are removed first.
        """


MakeSource = Callable[[Workplace], Source]
