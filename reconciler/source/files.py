"""Directories of ours: emptied, made, and looked at without following a link out of them."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import DiskFull, SourceError, Stalled


@contextmanager
def writing(app: str) -> Iterator[None]:
    """Turn what a file system refuses into `DiskFull` or `Stalled`."""
    try:
        yield
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        reason = f"{error.strerror or error}{where}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no space is left: {reason}",
                app=app,
                todo="Free space in the state directory's file system.",
            ) from error
        raise Stalled(
            f"the source's files can't be written: {reason}",
            app=app,
            todo="Let the user who runs reconcile write the state directory.",
        ) from error


def make_empty(directory: Path) -> None:
    """A new directory, whatever was there before."""
    remove(directory)
    directory.mkdir(parents=True)


def remove(path: Path) -> None:
    """Remove a file or a directory with what is in it; a link, not what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def inside(root: Path, relative: str, app: str) -> Path:
    """The real directory at `root / relative`. Raises `SourceError` when it leads out of `root`."""
    top = root.resolve()
    try:
        found = (top / relative).resolve(strict=True)
    except (OSError, RuntimeError):
        raise SourceError(
            f"the source has no directory {relative}", app=app, todo="Correct source.subdir."
        ) from None
    if not found.is_relative_to(top):
        raise SourceError(
            f"{relative} leads out of the source through a symbolic link",
            app=app,
            todo="Put the directory itself into the source.",
        )
    if not found.is_dir():
        raise SourceError(
            f"{relative} is a file, and a build context is a directory",
            app=app,
            todo="Correct source.subdir.",
        )
    return found
