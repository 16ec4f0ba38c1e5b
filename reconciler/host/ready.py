"""Whether the daemon of this container is ready, for the HEALTHCHECK, which is another process.

The daemon holds a lock on the file of `RECONCILE_READY_FILE` from the moment at which it leads or
stands by; the kernel lets go of it when the process ends, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "RECONCILE_READY_FILE"

_held: list[int] = []


def hold_ready(environ: Mapping[str, str] = os.environ) -> None:
    """Say so from now on, until this process ends. Does nothing where nobody asks."""
    path = environ.get(VARIABLE, "")
    if not path or _held:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _held.append(descriptor)


def is_ready(environ: Mapping[str, str] = os.environ) -> bool | None:
    """Whether a process says so now; None where nobody asks."""
    path = environ.get(VARIABLE, "")
    if not path:
        return None
    if not Path(path).exists():
        return False
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
