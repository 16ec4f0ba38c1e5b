"""All that is known of one app at one moment: what every rule of the planner looks at."""

from __future__ import annotations

from datetime import datetime

from reconciler.plan.hashes import target_hash
from reconciler.plan.states import Container, DesiredApp, Facts, Hold, RecordedApp, Serving
from reconciler.values import frozen


@frozen
class View:
    """One app. `retry_now`: a person asks, so what backs off is tried at once."""

    app: str
    desired: DesiredApp | None
    recorded: RecordedApp
    containers: tuple[Container, ...]
    now: datetime
    retry_now: bool

    @property
    def name(self) -> str:
        """Without the project."""
        return self.app.partition("/")[2] or self.app

    @property
    def serving(self) -> Serving | None:
        return self.recorded.serving

    @property
    def replicas(self) -> int:
        """How many containers shall serve, as it was recorded last."""
        return replicas_of(self.serving.settings) if self.serving else 0

    @property
    def serving_containers(self) -> tuple[Container, ...]:
        """Those of the serving deployment, one for each number; a running one if there are two."""
        if self.serving is None:
            return ()
        serving = self.serving.deployment
        own = [c for c in self.containers if c.deployment == serving and not c.task]
        own.sort(key=lambda container: container.state == "running")
        numbers = {container.replica: container for container in own}
        return tuple(numbers[one] for one in sorted(numbers) if one <= self.replicas)


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
