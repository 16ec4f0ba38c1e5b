"""A valid spec, and where it came from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from reconciler.spec.models import Spec
from reconciler.values import frozen


@frozen
class LoadedSpec:
    """A valid spec and where it came from.

    `path` is the main file, absolute. `base_dirs`: app name → absolute directory of the file
    that declares it, where its relative paths start. `files`: every file that was read, the main
    one first. `digest`: hex SHA-256 over their names and bytes; equal digest, equal spec.
    `revision`: the commit of the configuration repository that it is from; empty for a file.
    """

    spec: Spec
    path: Path
    base_dirs: Mapping[str, Path]
    files: tuple[Path, ...]
    digest: str
    revision: str = ""

    def base_dir(self, app_name: str) -> Path:
        """Where the relative paths of this app start; for an unknown app, the main file's."""
        return self.base_dirs.get(app_name, self.path.parent)

    def moved_to(self, path: Path) -> LoadedSpec:
        """The same spec, as though its main file were at `path` and the others beside it."""
        old, new = self.path.parent, path.parent

        def move(place: Path) -> Path:
            return new / place.relative_to(old)

        base_dirs = {name: move(place) for name, place in self.base_dirs.items()}
        files = (path, *map(move, self.files[1:]))
        return replace(self, path=path, base_dirs=base_dirs, files=files)


def digest_files(main: Path, files: Mapping[Path, bytes]) -> str:
    """Hex SHA-256 over the files' bytes and their names as seen from `main`'s directory."""
    digest = hashlib.sha256()
    for path, data in files.items():
        name = os.fsencode(os.path.relpath(path, main.parent))
        digest.update(b"%d %s %d %s" % (len(name), name, len(data), data))
    return digest.hexdigest()
