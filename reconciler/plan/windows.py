"""When changes may be made, and when an image is to be built again.

An app with windows is open inside an `allow` (or always, without any) and outside every `deny`.
A window begins when its cron expression fires, and lasts as long on the clock's hands or not: 8h
are eight hours, also in the night in which the clocks change.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from reconciler.plan.actions import Action
from reconciler.plan.changing import distributing, pushing, swapping
from reconciler.plan.states import DesiredApp
from reconciler.plan.view import View
from reconciler.spec.cron import last_fire, next_fire
from reconciler.spec.models import Window
from reconciler.spec.scalars import seconds

HELD_OUTSIDE = ("deploy", "restart", "redeploy", "scale", "move", "push")
"""Kinds that are changes. Healing, and removing what is gone from the spec, are none."""

_MOST_STEPS = 400
"""A search for the next opening looks at so many windows."""


def keep_to_windows(view: View, action: Action) -> Action:
    """The action, or a hold when it is a change outside of the app's windows."""
    windows = view.desired.windows if view.desired else ()
    if not windows or action.kind not in HELD_OUTSIDE or is_open(windows, view.now):
        return action
    opens = next_opening(windows, view.now)
    when = f"opens at {opens:%Y-%m-%d %H:%M} UTC" if opens else "no opening is in sight"
    todo = f"`reconcile deploy {view.name}` doesn't wait for it."
    causes = (f"outside its windows; {when}", *action.causes)
    return Action(view.app, "hold", causes, until=opens, todo=todo, lasting=True)


def is_open(windows: Sequence[Window], moment: datetime) -> bool:
    """Whether changes may be made at this moment."""
    allowed = [one for one in windows if one.allow is not None]
    if allowed and not any(_ends(one, moment) for one in allowed):
        return False
    return not any(_ends(one, moment) for one in windows if one.deny is not None)


def next_opening(windows: Sequence[Window], after: datetime) -> datetime | None:
    """The first moment from `after` on at which changes may be made; None when none is in sight."""
    allowed = [one for one in windows if one.allow is not None]
    denied = [one for one in windows if one.deny is not None]
    moment = after
    for _ in range(_MOST_STEPS):
        if ends := [end for one in denied if (end := _ends(one, moment))]:
            moment = max(ends)
        elif allowed and not any(_ends(one, moment) for one in allowed):
            starts = [next_fire(_cron(one), one.tz, moment) for one in allowed]
            moment = min(start for start in starts if start is not None)
        else:
            return moment
    return None


def _ends(window: Window, moment: datetime) -> datetime | None:
    """When the window that covers this moment ends; None when none does."""
    start = last_fire(_cron(window), window.tz, moment)
    end = start and start + timedelta(seconds=seconds(window.lasts))
    return end if end and end > moment else None


def _cron(window: Window) -> str:
    return window.allow or window.deny or ""


def rebuild(view: View, desired: DesiredApp) -> Action | None:
    """A build of the same version, when the schedule has fired since the last build.

    One that was missed is caught up with once. An image from a registry needs none: its tag is
    resolved in every pass.
    """
    due = next_rebuild(view)
    if due is None or due > view.now or desired.schedule is None:
        return None
    cause = f"schedule {desired.schedule.cron} was due at {due:%Y-%m-%d %H:%M} UTC"
    stages = (
        "clone",
        "build",
        *pushing(desired),
        *distributing(view, desired, new=True),
        *swapping(desired),
    )
    return Action(view.app, "redeploy", (cause,), stages)


def next_rebuild(view: View) -> datetime | None:
    """When the schedule fires for the first time after the last build."""
    desired, built = view.desired, view.recorded.built_at
    if desired is None or desired.schedule is None or built is None or not desired.builds:
        return None
    return next_fire(desired.schedule.cron, desired.schedule.tz, built)
