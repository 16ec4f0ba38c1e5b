"""Where the spec comes from, and how it is edited: a file here, or a repository.

load   the newest spec, with its revision     edit   change its files, and keep that
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from reconciler.spec.loaded import LoadedSpec

Change = Callable[[Mapping[Path, bytes]], Mapping[Path, bytes]]
"""From the spec's files (the main one first) to those that are different now."""


class Configuration(Protocol):
    """A place where a spec is kept. Safe to use from several threads."""

    @property
    def place(self) -> str:
        """For people, and its key in the state: a path, or URL, branch and path; no secret."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files here whose edits are edits of the spec; empty for a repository."""

    def load(self) -> LoadedSpec:
        """The newest spec; what it is written in is up to date afterwards.

        Raises `SpecError` for an invalid one, `GitUnavailable` and so on.
        """

    def edit(self, change: Change, message: str) -> str:
        """Change the spec's files at once, all or none; the revision that has the change.

        A file is replaced atomically. A repository gets a commit, pushed, and made again on the
        newest version when somebody else was faster. Nothing is written when the changed spec is
        invalid (`SpecError`). `message`: why, for the commit.
        """
