"""What `doctor` has found: one check each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from reconciler.errors import ReconcilerError
from reconciler.values import frozen

LOW_DISK_BYTES = 1 << 30


@frozen
class Finding:
    """One check. `level`: ok, warning, error, or unknown where it can't be seen from here; `todo`:
    what to do about it."""

    level: str
    subject: str
    text: str
    todo: str = ""


def guarded(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What the check finds; an error of it is a finding as well."""
    try:
        yield from check()
    except ReconcilerError as error:
        yield Finding("error", subject, error.what, error.todo)


def measure_space(subject: str, directory: Path) -> Iterator[Finding]:
    """How much is free."""
    free = shutil.disk_usage(directory).free
    text = f"{directory} has {free >> 20} MiB free"
    if free < LOW_DISK_BYTES:
        todo = "Free space; `reconcile gc --dry-run` shows what could go."
        yield Finding("warning", subject, text, todo)
    else:
        yield Finding("ok", subject, text)
