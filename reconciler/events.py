"""What happened, as data. Everything that shows or stores progress reads these.

Kinds, and what `data` holds beside `app` and `deployment`:

    queued      cause, kind
    started     attempt, resumed (bool)
    stage       stage, status: running | done | skipped | failed, seconds
    finished    outcome, reason, seconds
    progress    stage, text      (only shown, never stored)
    held_back   action, cause    (from now on the loop leaves the app alone for a while)
    recorded    cause            (a pass wrote something down without a deployment)
    notice      status: sent | failed | dropped, title, reason      (of a message to people)

About the project, with an empty `app`:

    proxy       cause            (the proxy wasn't as it shall be, and was corrected)

About the configuration, with an empty `app`:

    accepted    place, revision, before, recovered   (another version of the spec is in force)
    refused     place, revision, problem, kept (bool), in_force   (a newer one can't be used)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field

from reconciler.values import frozen


@frozen
class Event:
    """One thing that happened to one app. Times are added by whoever stores it."""

    kind: str
    app: str
    deployment: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """A listener for callers that show nothing."""
