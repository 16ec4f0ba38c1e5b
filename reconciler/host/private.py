"""A directory that only this user can read, for what ssh and the docker client want as files.

It is removed at the end. What a killed process left is removed by the next one: the owner holds a
lock on its directory as long as it lives.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import tempfile
import weakref
from pathlib import Path

_PREFIX = "reconciler-"
_SUFFIX = ".link"
_PLAIN_PATH = re.compile(r"[\w/.+-]{1,60}", re.ASCII)
"""A socket's path has 107 characters, of which ssh appends 17; and ssh gives a meaning to some."""


class PrivateDirectory:
    """`path` has mode 0700."""

    def __init__(self) -> None:
        usual = tempfile.gettempdir()
        self._base = usual if _PLAIN_PATH.fullmatch(usual) else "/tmp"  # noqa: S108 - mkdtemp below
        _sweep_once(self._base)
        self.path, lock = _make(self._base)
        self._end = weakref.finalize(self, _remove, self.path, lock)

    def write(self, name: str, text: str) -> Path:
        """A file of mode 0600; one that is there already is replaced."""
        path = self.path / name
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        return path

    def close(self) -> None:
        """Remove it. May be called again."""
        self._end()


def _make(base: str) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(_SUFFIX, _PREFIX, base))
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # somebody swept it before it was locked
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path, lock
        os.close(lock)


def _remove(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


@functools.cache
def _sweep_once(base: str) -> None:
    for path in Path(base).glob(f"{_PREFIX}*{_SUFFIX}"):
        try:
            _sweep(path)
        except OSError:
            continue  # in use, another user's, or gone meanwhile


def _sweep(path: Path) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
