"""What is worth a message: the way from what was told last to how an app stands now. Pure.

    well ──▶ failed | rolled_back | blocked | flapping ──▶ well again: recovered
      └────▶ held (told once, and its end isn't told)

A message is sent when the state changes, never because time goes by: the same failure tried again
is the same state. An app that is on its way to somewhere stands where it stood.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from reconciler.plan.actions import DEPLOYING, Action
from reconciler.spec.notify import NotifyEvent
from reconciler.values import frozen

BLOCK_PATIENCE_SECONDS = 300.0
"""How long what may pass by itself (a host that is away) lasts until it is told."""

BAD_OUTCOMES = ("failed", "rolled_back")
"""Outcomes that are told. A `kill` was a person's, and `interrupted` is tried again."""


@frozen
class Last:
    """The newest deployment of an app that wasn't superseded, as far as a message needs it.

    `outcome` is empty while it waits or runs.
    """

    id: str
    outcome: str
    target: str = ""
    stage: str = ""
    revision: str = ""
    cause: str = ""
    reason: str = ""
    todo: str = ""


@frozen
class Standing:
    """How an app stands. An empty `key` is well; equal keys are the same state.

    `event` is what a change to it is called, `patience` the seconds that it has to last first.
    """

    key: str = ""
    event: NotifyEvent | Literal[""] = ""
    patience: float = 0.0
    reason: str = ""
    todo: str = ""
    last: Last | None = None


@frozen
class Told:
    """What is remembered of an app: the key that it stands at, since when, and the key of the
    last bad state that was told and isn't over."""

    key: str = ""
    heard: str = ""
    since: float = 0.0


WELL = Told()


def stand(
    app: str, actions: Sequence[Action], last: Last | None, *, flaps: bool = False
) -> Standing | None:
    """How the app stands by the plan and its last deployment; None when that can't be said now.

    `flaps`: healing it didn't last, and it hasn't been calm since: it isn't well because it runs.
    The plan may be older than the end of the deployment that it has led to.
    """
    standing = _stand(app, actions, last)
    return None if flaps and standing is not None and not standing.key else standing


def _stand(app: str, actions: Sequence[Action], last: Last | None) -> Standing | None:
    action = next((one for one in actions if one.kind not in ("clean", "record")), None)
    if action is None:
        return Standing(last=last)
    if action.after:
        return None  # what it waits for is told
    if action.kind in DEPLOYING or (action.kind == "wait" and action.until is None):
        return _ended(last)
    if action.kind in ("wait", "quarantine") and last and last.outcome in BAD_OUTCOMES:
        return _ended(last)
    return _by_plan(app, action)


def _by_plan(app: str, action: Action) -> Standing | None:
    """None for what only waits, and for what is gone from the spec."""
    if action.kind == "wait" and action.lasting:
        return Standing("flapping", "failed", 0.0, action.cause, action.todo)
    if action.kind == "block":
        patience = BLOCK_PATIENCE_SECONDS if action.passing else 0.0
        key = _key("blocked", action.cause)
        return Standing(key, "failed", patience, action.cause, action.todo)
    if action.kind == "wait" and action.lasting and not action.after:  # healing doesn't help
        return Standing(_key("flapping", app), "failed", 0.0, action.cause, action.todo)
    if action.kind not in ("hold", "quarantine"):
        return None
    todo = action.todo
    if not todo and action.cause == "suspended in the spec":
        todo = "Remove `suspend: true` from the spec to let the loop care for it."
    elif not todo and action.until is None:
        todo = f"`reconcile resume {app.partition('/')[2]}` lets the loop care for it again."
    return Standing(_key("held", action.cause), "held", 0.0, action.cause, todo)


def decide(told: Told, standing: Standing, now: float) -> tuple[Told, NotifyEvent | None]:
    """What is remembered from now on, and which message the change is worth."""
    if not standing.key:
        return WELL, "recovered" if told.heard else None
    same = standing.key == told.key
    here = Told(standing.key, told.heard, told.since if same else now)
    if standing.event == "held":
        return here, None if same else "held"
    waited = now - here.since >= standing.patience
    if standing.event == "" or standing.key == told.heard or not waited:
        return here, None
    return Told(here.key, here.key, here.since), standing.event


def _ended(last: Last | None) -> Standing | None:
    """By the deployment alone."""
    if last is None or last.outcome not in ("succeeded", *BAD_OUTCOMES):
        return None
    if last.outcome == "succeeded":
        return Standing(last=last)
    event: NotifyEvent = "rolled_back" if last.outcome == "rolled_back" else "failed"
    key = _key(last.outcome, last.target, last.stage, last.reason)
    return Standing(key, event, 0.0, last.reason, last.todo, last)


def _key(kind: str, *parts: str) -> str:
    """The same for last parts that differ in times, ids and counts alone."""
    *exact, text = parts
    plain = re.sub(r"\S*\d\S*", "#", text)
    whole = "\n".join([*exact, plain]).encode("utf-8", "replace")
    return f"{kind}:{hashlib.sha256(whole).hexdigest()[:16]}"


def write_message(event: NotifyEvent, apps: Sequence[str], standing: Standing) -> tuple[str, str]:
    """Title and body, for people. Several apps are those that stand alike for one reason."""
    title = f"{_name(apps)} {_VERBS[event]}"
    last = standing.last
    told = {
        "now": "what the spec asks for" if event == "recovered" else "",
        "apps": ", ".join(apps) if len(apps) > 1 else "",
        "revision": last.revision if last else "",
        "cause": last.cause if last else "",
        "reason": "" if event == "recovered" else standing.reason,
        "to do": "" if event == "recovered" else standing.todo,
        "deployment": last.id if last else "",
    }
    if event in BAD_OUTCOMES and last:
        told["log"] = f"reconcile logs {apps[0].partition('/')[2]}"
    return title, "\n".join(f"{name}: {text}" for name, text in told.items() if text)


_VERBS: Mapping[NotifyEvent, str] = {
    "failed": "failed",
    "rolled_back": "failed and was rolled back",
    "recovered": "recovered",
    "held": "is held",
}


def _name(apps: Sequence[str]) -> str:
    return apps[0] if len(apps) == 1 else f"{len(apps)} apps of {apps[0].partition('/')[0]}"
