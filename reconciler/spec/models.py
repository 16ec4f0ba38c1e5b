"""The spec's models: one class for each section of `apps.yaml`.

Unknown fields are errors everywhere. Field descriptions are what an editor shows, through
`schemas/apps.schema.json`. A new source, build type or rollout starts with a model here.
"""

# No `from __future__ import annotations`: annotations are read when the class is made.

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from reconciler.spec.declare import Number, OneOf, PartOf, Rule, Section, about, default_of, section
from reconciler.spec.fields import (
    AbsolutePath,
    Argument,
    Argv,
    Concurrency,
    Cores,
    Count,
    Duration,
    EnvName,
    FilePath,
    GitUrl,
    Grace,
    HealthPath,
    ImageName,
    ImageReference,
    LabelKey,
    Line,
    Memory,
    Name,
    NetworkName,
    PortMapping,
    PortNumber,
    Raw,
    RelativePath,
    Replicas,
    Repository,
    RestartPolicy,
    SecretId,
    Stage,
    Switch,
    User,
    UserName,
    VolumeMapping,
)
from reconciler.spec.images import is_digest, is_tag
from reconciler.spec.revisions import check_ref, parse_range
from reconciler.spec.scalars import parse_volume
from reconciler.spec.urls import has_credentials, is_ssh


@section
class EnvRef(Section):
    """A value taken from an environment variable of the process that runs reconcile."""

    env: EnvName = about("Name of the environment variable.", "DATABASE_URL")


@section
class FileRef(Section):
    """A value read from a file on the machine that runs reconcile."""

    file: FilePath = about(
        "Path of the file, absolute or relative to this file. One newline at its end is dropped.",
        "/run/secrets/database_url",
        "secrets/database_url",
    )


Ref = Annotated[EnvRef | FileRef, OneOf()]
"""A secret by reference."""
Value = Annotated[Raw | EnvRef | FileRef, OneOf()]
"""Plain text exactly as written, or a reference to a secret."""


@section
class Credentials(Section):
    """User name and password for a git host or a registry, the password by reference."""

    username: UserName = about(
        "User name; any text where a token is enough.", "deploy", "x-access-token"
    )
    password: Ref = about(
        "Password or token, by reference.",
        {"env": "REGISTRY_TOKEN"},
        {"file": "/run/secrets/registry_token"},
    )


@section
class GitSource(Section):
    """A git repository."""

    git: GitUrl = about(
        "URL: https://, http://, ssh://, user@host:path, file:// or an absolute path.",
        "https://git.example.com/shop/api.git",
        "git@git.example.com:shop/api.git",
        repr=False,
    )
    subdir: RelativePath = about(
        "Build context inside the repository.", "services/api", default="."
    )
    watch: tuple[RelativePath, ...] = about(
        "Further paths that count as this app's source: a commit that touches one rebuilds it.",
        ["libs/common"],
        default=(),
    )
    submodules: Switch = about("Check submodules out as well.", False, default=True)
    credentials: Credentials | None = about(
        "User name and password for https.",
        {"username": "deploy", "password": {"env": "GIT_TOKEN"}},
        default=None,
    )
    ssh_key: FileRef | None = about(
        "Private key file for ssh; default: the agent or ssh's own keys.",
        {"file": "/etc/reconciler/deploy_key"},
        default=None,
    )

    def rules(self) -> Iterator[Rule]:
        if self.credentials and is_ssh(self.git):
            yield "credentials", "credentials are for https; over ssh use ssh_key or the agent"
        elif self.credentials and has_credentials(self.git):
            yield "git", "the URL has credentials and so has 'credentials'; keep one"
        if self.ssh_key and not is_ssh(self.git):
            yield "ssh_key", "a key is for ssh; over https use credentials"


@section
class PathSource(Section):
    """A directory beside `apps.yaml`."""

    path: FilePath = about("Directory, relative to this file.", "./api", ".")
    subdir: RelativePath = about("Build context inside the directory.", "services/api", default=".")
    watch: tuple[RelativePath, ...] = about(
        "Further paths inside the directory that count as source.", ["libs/common"], default=()
    )


@section
class ImageSource(Section):
    """A ready image in a registry."""

    image: ImageName = about(
        "Repository of the image; its tag or digest is the app's revision.",
        "ghcr.io/shop/api",
        "postgres",
    )
    credentials: Credentials | None = about(
        "For the registry; default: docker's own configuration.",
        {"username": "deploy", "password": {"env": "REGISTRY_TOKEN"}},
        default=None,
    )


