"""One daemon for each state: the second one waits, and takes over when the first one ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import Locked
from reconciler.host.job import Job
from reconciler.host.lock import locked
from reconciler.host.owner import current_owner, is_alive

NEVER = float("inf")


@contextmanager
def leading(state_dir: Path, job: Job, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lead for the block. The kernel ends it with the process, however that ends.

    `waiting` is told who leads, if somebody else does. Raises the job's `Stopped`.
    """
    path = state_dir / "daemon.lock"
    try:
        with locked(path, job, timeout=0):
            yield
            return
    except Locked:
        waiting(describe_leader(state_dir))
    with locked(path, job, NEVER):
        yield


def write_leader(state_dir: Path, about: dict[str, object]) -> None:
    """Say who leads now, for `status` and for people."""
    path = state_dir / "daemon.json"
    temporary = path.with_suffix(".new")
    document = {"owner": current_owner(), "pid": os.getpid(), **about}
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(path)


def read_leader(state_dir: Path) -> dict[str, object] | None:
    """What the daemon that leads now wrote about itself; None when there is none."""
    try:
        document: dict[str, object] = json.loads((state_dir / "daemon.json").read_bytes())
    except (OSError, ValueError):
        return None
    return None if is_alive(str(document.get("owner", ""))) is False else document


def describe_leader(state_dir: Path) -> str:
    """For people."""
    leader = read_leader(state_dir)
    return f"process {leader['pid']}" if leader else "another process"
