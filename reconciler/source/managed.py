"""Recognises a work tree of the configuration repository (`worktree`), and reads what it is at.

Small, so that a path source doesn't pay for all of git.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from reconciler.source.address import parse_address

PLACE = "config"
BRANCH = "reconciler-branch"
DEFAULT_BRANCH = "default branch"


def name_place(url: str, branch: str, path: str) -> str:
    """A configuration's place: for people, and its key in the state; no secret."""
    return f"{parse_address(url).url}, {branch or DEFAULT_BRANCH}, {path}"


def split_place(place: str) -> tuple[str, str]:
    """URL and branch of a place that `name_place` named; the branch is empty for the default."""
    url, branch, _path = place.rsplit(", ", 2)
    return url, "" if branch == DEFAULT_BRANCH else branch


def tree_key(place: str) -> str:
    """The name of the place's work tree."""
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:32]


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
