"""All that is known of one app at one moment: what every rule of the planner looks at."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from reconciler.plan.hashes import target_hash
from reconciler.plan.places import Places, places_of
from reconciler.plan.states import (
    Container,
    DesiredApp,
    Facts,
    Hold,
    Place,
    RecordedApp,
    Serving,
)
from reconciler.spec.hosts import LOCAL
from reconciler.values import frozen


@frozen
class View:
    """One app. `retry_now`: a person asks, so what backs off is tried at once. `away`: places
    of which nothing is known now, and why. `build_host`: the host that builds."""

    app: str
    desired: DesiredApp | None
    recorded: RecordedApp
    containers: tuple[Container, ...]
    now: datetime
    retry_now: bool
    away: Mapping[Place, str] = field(default_factory=dict)
    build_host: str = LOCAL

    @property
    def name(self) -> str:
        """Without the project."""
        return self.app.partition("/")[2] or self.app

    @property
    def serving(self) -> Serving | None:
        return self.recorded.serving

    @property
    def replicas(self) -> int:
        """How many containers shall serve on each host, as it was recorded last."""
        return replicas_of(self.serving.settings) if self.serving else 0

    @functools.cached_property
    def places(self) -> Places:
        """Where it serves, as it was recorded last."""
        return places_of(self.serving.settings if self.serving else {})

    @functools.cached_property
    def copies(self) -> list[tuple[Place, int]]:
        """What shall serve where something is known of it."""
        found = self.places.copies(self.replicas) if self.serving else []
        return [copy for copy in found if copy[0] not in self.away]

    @functools.cached_property
    def serving_containers(self) -> tuple[Container, ...]:
        """Those of the serving deployment, one for each copy; a running one if there are two."""
        if self.serving is None:
            return ()
        serving = self.serving.deployment
        own = [c for c in self.containers if c.deployment == serving and not c.task]
        own.sort(key=lambda container: container.state == "running")
        found = {(container.place, container.replica): container for container in own}
        return tuple(found[copy] for copy in self.copies if copy in found)

    @functools.cached_property
    def partly_away(self) -> bool:
        """Whether nothing is known of a place where it serves."""
        return bool(self.away) and any(place in self.away for place in self.places.all)

    def missing_place(self, settings: Facts) -> str:
        """Why an app with these settings can't be changed now: a host of it is away."""
        return next((self.away[one] for one in places_of(settings).all if one in self.away), "")


def replicas_of(settings: Facts) -> int:
    """How many containers there shall be."""
    return int(settings.get("replicas", "1"))


def has_own_check(settings: Facts) -> bool:
    """Whether the spec says how to check; the image's own HEALTHCHECK then means nothing."""
    return any(
        name.startswith(("health.http", "health.tcp", "health.command")) for name in settings
    )


def hold_in_force(view: View, desired: DesiredApp) -> Hold | None:
    """A person's hold. A pin holds only against what was desired then."""
    hold = view.recorded.hold
    if hold is None or (hold.until is not None and hold.until <= view.now):
        return None
    pinned = hold.kind == "pinned" and not desired.trouble
    return None if pinned and hold.target not in ("", target_hash(desired)) else hold
