"""Where the spec comes from, and how it is edited: a file here, or a repository.

load   the newest spec, with its revision     edit   change its files, and keep that

config_file   a file      config_repo   a repository      kept   the last good one of either
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from reconciler.errors import ReadOnly
from reconciler.spec.loaded import LoadedSpec
from reconciler.values import frozen

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


class Lasting(Configuration, Protocol):
    """One that remembers its last valid spec, also after a restart."""

    def in_force(self) -> LoadedSpec | None:
        """The last valid spec, without asking anybody for a newer one; None before there is any."""


@frozen
class Unchangeable:
    """A configuration that may only be read; `reason` is why, for people."""

    inner: Lasting
    reason: str

    @property
    def place(self) -> str:
        return self.inner.place

    @property
    def files(self) -> tuple[Path, ...]:
        return self.inner.files

    def load(self) -> LoadedSpec:
        return self.inner.load()

    def in_force(self) -> LoadedSpec | None:
        return self.inner.in_force()

    def edit(self, change: Change, message: str) -> str:  # noqa: ARG002 - as the protocol has it
        """Raises `ReadOnly`."""
        raise ReadOnly(
            f"the spec isn't edited from here: {self.reason}",
            todo=f"Edit it where it is kept: {self.place}.",
        )


def ask_change(change: Change, texts: Mapping[Path, bytes]) -> dict[Path, bytes]:
    """The files that `change` really makes different. Raises ValueError for one that isn't there:
    which files a spec has is said in the spec.
    """
    changed = {path: text for path, text in change(texts).items() if text != texts.get(path)}
    if strange := changed.keys() - texts.keys():
        raise ValueError(f"no file of the spec: {', '.join(map(str, strange))}")
    return changed
