"""Apps that are gone from the spec: removed, or kept because pruning is off or it is too many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.plan.actions import Action
from reconciler.plan.states import Desired
from reconciler.plan.view import View
from reconciler.values import frozen

REMOVAL_SHARE = 0.25


@frozen
class Removals:
    """Whether apps that are gone from the spec may be removed; if not, why, and how to."""

    refusal: str
    todo: str = ""

    def decide(self, view: View) -> Iterator[Action]:
        if view.recorded.in_flight:
            newest = view.recorded.in_flight[-1]
            cause = f"deployment {newest.deployment} is {newest.status}"
            yield Action(view.app, "wait", (cause,))
        elif view.containers or view.serving:
            away = view.missing_place(view.serving.settings) if view.serving else ""
            if away and not self.refusal:
                yield Action(view.app, "block", (f"gone from the spec; {away}",), passing=True)
            elif self.refusal:
                cause = f"gone from the spec; {self.refusal}"
                yield Action(view.app, "keep", (cause,), todo=self.todo)
            else:
                yield Action(view.app, "remove", ("gone from the spec",), ("remove",))


def judge_removals(desired: Desired, views: Sequence[View]) -> Removals:
    """For all apps together: pruning, and the limit on removals at once."""
    present = [view for view in views if view.containers or view.serving]
    gone = sum(view.desired is None for view in present)
    limit = max(1, int(len(present) * REMOVAL_SHARE))
    if desired.allow_removals is not None:
        limit = max(limit, desired.allow_removals)
    elif not desired.apps:
        limit = 0  # an empty spec is an accident until somebody says otherwise
    allow = f" --allow-removals {gone}" if gone > limit else ""
    if not desired.prune:
        it = "it" if gone == 1 else "them"
        todo = f"`reconcile apply --prune{allow}` removes {it}."
        return Removals("kept, because pruning is off", todo)
    if allow:
        return Removals(
            f"kept, because {gone} removals at once are more than {limit}",
            f"If that is meant: `reconcile apply{allow}`.",
        )
    return Removals("")
