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
    def serving_container(self) -> Container | None:
        """The container of the serving deployment; a running one where there are several."""
        if self.serving is None:
            return None
        serving = self.serving.deployment
        own = [c for c in self.containers if c.deployment == serving and not c.task]
        return min(own, key=lambda container: container.state != "running", default=None)


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
