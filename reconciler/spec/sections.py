"""The parts of an app's section: how it is built, limited, checked, rolled out and kept."""

# No `from __future__ import annotations`: annotations are read when the class is made.

from collections.abc import Iterator
from typing import Annotated, Literal

from reconciler.spec.declare import (
    OneOf,
    OrList,
    Rule,
    Section,
    about,
    section,
)
from reconciler.spec.fields import (
    Argument,
    Cores,
    Count,
    Cron,
    Duration,
    EnvName,
    Grace,
    HealthPath,
    ImageReference,
    Memory,
    Percent,
    PortNumber,
    Raw,
    RelativePath,
    Repository,
    SecretId,
    Stage,
    Switch,
    Zone,
)
from reconciler.spec.sources import (
    Credentials,
    Ref,
)


@section
class Build(Section):
    """How the image is built. A Dockerfile, or with `static` a directory served as files."""

    exclusive = (("static", "server"), ("dockerfile", "target", "args", "secrets"))

    dockerfile: RelativePath = about(
        "Path of the Dockerfile inside the build context.",
        "docker/Dockerfile.web",
        default="Dockerfile",
    )
    static: RelativePath | None = about(
        "Directory inside the context to serve as files on port 8080.", "public", default=None
    )
    server: ImageReference | None = about(
        "Image with busybox httpd that serves `static`; default busybox:stable.",
        "busybox:1.36",
        default=None,
    )
    target: Stage | None = about("Stage of the Dockerfile to build.", "runtime", default=None)
    args: dict[EnvName, Raw] = about(
        "Build arguments, exactly as written.",
        {"NODE_ENV": "production"},
        default_factory=dict,
        repr=False,
    )
    secrets: dict[SecretId, Ref] = about(
        "Build secrets, for `RUN --mount=type=secret,id=NAME`. Need BuildKit.",
        {"npm_token": {"env": "NPM_TOKEN"}},
        default_factory=dict,
    )

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        if self.server and not self.static:
            yield "server", "'server' serves the files of 'static', which isn't set"


@section
class Image(Section):
    """Where the built image is named and pushed to."""

    repository: Repository = about("Repository without tag.", "registry.example.com/shop/api")
    push: Switch = about("Push after the build.", True, default=False)
    credentials: Credentials | None = about(
        "For the registry; default: docker's own configuration.",
        {"username": "deploy", "password": {"env": "REGISTRY_TOKEN"}},
        default=None,
    )


@section
class Resources(Section):
    """Limits of the container."""

    cpus: Cores | None = about("Cores; parts are possible.", 1.5, default=None)
    memory: Memory | None = about(
        "Memory limit; units are powers of 1024.", "512m", "1g", default=None
    )
    pids: Count | None = about("Largest number of processes.", 200, default=None)


@section
class HttpCheck(Section):
    """Healthy when a GET is answered with a status below 400."""

    port: PortNumber = about("Port inside the container.", 8000)
    path: HealthPath = about("Path, with its query if any.", "/healthz", default="/")


@section
class Health(Section):
    """When a new container counts as working. At most one of http, tcp and command."""

    exclusive = (("http",), ("tcp",), ("command",))

    http: HttpCheck | None = about(
        "Healthy when a GET is answered with a status below 400.",
        {"port": 8000, "path": "/healthz"},
        default=None,
    )
    tcp: PortNumber | None = about("Healthy when this container port accepts.", 5432, default=None)
    command: tuple[Argument, ...] | None = about(
        "Healthy when it exits with 0 in the container.",
        ["pg_isready", "-q"],
        default=None,
        repr=False,
        min_length=1,
    )
    timeout: Duration = about("Time to become healthy.", "2m", default="60s")
    stable: Duration = about(
        "Without any check: how long the container has to run without a restart.",
        "10s",
        default="3s",
    )


@section
class Rollout(Section):
    """How the old containers make room for the new ones."""

    strategy: Literal["recreate", "blue-green", "canary"] | None = about(
        "recreate: the old one stops, then the new one starts. blue-green: the new one starts "
        "beside the old one, takes the traffic when it is verified, and gives it back if it fails "
        "soon after. canary: the same, but the traffic moves in steps; needs expose.http. "
        "Default: blue-green for an app with `expose` and without `ports`, else recreate. "
        "While both run, other containers that call the app by its name may reach either.",
        "blue-green",
        default=None,
    )
    max_unavailable: Count = about(
        "On several hosts, or with several replicas: how many are replaced at once, after the "
        "first one works.",
        2,
        default=1,
    )
    drain: Grace = about(
        "How long the old one may finish its requests and connections.", "5m", default="30s"
    )
    watch: Grace = about(
        "How long the new one is watched while it has all the traffic; when it fails, the traffic "
        "goes back.",
        "1m",
        default="10s",
    )
    steps: tuple[Percent, ...] = about(
        "canary: the shares of requests that the new one gets, one after the other.",
        ["5%", "25%", "50%"],
        default=("10%", "50%"),
        min_length=1,
    )
    pause: Duration = about("canary: how long each step lasts.", "5m", default="60s")
    max_error_rate: Percent = about(
        "canary: the largest share of answers with 500 and above, as the proxy counts them.",
        "1%",
        default="5%",
    )


