"""Remembers which versions revisions named, so that a pass asks hosts only when that is due.

A daemon passes for many reasons: an edit, a container that died, a deployment that ended. Git
hosts and registries are asked at its interval, by a hook, or by a person, and not for these. A
host that failed is asked again after a pause that grows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from reconciler.errors import ReconcilerError
from reconciler.plan.states import Serving
from reconciler.source.base import Outcome, Resolved, Wanted
from reconciler.spec.models import PathSource

Served = Mapping[str, Serving | None]
"""What serves now, by app."""

Delay = Callable[[BaseException, int], float | None]


@dataclass
class _Known:
    """`stale`: ask again at the next pass. `until`: but not before this time."""

    wanted: Wanted
    outcome: Outcome
    served: str
    failures: int = 0
    until: float = 0.0
    stale: bool = False

    def answers(self, wanted: Wanted, serving: Serving | None, now: float) -> bool:
        """What serves now may be newer than what is known here, as others deploy as well."""
        known = self.outcome.id if isinstance(self.outcome, Resolved) else ""
        overtaken = (
            serving is not None and serving.deployment != self.served and serving.resolved != known
        )
        return self.wanted == wanted and not overtaken and (not self.stale or self.until > now)


class VersionMemory:
    """The last outcome of each app. `clock` in seconds; `delay` from an error and the number of
    failures in a row to seconds, None for an error that only a new commit or spec ends.
    """

    def __init__(self, clock: Callable[[], float], delay: Delay) -> None:
        self._clock = clock
        self._delay = delay
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def recall(self, wanted: Collection[Wanted], serving: Served) -> dict[str, Outcome]:
        """What is known, by app; those that are missing have to be asked."""
        now = self._clock()
        with self._lock:
            known = [(one, self._known.get(one.app)) for one in wanted]
        return {
            one.app: k.outcome
            for one, k in known
            if k is not None and k.answers(one, serving.get(one.app), now)
        }

    def learn(self, outcomes: Collection[tuple[Wanted, Outcome]], serving: Served) -> None:
        """Remember answers. What is beside `apps.yaml` is looked at in every pass."""
        pauses: dict[int, float] = {}  # apps of one host are asked about together again
        with self._lock:
            for wanted, outcome in outcomes:
                if isinstance(wanted.source, PathSource):
                    continue
                before = self._known.get(wanted.app)
                now = serving.get(wanted.app)
                known = _Known(wanted, outcome, now.deployment if now else "")
                self._known[wanted.app] = known
                if isinstance(outcome, ReconcilerError):
                    same = before is not None and before.wanted == wanted
                    known.failures = 1 + (before.failures if before and same else 0)
                    pause = self._delay(outcome, known.failures)
                    if pause is not None:
                        known.until = self._clock() + pauses.setdefault(known.failures, pause)

    def expire(self) -> None:
        """Ask about everything at the next pass; about what has failed only after its pause."""
        with self._lock:
            for known in self._known.values():
                known.stale = True

    def forget(self, apps: Collection[str] = ()) -> None:
        """Ask about these apps, or all, at once: somebody says that there is news."""
        with self._lock:
            for app in list(apps) or list(self._known):
                self._known.pop(app, None)

    def next_at(self) -> float | None:
        """When the first host that failed may be asked again; that is due after `expire`."""
        now = self._clock()
        with self._lock:
            return min((k.until for k in self._known.values() if k.until > now), default=None)
