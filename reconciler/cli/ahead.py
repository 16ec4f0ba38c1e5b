"""Loads the spec in a second process while this one imports what it is going to need.

A changed file costs YAML, pydantic and its schema, as much as all other imports of `apply`
together. With a second core both take place at once: the child leaves the valid spec in the
cache, where this process finds it. Nothing depends on the child; without it, or when it failed,
the spec is loaded here, and its mistakes are told here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from reconciler.spec.cache import find_cached
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.loader import load_spec


@dataclass
class Loading:
    """A spec on its way. `child` is 0 where there is none."""

    path: Path
    cache: Path
    child: int = 0
    found: LoadedSpec | None = None

    def result(self) -> LoadedSpec:
        """The spec. Raises `SpecError`."""
        if self.child:
            os.waitpid(self.child, 0)
            self.child = 0
        return self.found or load_spec(self.path, self.cache)


def start_loading(path: Path, cache: Path) -> Loading:
    """Must be called while the process has a single thread."""
    found = find_cached(path, cache)
    loading = Loading(path, cache, found=found)
    if found is None and (os.cpu_count() or 1) > 1 and cache.parent.is_dir():
        loading.child = os.fork()
        if loading.child == 0:
            _load_and_leave(path, cache)
    return loading


def _load_and_leave(path: Path, cache: Path) -> None:
    """What the child does; it shares stdout and stderr, and so says nothing."""
    try:
        load_spec(path, cache)
    finally:
        os._exit(0)
