"""From an error to the end of a deployment: outcome, reason, and what is remembered of it."""

from __future__ import annotations

from reconciler.errors import (
    Cancelled,
    Interrupted,
    Killed,
    LeaseLost,
    ReconcilerError,
    Stopped,
    Transient,
)
from reconciler.pipeline.context import Context
from reconciler.queue import Ending
from reconciler.state.apps import FailedTry

OUTCOMES: tuple[tuple[type[ReconcilerError], str], ...] = (
    (Cancelled, "cancelled"),
    (Killed, "killed"),
    (Interrupted, "interrupted"),
)


def stop_reason(how: str, app: str) -> Stopped:
    """The error for what `queue.read_stop` tells: cancel, kill or lost."""
    if how == "cancel":
        return Cancelled("cancelled by hand", app=app)
    if how == "kill":
        return Killed("killed by hand", app=app)
    return LeaseLost("another process took the deployment over", app=app)


def describe_end(context: Context, error: Exception, *, restored: bool) -> Ending:
    """How a deployment that met `error` ends. `restored`: an old container serves again."""
    what = error.what if isinstance(error, ReconcilerError) else f"internal error: {error!r}"
    reason = context.tools.redactor.hide(what)
    outcome = "rolled_back" if restored else "failed"
    for kind, name in OUTCOMES:
        if isinstance(error, kind):
            outcome = name
    todo = context.tools.redactor.hide(getattr(error, "todo", ""))
    return Ending(outcome, reason, FailedTry(reason, _retry_at(context, error)), todo)


def _retry_at(context: Context, error: Exception) -> float | None:
    """Keeps the count of earlier tries at the same target.

    What is healed has worked before, so whatever keeps it from working now may pass: a database
    that isn't up yet, or somebody who killed the new container as well.
    """
    attempts = context.tools.store.count_failures(context.name, context.row.target) + 1
    if context.row.kind == "heal" and not isinstance(error, Stopped | Transient):
        error = Transient(str(error))
    delay = context.tools.retry_delay(error, attempts)
    return None if delay is None else context.tools.clock() + delay
