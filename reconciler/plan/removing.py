"""Apps that are gone from the spec: removed, or kept because pruning is off or it is too many."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from reconciler.plan.actions import Action
from reconciler.plan.states import Desired
from reconciler.plan.view import View
from reconciler.values import frozen

REMOVAL_SHARE = 0.25
_GIVE_UP = "If that host is gone for good, take it from `hosts` as well."


@frozen
class Removals:
    """Whether apps that are gone from the spec may be removed; if not, why, and how to. `hosts`:
    those of the spec."""

    refusal: str
    todo: str = ""
    hosts: Collection[str] = ()

    def decide(self, view: View) -> Iterator[Action]:
        if view.recorded.in_flight:
            newest = view.recorded.in_flight[-1]
            cause = f"deployment {newest.deployment} is {newest.status}"
            yield Action(view.app, "wait", (cause,))
        elif view.containers or view.serving:
            if not self.refusal and (away := self._away(view)):
                causes = (f"gone from the spec; {away}",)
                yield Action(view.app, "block", causes, passing=True, todo=_GIVE_UP, lasting=True)
            elif self.refusal:
                cause = f"gone from the spec; {self.refusal}"
                yield Action(view.app, "keep", (cause,), todo=self.todo)
            else:
                yield Action(view.app, "remove", ("gone from the spec",), ("remove",))

    def _away(self, view: View) -> str:
        """Why it can't be removed now. A host that is gone from the spec as well is given up."""
        missing = (view.away.get(place) for place in view.places.all if place[1] in self.hosts)
        return next(filter(None, missing), "") if view.serving else ""


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
    return Removals("", hosts=desired.hosts)
