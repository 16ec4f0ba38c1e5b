"""The three states that are compared: desired, recorded, observed. All frozen, all plain data.

Facts are flat mappings from a field's name to its value as text (secrets as fingerprints), so
that a difference has a name: `env.LOG_LEVEL`, `source.services/api`, `build.target`, `ports`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from reconciler.spec.hosts import LOCAL
from reconciler.spec.models import Schedule, Window
from reconciler.values import frozen

Facts = Mapping[str, str]
Place = tuple[str, str]
"""A runtime and the host that is asked, such as `("docker", "local")`."""


@frozen
class Trouble:
    """Why an app's source or secrets could not be read now. `passing`: it may pass by itself."""

    reason: str
    todo: str = ""
    passing: bool = True


@frozen
class DesiredApp:
    """What one app shall be. With `trouble`, nothing is known of its version and its facts.

    `build` facts say which image, `run` facts which container, `settings` what only this
    program reads. `push_to`: repository to push to, empty for none. `resolved`: full commit or
    image digest. `depends_on` and `previously` (empty for none) are full names of apps.
    """

    app: str
    revision: str = ""
    resolved: str = ""
    build: Facts = field(default_factory=dict)
    run: Facts = field(default_factory=dict)
    settings: Facts = field(default_factory=dict)
    push_to: str = ""
    builds: bool = True
    suspended: bool = False
    trouble: Trouble | None = None
    schedule: Schedule | None = None
    windows: tuple[Window, ...] = ()
    depends_on: tuple[str, ...] = ()
    previously: str = ""


@frozen
class Desired:
    """The spec with resolved revisions, and what the user allows.

    `retry_now`: a person asks, so what backs off is tried at once. `build_host`: the host that
    builds. `hosts`: names of the hosts that the spec has.
    """

    project: str
    apps: Mapping[str, DesiredApp]
    prune: bool = False
    allow_removals: int | None = None
    retry_now: bool = False
    build_host: str = LOCAL
    hosts: frozenset[str] = frozenset({LOCAL})


@frozen
class Serving:
    """The last successful deployment of an app: what should be running now.

    `resolved` moves on with commits that don't touch the app; `target` is its target hash.
    """

    deployment: str
    target: str
    revision: str
    resolved: str
    build: Facts
    run: Facts
    settings: Facts
    image_id: str
    pushed_to: str
    container: str


@frozen
class Failure:
    """The last try at one target, which failed. `retry_at` is None when trying can't help."""

    deployment: str
    reason: str
    attempts: int = 1
    retry_at: datetime | None = None


@frozen
class InFlight:
    """A deployment that is queued or running, and what it will reach.

    `forced`: a person asked for it, whatever the plan says.
    """

    deployment: str
    status: str
    target: str
    kind: str = "deploy"
    forced: bool = False


@frozen
class Hold:
    """A person holds the app: `suspended`, or `pinned` to an earlier version.

    `target`: what was desired when it was pinned; anything else lifts that hold.
    """

    kind: str
    reason: str
    until: datetime | None = None
    target: str = ""


@frozen
class Note:
    """Why the loop leaves an app alone for now, as it was written down for people.

    `kind`: of the action that says so, empty for none. `flaps`: how many times in a row it was
    left alone because healing it didn't last, and `flaps_until` the end of the last of them.
    """

    kind: str = ""
    cause: str = ""
    until: datetime | None = None
    flaps: int = 0
    flaps_until: datetime | None = None


NO_NOTE = Note()
"""Of very many apps that are well."""


@frozen
class RecordedApp:
    """What the state remembers of one app.

    `images`: build hash → image id. `failures`: target hash (see `target_hash`) → how the last
    try at it failed. `heals`: when it was healed since its last other deployment, at least of the
    last minutes. `built_at`: when a build of it was last asked for, of apps with a schedule.
    `former`: names that its containers may still carry. `renamed_from`: the name under which all
    this is still recorded.
    """

    app: str
    serving: Serving | None = None
    failures: Mapping[str, Failure] = field(default_factory=dict)
    in_flight: tuple[InFlight, ...] = ()
    hold: Hold | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    heals: tuple[datetime, ...] = ()
    built_at: datetime | None = None
    note: Note = NO_NOTE
    former: tuple[str, ...] = ()
    renamed_from: str = ""


@frozen
class Recorded:
    """What the state remembers, by app."""

    apps: Mapping[str, RecordedApp]


@frozen
class Container:
    """A container as one list call shows it. `app` is what its label says, a former name maybe.

    `state`: created, running, paused, restarting, removing, exited, dead.
    `health`: healthy, unhealthy, starting, or empty where the image has no check.
    `exit_code` is None while it runs. `task`: the name of a one-off task, which never serves.
    `host`: the name of the host that showed it, `runtime` of which kind it is; on a Swarm it
    stands for the tasks of one deployment, `nodes` are where these run, `tasks` how many do and
    shall, and `drift` says what somebody changed about it.
    """

    app: str
    id: str
    name: str
    deployment: str
    state: str
    image_id: str
    build_hash: str = ""
    run_hash: str = ""
    revision: str = ""
    health: str = ""
    exit_code: int | None = None
    status: str = ""
    created: int = 0
    task: str = ""
    address: str = ""
    replica: int = 1
    host: str = LOCAL
    runtime: str = "docker"
    nodes: tuple[str, ...] = ()
    tasks: tuple[int, int] = (1, 1)
    drift: str = ""

    @property
    def place(self) -> Place:
        return self.runtime, self.host


@frozen
class Observed:
    """What the engines report: the containers of each app, newest first.

    `away`: places that didn't answer, with the reason; nothing is known of what runs there. The
    docker place of the host that builds is one of them where that host is away.
    """

    apps: Mapping[str, tuple[Container, ...]]
    away: Mapping[Place, str] = field(default_factory=dict)
