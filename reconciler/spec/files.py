"""Files of the spec: reading one, and finding what `include` names."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from reconciler.errors import Problem, SpecError

MAX_BYTES = 2 << 20
_WILD = frozenset("*?[")


def read_file(path: Path, name: str) -> bytes:
    """The bytes of a file, at most one more than the limit.

    Only regular files: a pipe that nobody writes to would block for ever. Raises `SpecError`
    with the reason; `name` stands for the file in it.
    """
    message, hint = "", ""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            if path.is_dir():
                message, hint = "this is a directory", "name the file in it"
            else:
                message = "this is not a regular file"
        else:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        message, hint = "there is no such file", "`reconcile init` writes one to start from"
    except OSError as error:
        message = f"can't be read: {error.strerror}"
    except ValueError:
        message = "can't be read: that is not a file's name"
    raise SpecError([Problem(name, 0, 0, "", message, hint)])


Complain = Callable[[int, str, str], None]
"""Called with a pattern's index, what is wrong with it, and a hint."""


def find_included(patterns: Sequence[str], main: Path, complain: Complain) -> list[str]:
    """Names of the files that the patterns match, relative to `main`'s directory, sorted.

    `main` itself and directories are passed over. A pattern without wildcard that matches
    nothing is wrong, and so is what a symbolic link leads outside; an empty one is passed over.
    """
    root = os.path.realpath(main.parent)
    seen = {os.path.realpath(main)}
    found: list[str] = []
    for index, pattern in enumerate(patterns):
        if not pattern:
            continue
        if "**" in pattern:
            complain(index, "'**' isn't possible", "write one * for each directory")
            continue
        matches = _match(pattern, root)
        if not matches and _WILD.isdisjoint(pattern):
            complain(index, f"there is no file {pattern}", "")
        for relative in matches:
            real = os.path.realpath(os.path.join(root, relative))  # noqa: PTH118
            if os.path.commonpath([root, real]) != root:
                message = f"{relative} leads outside this file's directory by a symbolic link"
                complain(index, message, "")
            elif real not in seen:
                seen.add(real)
                found.append(relative)
    return sorted(found)


def _match(pattern: str, root: str) -> list[str]:
    from glob import glob

    wild = not _WILD.isdisjoint(pattern)
    matches = sorted(glob(pattern, root_dir=root))  # noqa: PTH207 - no hidden files
    return [one for one in matches if not (wild and os.path.isdir(os.path.join(root, one)))]  # noqa: PTH112, PTH118
