"""A build context as a tar stream, for the classic builder: nothing is written to a disk, and a
large context can be cancelled in the middle.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.builder.base import Recipe
from reconciler.errors import BuildError
from reconciler.host.job import Job

if TYPE_CHECKING:
    import tarfile

_CHUNK = 1 << 20
_BLOCK = 512
_RECORD = 20 * _BLOCK
"""A tar archive is written in blocks, and ends with zeros up to a whole record."""

_IGNORE_FILE = ".dockerignore"


def read_ignored(path: Path) -> list[str]:
    """The patterns of an ignore file, without comments and empty lines; [] when it isn't there."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except (FileNotFoundError, IsADirectoryError):
        return []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def ignored_patterns(recipe: Recipe) -> list[str]:
    """What the context leaves out: `<Dockerfile>.dockerignore` if there is one, as BuildKit
    does, else the context's `.dockerignore`."""
    own = recipe.dockerfile.with_name(f"{recipe.dockerfile.name}{_IGNORE_FILE}")
    return read_ignored(own if own.is_file() else recipe.context / _IGNORE_FILE)


def tar_context(recipe: Recipe, job: Job) -> Iterator[bytes]:
    """The context, less what is ignored, in pieces. Raises `BuildError` for unreadable files.

    The Dockerfile itself is always sent. So is the list of patterns, as the context's
    `.dockerignore`: by it the engine leaves an ignored Dockerfile out of what COPY sees.
    """
    import tarfile

    patterns = ignored_patterns(recipe)
    archive = tarfile.TarFile(fileobj=io.BytesIO(), mode="w")
    try:
        for name in _walk(recipe, patterns):
            job.cancel.check()
            if name != _IGNORE_FILE:
                yield from _entry(archive, recipe.context, name)
        if patterns:
            yield _text_entry(_IGNORE_FILE, "\n".join(patterns) + "\n")
    except OSError as error:
        raise BuildError(
            f"{error.filename or 'a file'} in the build context can't be read: {error.strerror}",
            app=recipe.app,
            todo="Correct the file, or name it in .dockerignore.",
        ) from error
    yield b"\0" * _RECORD


def _walk(recipe: Recipe, patterns: Iterable[str]) -> Iterator[str]:
    from docker.utils.build import PatternMatcher

    dockerfile = recipe.dockerfile.relative_to(recipe.context).as_posix()
    matcher = PatternMatcher([*patterns, f"!{dockerfile}"])
    yield from matcher.walk(str(recipe.context))


def _entry(archive: tarfile.TarFile, root: Path, name: str) -> Iterator[bytes]:
    """One file, directory or link. Owners are root, as the docker CLI sends them."""
    from tarfile import PAX_FORMAT

    path = root / name
    info = archive.gettarinfo(str(path), arcname=name)
    if info is None:  # a socket
        return
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = int(max(info.mtime, 0))
    yield info.tobuf(PAX_FORMAT)
    if info.isreg():
        yield from _content(path, info.size)


def _content(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left and (chunk := file.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk
    if left:
        raise OSError(0, "it became shorter while it was read", os.fspath(path))
    yield b"\0" * (-size % _BLOCK)


def _text_entry(name: str, text: str) -> bytes:
    import tarfile

    content = text.encode()
    info = tarfile.TarInfo(name)
    info.size = len(content)
    padding = b"\0" * (-len(content) % _BLOCK)
    return info.tobuf(tarfile.PAX_FORMAT) + content + padding
