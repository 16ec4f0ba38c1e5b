"""Who is told when an app's state changes, and of which changes."""

# No `from __future__ import annotations`: annotations are read when the class is made.

import re
from typing import Annotated, Literal

from reconciler.spec.declare import OneOf, Section, Text, about, section
from reconciler.spec.sources import EnvRef, FileRef

NotifyEvent = Literal["failed", "rolled_back", "recovered", "held"]
EVENTS: tuple[NotifyEvent, ...] = ("failed", "rolled_back", "recovered", "held")


def _url(text: str) -> str:
    """What it stands for is apprise's to judge. Shows nothing of it: most of them hold a token."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^\x00-\x20\x7f]+", text):
        raise ValueError("expected an apprise URL, such as mailto://… or slack://…")
    return text


NotifyUrl = Annotated[
    Annotated[
        str,
        Text(
            _url,
            expects="an apprise URL",
            pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^\x00-\x20\x7f]+$",
            plural="apprise URLs",
            hidden=True,
        ),
    ]
    | EnvRef
    | FileRef,
    OneOf(),
]
"""A URL as apprise knows them, or a reference to one."""


@section
class Notify(Section):
    """Who is told when an app's state changes: one message for each change."""

    urls: tuple[NotifyUrl, ...] = about(
        "Where messages go, as apprise URLs; better by reference, as most hold a token.",
        [{"env": "NOTIFY_URL"}, {"file": "/run/secrets/notify_url"}],
        ["mailto://user:password@example.com"],
        repr=False,
        min_length=1,
    )
    events: tuple[NotifyEvent, ...] = about(
        "Which changes are told: failed, rolled_back, recovered, held.",
        ["failed", "rolled_back"],
        default=EVENTS,
    )
