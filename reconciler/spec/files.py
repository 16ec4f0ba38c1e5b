"""Files of the spec: reading one, and finding what `include` names."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from reconciler.errors import Problem
from reconciler.spec.nodes import MAX_BYTES
from reconciler.spec.reading import Node, Reading

_WILD = frozenset("*?[")


def read_file(path: Path, name: str, to: Reading) -> bytes | None:
    """The bytes of a file, at most one more than the limit; None with the reason reported.

    Only regular files: a pipe that nobody writes to would block for ever.
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
    to.problems.append(Problem(name, 0, 0, "", message, hint))
    return None


def find_included(patterns: Sequence[tuple[str, Node]], main: Path, to: Reading) -> list[str]:
    """Names of the files that the patterns match, relative to `main`'s directory, sorted.

    `main` itself and directories are passed over. Reports a pattern without wildcard that
    matches nothing, and what a symbolic link leads outside.
    """
    root = os.path.realpath(main.parent)
    seen = {os.path.realpath(main)}
    found: dict[str, str] = {}
    for index, (pattern, node) in enumerate(patterns):
        at = f"include[{index}]"
        for relative in _match(pattern, root, node, at, to):
            real = os.path.realpath(os.path.join(root, relative))  # noqa: PTH118
            if os.path.commonpath([root, real]) != root:
                message = f"{relative} leads outside this file's directory by a symbolic link"
                to.wrong(node, at, message)
            elif real not in seen:
                seen.add(real)
                found[relative] = real
    return sorted(found)


def _match(pattern: str, root: str, node: Node, at: str, to: Reading) -> list[str]:
    if "**" in pattern:
        to.wrong(node, at, "'**' isn't possible", "write one * for each directory")
        return []
    from glob import glob

    wild = not _WILD.isdisjoint(pattern)
    matches = sorted(glob(pattern, root_dir=root))  # noqa: PTH207 - no hidden files
    if not matches and not wild:
        to.wrong(node, at, f"there is no file {pattern}")
    return [one for one in matches if not (wild and os.path.isdir(os.path.join(root, one)))]  # noqa: PTH112, PTH118