@section
class Hook(Section):
    """A command that runs once for each deployment, in a container of the new image."""

    command: tuple[Argument, ...] = about(
        "What runs, with the image's ENTRYPOINT in front where it has one.",
        ["./manage.py", "migrate"],
        repr=False,
        min_length=1,
    )
    timeout: Duration = about("The longest time that it may take.", "30m", default="5m")


@section
class Hooks(Section):
    """Commands around a deployment, one after the other, each in a container of its own.

    They have the app's environment, networks and volumes, and publish no ports.
    """

    pre_deploy: tuple[Annotated[Hook, OrList("command")], ...] = about(
        "Before anything is changed, such as a migration. One that fails ends the deployment, and "
        "the old container serves on untouched.",
        [["./manage.py", "migrate"]],
        [{"command": ["./manage.py", "migrate"], "timeout": "30m"}],
        default=(),
    )
    post_deploy: tuple[Annotated[Hook, OrList("command")], ...] = about(
        "When the new container has passed its health check. One that fails counts as a failed "
        "check: the old version comes back.",
        [["./smoke-test"]],
        default=(),
    )


@section
class Retention(Section):
    """How much history is kept for each app."""

    images: Count = about("Built images to keep for going back.", 5, default=3)
    deployments: Count = about("Deployments (rows and logs) to keep.", 50, default=20)


@section
class Timeouts(Section):
    """The longest time for each stage; health has its own `health.timeout`."""

    clone: Duration = about("For fetching the source.", "5m", default="10m")
    build: Duration = about("For the build.", "1h", default="30m")
    push: Duration = about("For the push.", "30m", default="15m")
    distribute: Duration = about("For bringing the image to its hosts.", "1h", default="15m")
    deploy: Duration = about("For swapping the containers.", "2m", default="5m")


@section
class Webhooks(Section):
    """The secret of each sender of webhooks. One without a secret isn't heard."""

    github: Ref | None = about("For /hooks/github.", {"env": "GITHUB_WEBHOOK_SECRET"}, default=None)
    gitlab: Ref | None = about(
        "For /hooks/gitlab, its secret token.", {"env": "GITLAB_WEBHOOK_TOKEN"}, default=None
    )
    gitea: Ref | None = about("For /hooks/gitea.", {"file": "secrets/gitea"}, default=None)
    forgejo: Ref | None = about("For /hooks/forgejo.", {"file": "secrets/forgejo"}, default=None)
    gogs: Ref | None = about("For /hooks/gogs.", {"file": "secrets/gogs"}, default=None)
    bitbucket: Ref | None = about(
        "For /hooks/bitbucket, Cloud or Server.", {"env": "BITBUCKET_SECRET"}, default=None
    )
    registry: Ref | None = about(
        "For /hooks/registry: the Authorization header, or the end of the URL.",
        {"env": "REGISTRY_HOOK_SECRET"},
        default=None,
    )
    dockerhub: Ref | None = about(
        "For /hooks/dockerhub/SECRET: Docker Hub signs nothing, so the URL is the secret.",
        {"env": "DOCKERHUB_HOOK_SECRET"},
        default=None,
    )


@section
class Schedule(Section):
    """A cron expression in a time zone."""

    cron: Cron = about("Five fields: minute, hour, day, month, day of the week.", "0 4 * * *")
    tz: Zone = about("Time zone of the expression.", "Europe/Berlin", default="UTC")


When = Annotated[Cron | Schedule, OneOf()]
"""A cron expression in UTC, or with its time zone."""


@section
class Window(Section):
    """A time that begins with a cron expression, in which changes may be made, or may not."""

    exclusive = (("allow",), ("deny",))

    allow: Cron | None = about("Changes may be made from then on.", "0 9 * * mon-fri", default=None)
    deny: Cron | None = about(
        "No changes from then on; wins over allow.", "0 12 * * fri", default=None
    )
    lasts: Duration = about("How long the window lasts.", "8h", alias="for")
    tz: Zone = about("Time zone of the expression.", "Europe/Berlin", default="UTC")

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        if self.allow is None and self.deny is None:
            yield "for", "a window needs allow or deny", "such as allow: '0 9 * * mon-fri'"
