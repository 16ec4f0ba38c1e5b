"""A time limit for a part of a job."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from reconciler.errors import TimedOut
from reconciler.host.job import Cancellation, Job


@contextmanager
def limited(job: Job, seconds: float) -> Iterator[Job]:
    """The same job, cancelled with `TimedOut` after `seconds`, and with `job` itself.

    Who catches that `TimedOut` asks `job.cancel.check()` first: the whole job may have been
    ended for the same reason.
    """
    own = Cancellation()
    reason = TimedOut(f"it took longer than {seconds:g} s", app=job.app)
    timer = threading.Timer(seconds, own.cancel, (reason,))
    timer.daemon = True

    def pass_on() -> None:
        if job.cancel.reason is not None:
            own.cancel(job.cancel.reason)

    timer.start()
    try:
        with job.cancel.interrupting(pass_on):
            yield replace(job, cancel=own)
    finally:
        timer.cancel()
