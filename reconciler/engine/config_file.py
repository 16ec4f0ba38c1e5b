"""A spec in a file here."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from reconciler.engine.configuration import Change, ask_change
from reconciler.errors import Locked, ReadOnly, ReconcilerError
from reconciler.host.job import Job
from reconciler.host.lock import locked
from reconciler.source.files import make_empty, remove, writing
from reconciler.spec.cache import find_last
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.loader import Draft, load_draft, load_spec

TRIES = 5
LOCK_SECONDS = 30.0
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)
"""EBUSY: the file is a mount of its own."""


class ConfigFile:
    """`file` (absolute) with what it includes. `state_dir` has the cache, and the editors' lock."""

    def __init__(self, file: Path, state_dir: Path) -> None:
        self.file = file
        self._state_dir = state_dir
        self._cache = state_dir / "spec"
        self._last: LoadedSpec | None = None
        self._loaded: LoadedSpec | None = None

    @property
    def place(self) -> str:
        return str(self.file)

    @property
    def files(self) -> tuple[Path, ...]:
        return self._last.files if self._last else (self.file,)

    def load(self) -> LoadedSpec:
        self._last = self._loaded = load_spec(self.file, self._cache, self._loaded)
        return self._last

    def in_force(self) -> LoadedSpec | None:
        """The last valid one, whatever the file says now; None when nothing is remembered."""
        self._last = self._last or find_last(self.file, self._cache)
        return self._last

    def edit(self, change: Change, message: str) -> str:  # noqa: ARG002 - a file has no messages
        with writing(""):
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self._beside(".lock"), Job(), LOCK_SECONDS):
            for _ in range(TRIES):
                loaded = self.load()
                texts = {path: path.read_bytes() for path in loaded.files}
                changed = ask_change(change, texts)
                if not changed:
                    return loaded.revision
                draft = self._check({**texts, **changed})
                if self._write(texts, changed):
                    draft.keep(self._cache)
                    return draft.loaded.revision
        raise Locked(
            f"{self.file} changed each time that it was about to be edited",
            todo="Try again when nobody else edits it.",
        )

    def _beside(self, suffix: str) -> Path:
        """Of ours, for this file."""
        key = hashlib.sha256(os.fsencode(os.path.realpath(self.file))).hexdigest()[:32]
        return self._state_dir / "config" / f"{key}{suffix}"

    def _check(self, texts: Mapping[Path, bytes]) -> Draft:
        """The changed spec, read from copies of its files. Raises `SpecError`."""
        home = self.file.parent
        directory = self._beside(".draft")
        make_empty(directory)
        try:
            for path, text in texts.items():
                copy = directory / path.relative_to(home)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(text)
            return load_draft(directory / self.file.name, self.file, str(self.file))
        finally:
            remove(directory)

    def _write(self, before: Mapping[Path, bytes], changed: Mapping[Path, bytes]) -> bool:
        """Replace the files; False, and nothing is changed, when one isn't as it was `before`.

        Raises `ReadOnly` where this process may not, `ReconcilerError` when it isn't possible, and
        what was replaced is put back.
        """
        written: list[Path] = []
        ready: dict[Path, Path] = {}
        try:
            for path, text in changed.items():
                real = Path(os.path.realpath(path))
                ready[real] = _write_beside(real, text)
            if any(path.read_bytes() != text for path, text in before.items()):
                return False
            for (real, temporary), path in zip(ready.items(), changed, strict=True):
                temporary.replace(real)
                written.append(path)
                _sync_directory(real.parent)
        except OSError as error:
            for path in written:
                real = Path(os.path.realpath(path))
                _write_beside(real, before[path]).replace(real)
            kind = ReadOnly if error.errno in _NOT_WRITABLE else ReconcilerError
            raise kind(
                f"{error.filename or self.file} can't be replaced: {error.strerror}",
                todo="Let the user who runs reconcile write the file's directory; a file that is "
                "mounted into a container can't be replaced, so mount its directory.",
            ) from error
        finally:
            for temporary in ready.values():
                temporary.unlink(missing_ok=True)
        return True


def _write_beside(real: Path, text: bytes) -> Path:
    """A file in the same directory with the mode and the owner of `real`, safe on the disk."""
    old = real.stat()
    if not os.access(real, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", str(real))
    temporary = real.with_name(f".{real.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, old.st_mode & 0o7777)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
