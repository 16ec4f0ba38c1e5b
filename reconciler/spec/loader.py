"""The one way to the spec: `apps.yaml` with what it includes, valid, or every mistake in it.

    load_spec(path)         what the commands and the daemon call
    load_text(bytes, name)  the same for bytes that are already at hand

An unchanged file comes from the cache (`cache`), which needs neither YAML nor pydantic; any other
is read by `assembly`. Relative paths in a file (`source.path`, `{file: …}`, bind mounts) start
from the directory of that file, also when they stand in `defaults`.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from reconciler.spec.cache import find_cached, keep, reuse_valid
from reconciler.spec.files import read_file
from reconciler.spec.loaded import LoadedSpec

__all__ = ["LoadedSpec", "load_spec", "load_text"]


def load_spec(path: Path, cache: Path | None = None) -> LoadedSpec:
    """Read the file at `path` and all that it includes. Raises `SpecError`.

    `cache`: directory that remembers the last valid spec; made if its parent is there.
    """
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
