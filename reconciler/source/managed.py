"""Recognises a work tree of the configuration repository (`worktree`), and reads what it is at.

Small, so that a path source doesn't pay for all of git.
"""

from __future__ import annotations

import re
from pathlib import Path

PLACE = "config"
BRANCH = "reconciler-branch"


def is_managed(top: Path, root: Path) -> bool:
    """Whether the repository around `top` is a work tree of ours, below the state directory."""
    return top.parent == root / PLACE


def read_commit(top: Path) -> str:
    """The commit of a work tree of ours; empty when there is none."""
    try:
        commit = (top / ".git/HEAD").read_text().strip()
    except OSError:
        return ""
    return commit if re.fullmatch(r"[0-9a-f]{40}", commit) else ""


def read_branch(top: Path) -> str:
    """The branch that its commit is from."""
    try:
        return (top / ".git" / BRANCH).read_text()
    except OSError:
        return ""
