"""Remembers the last valid spec, so that an unchanged file is neither parsed nor validated again.

One file for each main file: a checksum, and the spec as JSON. It counts when all of the files'
bytes, the files that `include` finds, and this program are the same. Anything odd about it, and
the spec is loaded properly. A spec with a password in a URL, or with what may be one, isn't
written down.

It is the last good one as well: what stays in force while the file is broken (`find_last`).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler import __version__
from reconciler.errors import SpecError
from reconciler.spec.files import find_included, read_file
from reconciler.spec.loaded import LoadedSpec, digest_files
from reconciler.spec.models import GitSource, Spec
from reconciler.spec.plain import from_plain, to_plain
from reconciler.spec.urls import has_credentials


def find_cached(path: Path, directory: Path) -> LoadedSpec | None:
    """The spec in the file at `path` (absolute), if it is the one that was kept last."""
    try:
        kept = _read_kept(_file_for(path, directory))
        if kept is None:
            return None
        files = _read_again(path, kept["spec"].get("include", ()))
        if kept["digest"] != digest_files(path, files):
            return None
    except (OSError, SpecError, _IncludesWronglyError):
        return None
    return _make_loaded(path, kept, tuple(files))


def is_unchanged(loaded: LoadedSpec) -> bool:
    """Whether its files, and those that `include` finds, still say the same."""
    try:
        files = _read_again(loaded.path, loaded.spec.include)
    except (SpecError, _IncludesWronglyError):
        return False
    return digest_files(loaded.path, files) == loaded.digest


def find_last(path: Path, directory: Path) -> LoadedSpec | None:
    """The last valid spec of the file at `path` (absolute), whatever that says now.

    Also one that another version of this program has kept.
    """
    try:
        kept = _read_kept(_file_for(path, directory), of_any_program=True)
        if kept is None:
            return None
        files = tuple(path.parent / name for name in kept["files"])
        return _make_loaded(path, kept, files)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _make_loaded(path: Path, kept: Mapping[str, Any], files: tuple[Path, ...]) -> LoadedSpec:
    spec = from_plain(Spec, kept["spec"])
    base_dirs = dict.fromkeys(spec.apps, path.parent)
    base_dirs.update((name, path.parent / place) for name, place in kept["base_dirs"].items())
    return LoadedSpec(spec, path, base_dirs, files, kept["digest"])


def reuse_valid(path: Path, directory: Path, data: Mapping[str, Any]) -> Spec | None:
    """The spec that `data` gives, when it differs from the last valid one in texts of `env` alone.

    Any text without NUL is valid there, so such an edit, the most frequent one, needs no
    validation.
    """
    try:
        kept = _read_kept(_file_for(path, directory))
        source = _read_kept(_source_file_for(path, directory))
    except OSError:
        return None
    if kept is None or source is None or kept["digest"] != source["digest"]:
        return None
    changed = _changed_texts(source["data"], data)
    if changed is None:
        return None
    for name, env in changed.items():
        kept["spec"]["apps"][name]["env"] = env
    return from_plain(Spec, kept["spec"])


def _changed_texts(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any] | None:
    """The new `env` of each app that differs; None when anything else differs as well.

    `old` was valid; `new` may be of any shape.
    """
    if {**old, "apps": None} != {**new, "apps": None} or not _same_keys(old["apps"], new["apps"]):
        return None
    changed = {}
    for name, app in new["apps"].items():
        before = old["apps"][name]
        if app == before:
            continue
        if not isinstance(app, dict) or {**app, "env": None} != {**(before or {}), "env": None}:
            return None
        was, env = (before or {}).get("env") or {}, app.get("env") or {}
        if not _same_keys(was, env) or not all(
            _is_text_for_text(was[key], env[key]) for key in env
        ):
            return None
        changed[name] = env
    return changed


def _same_keys(old: Any, new: Any) -> bool:
    return isinstance(old, dict) and isinstance(new, dict) and list(old) == list(new)


def _is_text_for_text(was: Any, value: Any) -> bool:
    both = isinstance(was, str) and isinstance(value, str)
    return was == value or (both and "\0" not in value)


def keep(loaded: LoadedSpec, data: Mapping[str, Any], directory: Path) -> None:
    """Remember a spec, and what the files said. Without a word if that isn't possible: nothing
    depends on it.
    """
    if _has_password(loaded.spec):
        return
    home = loaded.path.parent
    places = {
        name: os.path.relpath(place, home)
        for name, place in loaded.base_dirs.items()
        if place != home
    }
    kept = {
        "digest": loaded.digest,
        "base_dirs": places,
        "files": [os.path.relpath(file, home) for file in loaded.files],
        "spec": to_plain(loaded.spec),
    }
    with suppress(OSError):
        if not directory.is_dir():
            directory.mkdir(mode=0o700)
        _write_kept(_file_for(loaded.path, directory), kept)
        source = {"digest": loaded.digest, "data": data}
        _write_kept(_source_file_for(loaded.path, directory), source)


def _read_kept(path: Path, *, of_any_program: bool = False) -> dict[str, Any] | None:
    """What was kept there by this program, whole; None for anything else."""
    checksum, _, body = path.read_bytes().partition(b"\n")
    if checksum != _checksum(body):
        return None
    kept: dict[str, Any] = json.loads(body)
    return kept if of_any_program or kept["program"] == _program() else None


def _write_kept(path: Path, what: dict[str, Any]) -> None:
    document = {"program": _program(), **what}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    body = text.encode("utf-8", "surrogatepass")
    _replace(path, _checksum(body) + b"\n" + body)


class _IncludesWronglyError(Exception):
    """A pattern of `include` is wrong now."""


def _complain(_index: int, message: str, _hint: str) -> None:
    raise _IncludesWronglyError(message)


def _read_again(path: Path, patterns: Sequence[str]) -> dict[Path, bytes]:
    """All files of the spec. The patterns are the right ones if the main file is unchanged."""
    files = {path: read_file(path, "")}
    for name in find_included(patterns, path, _complain):
        files[path.parent / name] = read_file(path.parent / name, "")
    return files


def _file_for(path: Path, directory: Path) -> Path:
    return directory / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _source_file_for(path: Path, directory: Path) -> Path:
    return _file_for(path, directory).with_suffix(".data")


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _program() -> list[Any]:
    """What another version of this program, or of its source, has different."""
    source = Path(__file__).parent
    files = sorted(
        (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns)
        for entry in os.scandir(source)
        if entry.name.endswith(".py")
    )
    return [__version__, sys.version, str(source), [list(file) for file in files]]


def _has_password(spec: Spec) -> bool:
    urls = [app.source.git for app in spec.apps.values() if isinstance(app.source, GitSource)]
    if spec.notify and any(isinstance(url, str) for url in spec.notify.urls):
        return True  # where it has its token, only the service knows
    inherited = spec.defaults.get("source") or {}
    return any(has_credentials(url) for url in [*urls, inherited.get("git", "")])


def _replace(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read; nobody ever sees half of it."""
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
