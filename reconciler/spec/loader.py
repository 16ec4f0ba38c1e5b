"""The one way to the spec: `apps.yaml` with what it includes, valid, or every mistake in it.

    load_spec(path)         what the commands and the daemon call
    load_text(bytes, name)  the same for bytes that are already at hand
    load_draft(path, home)  the same for files that are going to be somewhere else

An unchanged file comes from the cache (`cache`), which needs neither YAML nor pydantic; any other
is read by `assembly`. Relative paths in a file (`source.path`, `{file: …}`, bind mounts) start
from the directory of that file, also when they stand in `defaults`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from reconciler.spec.cache import find_cached, is_unchanged, keep, reuse_valid
from reconciler.spec.files import read_file
from reconciler.spec.loaded import LoadedSpec
from reconciler.values import frozen

__all__ = ["Draft", "LoadedSpec", "load_draft", "load_spec", "load_text"]


def load_spec(path: Path, cache: Path | None = None, known: LoadedSpec | None = None) -> LoadedSpec:
    """Read the file at `path` and all that it includes. Raises `SpecError`.

    `cache`: directory that remembers the last valid spec; made if its parent is there. `known`:
    what was loaded from there before, which is the answer while its files say the same.
    """
    if known and known.path == path.absolute() and is_unchanged(known):
        return known
    found = find_cached(path.absolute(), cache) if cache else None
    if found:
        return found
    data = read_file(path, str(path))
    from reconciler.spec.assembly import Assembly

    assembly = Assembly(path.absolute(), str(path))
    if cache:
        assembly.reuse = partial(reuse_valid, path.absolute(), cache)
    loaded = assembly.run(data)
    if cache:
        keep(loaded, assembly.data, cache)
    return loaded


def load_text(text: bytes, name: str, directory: Path | None = None) -> LoadedSpec:
    """The same for bytes; `name` stands for the file in messages.

    Included files and relative paths are looked for in `directory`, by default where the
    process is. Raises `SpecError`.
    """
    from reconciler.spec.assembly import Assembly

    path = (directory or Path()).absolute() / os.path.basename(name)  # noqa: PTH119
    return Assembly(path, name).run(text)


@frozen
class Draft:
    """A valid spec that isn't in its place yet; `loaded` is as though it were."""

    loaded: LoadedSpec
    data: Mapping[str, Any]

    def keep(self, cache: Path) -> None:
        """Remember it, once it is in its place."""
        keep(self.loaded, self.data, cache)


def load_draft(path: Path, home: Path, name: str) -> Draft:
    """Read the file at `path` and what it includes, which are going to be at `home`.

    `name` stands for the main file in messages. Raises `SpecError`.
    """
    from reconciler.spec.assembly import Assembly

    assembly = Assembly(path, name)
    loaded = assembly.run(read_file(path, name))
    return Draft(loaded.moved_to(home), assembly.data)
