"""What a plan consists of: frozen actions, each with its causes."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Literal

from reconciler.plan.states import Note, Place
from reconciler.values import frozen

Kind = Literal[
    "deploy",  # a new image: clone, build, push, deploy, health
    "restart",  # an image that is already there, in a new container
    "redeploy",  # the same version, built again for fresh base images
    "push",  # the image that runs goes to a registry
    "heal",  # the recorded container again
    "scale",  # more or fewer of what serves, the others left alone
    "move",  # what serves, on other hosts
    "remove",  # all containers of an app that is gone from the spec
    "clean",  # containers that nothing needs
    "record",  # only written down
    "wait",  # a deployment is on its way, of it or of what it needs; or its time hasn't come
    "hold",  # a person holds the app: suspended, rolled back, or outside its windows
    "block",  # source, secret or host is away
    "quarantine",  # this has failed, and nothing has changed since
    "keep",  # gone from the spec, but removing is off or beyond the limit
]

DEPLOYING = ("deploy", "restart", "redeploy", "push", "heal", "scale", "move", "remove")
"""Kinds that become a deployment."""

CHANGING = (*DEPLOYING, "clean")
"""Kinds that change something on the engine or in a registry."""

UNSETTLED = ("block", "quarantine")
"""Kinds that leave an app in a state that the spec doesn't want."""


@frozen
class Action:
    """What is to be done for one app, why, and by which stages.

    `containers`: ids to remove, for `clean`. `until`: when a wait or a hold ends by itself.
    `passing`: for `block`, whether it may pass by itself, and `todo` what a person can do.
    `after`: apps that have to come first. `lasting`: it may stay so for long, and is written down
    for `status`. `renamed_from`: for `record`, the name that the app has in the state. `replicas`:
    for `scale` and `move`, how many containers there shall be on each host, and for a `heal` that
    leaves the others alone. `places`: for a `heal`, those that answer, empty for all.
    """

    app: str
    kind: Kind
    causes: tuple[str, ...]
    stages: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    until: datetime | None = None
    passing: bool = False
    todo: str = ""
    after: tuple[str, ...] = ()
    lasting: bool = False
    renamed_from: str = ""
    replicas: int = 0
    places: tuple[Place, ...] = ()

    @property
    def cause(self) -> str:
        """All causes in one line."""
        return "; ".join(self.causes)


@frozen
class Plan:
    """The actions in the order of the apps' names. Apps with nothing to do have none.

    `notes`: those that differ from what is recorded, by app. `next_at`: the earliest moment at
    which the time alone changes the plan.
    """

    actions: tuple[Action, ...]
    notes: Mapping[str, Note] = field(default_factory=dict)
    next_at: datetime | None = None

    @property
    def chained(self) -> bool:
        """Whether something waits for what this plan, or what is on its way, brings about."""
        return any(
            action.after and action.kind == "wait" and action.until is None
            for action in self.actions
        )

    @property
    def changes(self) -> bool:
        """Whether applying it would change anything outside of the state."""
        return any(action.kind in CHANGING for action in self.actions)

    @functools.cached_property
    def _by_app(self) -> Mapping[str, Sequence[Action]]:
        found: dict[str, list[Action]] = defaultdict(list)
        for action in self.actions:
            found[action.app].append(action)
        return found

    def for_app(self, app: str) -> tuple[Action, ...]:
        """The actions of one app."""
        return tuple(self._by_app.get(app, ()))
