"""Build type `dockerfile`: the Dockerfile that the source brings."""

from __future__ import annotations

from pathlib import Path

from reconciler.builder.base import Prepared
from reconciler.errors import BuildError
from reconciler.spec.models import Build

_MOST_CANDIDATES = 4
_DEEPEST = 3


class DockerfileBuilder:
    """Uses `build.dockerfile` as it is."""

    def prepare(self, app: str, build: Build, context: Path) -> Prepared:
        """Check that it is a file inside the context."""
        root = context.resolve()
        path = resolve_inside(root, build.dockerfile, app, "build.dockerfile")
        if not path.is_file():
            raise _missing(root, build.dockerfile, app)
        return Prepared(root, path)


def resolve_inside(root: Path, relative: str, app: str, field: str) -> Path:
    """The path with all symlinks followed. Raises `BuildError` when it leads out of `root`."""
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise BuildError(
            f"{field} is {relative!r}, which leads out of the build context",
            app=app,
            todo="Put the file itself into the context; a symlink to the outside isn't followed.",
        )
    return path


def _missing(root: Path, wanted: str, app: str) -> BuildError:
    found = find_dockerfiles(root)
    todo = "Commit one, or set source.subdir, build.dockerfile or build.static."
    if found:
        todo = f"Set build.dockerfile to what is there ({', '.join(found)}), or commit {wanted}."
    return BuildError(f"the build context has no {wanted!r}", app=app, todo=todo)


def find_dockerfiles(root: Path) -> list[str]:
    """What looks like a Dockerfile down to three levels, the nearest first; at most four."""
    found: list[str] = []
    level = [root]
    for _ in range(_DEEPEST):
        entries = sorted(entry for folder in level for entry in folder.iterdir())
        found += [str(e.relative_to(root)) for e in entries if _looks_right(e) and e.is_file()]
        level = [e for e in entries if e.is_dir() and not e.is_symlink() and e.name != ".git"]
    return found[:_MOST_CANDIDATES]


def _looks_right(entry: Path) -> bool:
    name = entry.name.lower()
    is_one = name in ("dockerfile", "containerfile") or name.startswith("dockerfile.")
    return (is_one or name.endswith(".dockerfile")) and not name.endswith(".dockerignore")
