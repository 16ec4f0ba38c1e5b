"""Locks between processes and threads, on files, that end with their holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import Locked
from reconciler.host.job import Job

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1


@contextmanager
def locked(path: Path, job: Job, timeout: float = 600, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock on `path` (flock(2)) for the block; `shared` goes with other shared ones.

    The kernel releases it when the holder dies. The file stays: removing it would let two
    processes lock two different files of one name. Not reentrant.
    Raises `Locked` after `timeout` seconds, and the job's `Stopped` as soon as it is cancelled.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, job, timeout)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, kind: int, job: Job, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    job.cancel.check()
    while not _try(descriptor, kind):
        if time.monotonic() > deadline:
            raise Locked(
                f"another process has been working on the same source for {timeout:g} s",
                app=job.app,
                todo="Wait for it, or look for a reconcile or git process that hangs.",
            )
        job.cancel.wait(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