Source = Annotated[GitSource | PathSource | ImageSource, OneOf()]


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
    """How the old container makes room for the new one."""

    strategy: Literal["recreate"] = about(
        "recreate: the old one stops, then the new one starts.", "recreate", default="recreate"
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
    deploy: Duration = about("For swapping the containers.", "2m", default="5m")


_NOT_FOR_IMAGES = ("build", "image", "env_file")


@section
class App(Section):
    """One application."""

    title: Line | None = about("A name for people.", "Shop API", default=None)
    source: Source = about(
        "Where the app comes from: exactly one of git, path and image.",
        {"git": "https://git.example.com/shop/api.git"},
        {"path": "./api"},
    )
    revision: Line | None = about(
        "git: branch, tag, full commit or semver range over tags (default: the repository's "
        "default branch). image: tag, digest or semver range (default: latest). path: not "
        "allowed.",
        "main",
        "v1.4.2",
        ">=1.4 <2",
        default=None,
    )
    build: Build = about(
        "How the image is built.", {"dockerfile": "Dockerfile"}, default_factory=Build
    )
    image: Image | None = about(
        "Where the built image is named and pushed to.",
        {"repository": "registry.example.com/shop/api", "push": True},
        default=None,
    )
    env: dict[EnvName, Value] = about(
        "Environment of the container: text exactly as written, or a reference.",
        {"LOG_LEVEL": "info", "DATABASE_URL": {"file": "/run/secrets/database_url"}},
        default_factory=dict,
        repr=False,
    )
    env_file: Switch = about("Also write env as .env into the build context.", True, default=False)
    command: Argv | None = about(
        "Replaces the image's CMD.", ["serve", "--port", "8000"], default=None, repr=False
    )
    entrypoint: Argv | None = about(
        "Replaces the image's ENTRYPOINT.", ["/bin/tini", "--"], default=None, repr=False
    )
    user: User | None = about("User or uid[:gid].", "1000:1000", default=None)
    workdir: AbsolutePath | None = about(
        "Working directory in the container.", "/srv", default=None
    )
    ports: tuple[PortMapping, ...] = about(
        "[address:]host:container[/udp].", ["127.0.0.1:8080:8000"], default=()
    )
    volumes: tuple[VolumeMapping, ...] = about(
        "name:/path or ./directory:/path, with :ro for read-only.",
        ["data:/var/lib/api", "./config:/etc/api:ro"],
        default=(),
    )
    networks: tuple[NetworkName, ...] = about(
        "Docker networks to join, made when missing; default: one named like the project, "
        "where apps find each other by name.",
        ["frontend", "backend"],
        default=(),
    )
    labels: dict[LabelKey, Raw] = about(
        "Labels of the container, exactly as written.",
        {"com.example.team": "shop"},
        default_factory=dict,
    )
    resources: Resources = about(
        "Limits of the container.", {"cpus": 1.5, "memory": "512m"}, default_factory=Resources
    )
    restart: RestartPolicy = about(
        "no, always, unless-stopped or on-failure[:times].",
        "on-failure:3",
        default="unless-stopped",
    )
    replicas: Replicas = about("Containers of this app; 1 for now.", 1, default=1)
    stop_grace_period: Grace = about(
        "From SIGTERM to SIGKILL when the container is stopped.", "30s", default="10s"
    )
    health: Health = about(
        "When a new container counts as working. Without one: the image's HEALTHCHECK, or that "
        "it keeps running.",
        {"http": {"port": 8000, "path": "/healthz"}},
        default_factory=Health,
    )
    rollout: Rollout = about(
        "How the old container makes room for the new one.",
        {"strategy": "recreate"},
        default_factory=Rollout,
    )
    retention: Retention = about(
        "How much history is kept.", {"images": 5}, default_factory=Retention
    )
    timeouts: Timeouts = about(
        "The longest time for each stage.", {"build": "1h"}, default_factory=Timeouts
    )
    suspend: Switch = about(
        "The loop leaves this app alone; by hand it still deploys.", True, default=False
    )

    def rules(self) -> Iterator[Rule]:
        yield from _source_rules(self)
        if self.revision is not None:
            yield from _revision_rules(self.source, self.revision)
        for name in ("host", "none"):
            if name in self.networks and (len(self.networks) > 1 or self.ports):
                yield "networks", f"'{name}' goes with no other network and no published ports"
        targets = Counter(parse_volume(text).target.rstrip("/") for text in self.volumes)
        for target, times in targets.items():
            if times > 1:
                yield "volumes", f"{times} mounts at {target}"


def _source_rules(app: App) -> Iterator[Rule]:
    if not isinstance(app.source, ImageSource):
        return
    for name in _NOT_FOR_IMAGES:
        if getattr(app, name) != default_of(App, name):
            yield name, f"'{name}' is for apps that are built; this one's source is a ready image"


def _revision_rules(source: Source, revision: str) -> Iterator[Rule]:
    if isinstance(source, PathSource):
        yield "revision", "a directory has no revision; what is in it is deployed"
        return
    try:
        if parse_range(revision):
            return
        if isinstance(source, GitSource):
            check_ref(revision)
        elif not (is_tag(revision) or is_digest(revision)):
            raise ValueError("expected a tag, sha256:… or a semver range")
    except ValueError as error:
        yield "revision", *error.args


_APPS = "The apps, by name."
_APPS_EXAMPLE = {"api": {"source": {"git": "https://git.example.com/shop/api.git"}}}


@section
class Spec(Section):
    """What shall run on a host: a project and its apps."""

    # Once loaded, `apps` has the defaults and the apps of included files in it.

    version: Annotated[Literal[1], Number(1, 1, expects="1")] = about("Version of this format.", 1)
    project: Name = about("Names everything that belongs together on a host.", "shop")
    concurrency: Concurrency = about("Deployments side by side.", 2, default=4)
    prune: Switch = about(
        "Remove the containers of apps that are gone from this file.", True, default=False
    )
    defaults: Annotated[dict[str, Any], PartOf(App)] = about(
        "Fields of an app that apply to every app; an app's own fields win.",
        {"resources": {"memory": "512m"}},
        default_factory=dict,
    )
    include: tuple[RelativePath, ...] = about(
        "Further files with `apps:`, by pattern, inside this file's directory.",
        ["apps/*.yaml"],
        default=(),
    )
    apps: dict[Name, App] = about(_APPS, _APPS_EXAMPLE, default_factory=dict)
