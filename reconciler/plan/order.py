"""Apps that depend on others: dependencies are decided first, and dependants go by that.

A change of an app waits while one of its dependencies is on its way, and is blocked while one is
stuck (failed, blocked, quarantined, left alone). Healing is held back only while a dependency's own
container is broken: beside a dependency that is merely replaced by a newer version the app has to
be kept alive. A dependency that a person holds counts as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from reconciler.plan.actions import DEPLOYING, Action
from reconciler.plan.healing import broken
from reconciler.plan.view import View
from reconciler.values import frozen

HELD_BACK = ("deploy", "restart", "redeploy", "scale", "move")


@frozen
class Standing:
    """How an app stands as a dependency of others, once it is decided.

    `state`: ready, coming or stuck, and `why` completes "waits for db, which …". `broken`: what
    served doesn't work now.
    """

    state: str
    why: str = ""
    until: datetime | None = None
    broken: bool = False


READY = Standing("ready")


def in_order(views: Mapping[str, View]) -> Iterable[View]:
    """Dependencies before their dependants. A valid spec has no cycles."""
    needs = {name: view.desired.depends_on for name, view in views.items() if view.desired}
    if not any(needs.values()):
        return views.values()
    from graphlib import TopologicalSorter

    order = TopologicalSorter({name: needs.get(name, ()) for name in views}).static_order()
    return [views[name] for name in order if name in views]


def wait_for_dependencies(view: View, action: Action, standings: Mapping[str, Standing]) -> Action:
    """The action, or why it has to wait: for what is on its way, or for what is stuck."""
    if view.desired is None or action.kind not in (*HELD_BACK, "heal"):
        return action
    needed = {name: standings.get(name, READY) for name in view.desired.depends_on}
    if action.kind == "heal":
        needed = {name: one for name, one in needed.items() if one.broken}
    needed = {name: one for name, one in needed.items() if one.state != "ready"}
    if not needed:
        return action
    stuck = {name: one for name, one in needed.items() if one.state == "stuck"}
    held_by = stuck or needed
    causes = tuple(f"waits for {_name(one)}, which {held_by[one].why}" for one in held_by)
    untils = [one.until for one in held_by.values() if one.until is not None]
    until, after = max(untils, default=None), tuple(held_by)
    if stuck:
        return Action(
            view.app, "block", causes, until=until, passing=True, after=after, lasting=True
        )
    lasting = until is not None
    return Action(view.app, "wait", causes, until=until, after=after, lasting=lasting)


def judge(view: View, actions: Sequence[Action]) -> Standing:
    """How the app stands for its dependants, with what is decided for it."""
    harm = bool(broken(view))
    if view.recorded.in_flight:
        under_way = view.recorded.in_flight[-1].kind != "push"
        return Standing("coming", "is being deployed", broken=harm) if under_way else READY
    action = next((one for one in actions if one.kind not in ("clean", "record", "push")), None)
    if action is None:
        return READY
    if action.kind in DEPLOYING:
        return Standing("coming", "is being deployed", broken=harm)
    if action.kind == "hold":
        return _judge_held(view, action, harm=harm)
    why = f"{_STUCK[action.kind]}: {action.cause}"
    if action.after:
        why = f"itself waits for {', '.join(map(_name, action.after))}"
    if action.kind == "wait" and (action.after or action.until is None):
        return Standing("coming", why, action.until, harm)
    return Standing("stuck", why, action.until, harm)


_STUCK = {"wait": "isn't there yet", "block": "is blocked", "quarantine": "failed"}


def _judge_held(view: View, action: Action, *, harm: bool) -> Standing:
    """By its windows, its change comes later. By a person, it counts as it is."""
    works = view.serving is not None and not harm
    if action.lasting:
        return Standing("coming", f"is held: {action.cause}", action.until, harm)
    return READY if works else Standing("stuck", f"is held: {action.cause}", action.until, harm)


def _name(app: str) -> str:
    return app.partition("/")[2]
