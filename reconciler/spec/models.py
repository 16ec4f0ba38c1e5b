"""The spec's models: one class for each section of `apps.yaml`.

Unknown fields are errors everywhere. Field descriptions are what an editor shows, through
`schemas/apps.schema.json`. A new source, build type or rollout starts with a model here.
"""

# No `from __future__ import annotations`: annotations are read when the class is made.

from collections import Counter
from collections.abc import Iterator
from dataclasses import field
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

    env: EnvName = field(metadata=about("Name of the environment variable.", "DATABASE_URL"))


@section
class FileRef(Section):
    """A value read from a file on the machine that runs reconcile."""

    file: FilePath = field(
        metadata=about(
            "Path of the file, absolute or relative to this file. One newline at its end is "
            "dropped.",
            "/run/secrets/database_url",
            "secrets/database_url",
        )
    )


Ref = Annotated[EnvRef | FileRef, OneOf()]
"""A secret by reference."""
Value = Annotated[Raw | EnvRef | FileRef, OneOf()]
"""Plain text exactly as written, or a reference to a secret."""


@section
class Credentials(Section):
    """User name and password for a git host or a registry, the password by reference."""

    username: UserName = field(
        metadata=about("User name; any text where a token is enough.", "deploy", "x-access-token")
    )
    password: Ref = field(
        metadata=about(
            "Password or token, by reference.",
            {"env": "REGISTRY_TOKEN"},
            {"file": "/run/secrets/registry_token"},
        )
    )


@section
class GitSource(Section):
    """A git repository."""

    git: GitUrl = field(
        repr=False,
        metadata=about(
            "URL: https://, http://, ssh://, user@host:path, file:// or an absolute path.",
            "https://git.example.com/shop/api.git",
            "git@git.example.com:shop/api.git",
        ),
    )
    subdir: RelativePath = field(
        default=".", metadata=about("Build context inside the repository.", "services/api")
    )
    watch: tuple[RelativePath, ...] = field(
        default=(),
        metadata=about(
            "Further paths that count as this app's source: a commit that touches one rebuilds it.",
            ["libs/common"],
        ),
    )
    submodules: Switch = field(default=True, metadata=about("Check submodules out as well.", False))
    credentials: Credentials | None = field(
        default=None,
        metadata=about(
            "User name and password for https.",
            {"username": "deploy", "password": {"env": "GIT_TOKEN"}},
        ),
    )
    ssh_key: FileRef | None = field(
        default=None,
        metadata=about(
            "Private key file for ssh; default: the agent or ssh's own keys.",
            {"file": "/etc/reconciler/deploy_key"},
        ),
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

    path: FilePath = field(metadata=about("Directory, relative to this file.", "./api", "."))
    subdir: RelativePath = field(
        default=".", metadata=about("Build context inside the directory.", "services/api")
    )
    watch: tuple[RelativePath, ...] = field(
        default=(),
        metadata=about("Further paths inside the directory that count as source.", ["libs/common"]),
    )


@section
class ImageSource(Section):
    """A ready image in a registry."""

    image: ImageName = field(
        metadata=about(
            "Repository of the image; its tag or digest is the app's revision.",
            "ghcr.io/shop/api",
            "postgres",
        )
    )
    credentials: Credentials | None = field(
        default=None,
        metadata=about(
            "For the registry; default: docker's own configuration.",
            {"username": "deploy", "password": {"env": "REGISTRY_TOKEN"}},
        ),
    )


Source = Annotated[GitSource | PathSource | ImageSource, OneOf()]


@section
class Build(Section):
    """How the image is built. A Dockerfile, or with `static` a directory served as files."""

    exclusive = (("static", "server"), ("dockerfile", "target", "args", "secrets"))

    dockerfile: RelativePath = field(
        default="Dockerfile",
        metadata=about("Path of the Dockerfile inside the build context.", "docker/Dockerfile.web"),
    )
    static: RelativePath | None = field(
        default=None,
        metadata=about("Directory inside the context to serve as files on port 8080.", "public"),
    )
    server: ImageReference | None = field(
        default=None,
        metadata=about(
            "Image with busybox httpd that serves `static`; default busybox:stable.", "busybox:1.36"
        ),
    )
    target: Stage | None = field(
        default=None, metadata=about("Stage of the Dockerfile to build.", "runtime")
    )
    args: dict[EnvName, Raw] = field(
        default_factory=dict,
        repr=False,
        metadata=about("Build arguments, exactly as written.", {"NODE_ENV": "production"}),
    )
    secrets: dict[SecretId, Ref] = field(
        default_factory=dict,
        metadata=about(
            "Build secrets, for `RUN --mount=type=secret,id=NAME`. Need BuildKit.",
            {"npm_token": {"env": "NPM_TOKEN"}},
        ),
    )

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        if self.server and not self.static:
            yield "server", "'server' serves the files of 'static', which isn't set"


@section
class Image(Section):
    """Where the built image is named and pushed to."""

    repository: Repository = field(
        metadata=about("Repository without tag.", "registry.example.com/shop/api")
    )
    push: Switch = field(default=False, metadata=about("Push after the build.", True))
    credentials: Credentials | None = field(
        default=None,
        metadata=about(
            "For the registry; default: docker's own configuration.",
            {"username": "deploy", "password": {"env": "REGISTRY_TOKEN"}},
        ),
    )


@section
class Resources(Section):
    """Limits of the container."""

    cpus: Cores | None = field(default=None, metadata=about("Cores; parts are possible.", 1.5))
    memory: Memory | None = field(
        default=None, metadata=about("Memory limit; units are powers of 1024.", "512m", "1g")
    )
    pids: Count | None = field(default=None, metadata=about("Largest number of processes.", 200))


@section
class HttpCheck(Section):
    """Healthy when a GET is answered with a status below 400."""

    port: PortNumber = field(metadata=about("Port inside the container.", 8000))
    path: HealthPath = field(
        default="/", metadata=about("Path, with its query if any.", "/healthz")
    )


@section
class Health(Section):
    """When a new container counts as working. At most one of http, tcp and command."""

    exclusive = (("http",), ("tcp",), ("command",))

    http: HttpCheck | None = field(
        default=None,
        metadata=about(
            "Healthy when a GET is answered with a status below 400.",
            {"port": 8000, "path": "/healthz"},
        ),
    )
    tcp: PortNumber | None = field(
        default=None, metadata=about("Healthy when this container port accepts.", 5432)
    )
    command: tuple[Argument, ...] | None = field(
        default=None,
        repr=False,
        metadata=about(
            "Healthy when it exits with 0 in the container.", ["pg_isready", "-q"], min_length=1
        ),
    )
    timeout: Duration = field(default="60s", metadata=about("Time to become healthy.", "2m"))
    stable: Duration = field(
        default="3s",
        metadata=about(
            "Without any check: how long the container has to run without a restart.", "10s"
        ),
    )


@section
class Rollout(Section):
    """How the old container makes room for the new one."""

    strategy: Literal["recreate"] = field(
        default="recreate",
        metadata=about("recreate: the old one stops, then the new one starts.", "recreate"),
    )


@section
class Retention(Section):
    """How much history is kept for each app."""

    images: Count = field(default=3, metadata=about("Built images to keep for going back.", 5))
    deployments: Count = field(
        default=20, metadata=about("Deployments (rows and logs) to keep.", 50)
    )


@section
class Timeouts(Section):
    """The longest time for each stage; health has its own `health.timeout`."""

    clone: Duration = field(default="10m", metadata=about("For fetching the source.", "5m"))
    build: Duration = field(default="30m", metadata=about("For the build.", "1h"))
    push: Duration = field(default="15m", metadata=about("For the push.", "30m"))
    deploy: Duration = field(default="5m", metadata=about("For swapping the containers.", "2m"))


_NOT_FOR_IMAGES = ("build", "image", "env_file")


@section
class App(Section):
    """One application."""

    title: Line | None = field(default=None, metadata=about("A name for people.", "Shop API"))
    source: Source = field(
        metadata=about(
            "Where the app comes from: exactly one of git, path and image.",
            {"git": "https://git.example.com/shop/api.git"},
            {"path": "./api"},
        )
    )
    revision: Line | None = field(
        default=None,
        metadata=about(
            "git: branch, tag, full commit or semver range over tags (default: the repository's "
            "default branch). image: tag, digest or semver range (default: latest). path: not "
            "allowed.",
            "main",
            "v1.4.2",
            ">=1.4 <2",
        ),
    )
    build: Build = field(
        default_factory=Build,
        metadata=about("How the image is built.", {"dockerfile": "Dockerfile"}),
    )
    image: Image | None = field(
        default=None,
        metadata=about(
            "Where the built image is named and pushed to.",
            {"repository": "registry.example.com/shop/api", "push": True},
        ),
    )
    env: dict[EnvName, Value] = field(
        default_factory=dict,
        repr=False,
        metadata=about(
            "Environment of the container: text exactly as written, or a reference.",
            {"LOG_LEVEL": "info", "DATABASE_URL": {"file": "/run/secrets/database_url"}},
        ),
    )
    env_file: Switch = field(
        default=False, metadata=about("Also write env as .env into the build context.", True)
    )
    command: Argv | None = field(
        default=None,
        repr=False,
        metadata=about("Replaces the image's CMD.", ["serve", "--port", "8000"]),
    )
    entrypoint: Argv | None = field(
        default=None,
        repr=False,
        metadata=about("Replaces the image's ENTRYPOINT.", ["/bin/tini", "--"]),
    )
    user: User | None = field(default=None, metadata=about("User or uid[:gid].", "1000:1000"))
    workdir: AbsolutePath | None = field(
        default=None, metadata=about("Working directory in the container.", "/srv")
    )
    ports: tuple[PortMapping, ...] = field(
        default=(), metadata=about("[address:]host:container[/udp].", ["127.0.0.1:8080:8000"])
    )
    volumes: tuple[VolumeMapping, ...] = field(
        default=(),
        metadata=about(
            "name:/path or ./directory:/path, with :ro for read-only.",
            ["data:/var/lib/api", "./config:/etc/api:ro"],
        ),
    )
    networks: tuple[NetworkName, ...] = field(
        default=(),
        metadata=about(
            "Docker networks to join, made when missing; default: one named like the project, "
            "where apps find each other by name.",
            ["frontend", "backend"],
        ),
    )
    labels: dict[LabelKey, Raw] = field(
        default_factory=dict,
        metadata=about(
            "Labels of the container, exactly as written.", {"com.example.team": "shop"}
        ),
    )
    resources: Resources = field(
        default_factory=Resources,
        metadata=about("Limits of the container.", {"cpus": 1.5, "memory": "512m"}),
    )
    restart: RestartPolicy = field(
        default="unless-stopped",
        metadata=about("no, always, unless-stopped or on-failure[:times].", "on-failure:3"),
    )
    replicas: Replicas = field(default=1, metadata=about("Containers of this app; 1 for now.", 1))
    stop_grace_period: Grace = field(
        default="10s",
        metadata=about("From SIGTERM to SIGKILL when the container is stopped.", "30s"),
    )
    health: Health = field(
        default_factory=Health,
        metadata=about(
            "When a new container counts as working. Without one: the image's HEALTHCHECK, or that "
            "it keeps running.",
            {"http": {"port": 8000, "path": "/healthz"}},
        ),
    )
    rollout: Rollout = field(
        default_factory=Rollout,
        metadata=about(
            "How the old container makes room for the new one.", {"strategy": "recreate"}
        ),
    )
    retention: Retention = field(
        default_factory=Retention, metadata=about("How much history is kept.", {"images": 5})
    )
    timeouts: Timeouts = field(
        default_factory=Timeouts,
        metadata=about("The longest time for each stage.", {"build": "1h"}),
    )
    suspend: Switch = field(
        default=False,
        metadata=about("The loop leaves this app alone; by hand it still deploys.", True),
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

    version: Annotated[Literal[1], Number(1, 1, expects="1")] = field(
        metadata=about("Version of this format.", 1)
    )
    project: Name = field(
        metadata=about("Names everything that belongs together on a host.", "shop")
    )
    concurrency: Concurrency = field(default=4, metadata=about("Deployments side by side.", 2))
    prune: Switch = field(
        default=False,
        metadata=about("Remove the containers of apps that are gone from this file.", True),
    )
    defaults: Annotated[dict[str, Any], PartOf(App)] = field(
        default_factory=dict,
        metadata=about(
            "Fields of an app that apply to every app; an app's own fields win.",
            {"resources": {"memory": "512m"}},
        ),
    )
    include: tuple[RelativePath, ...] = field(
        default=(),
        metadata=about(
            "Further files with `apps:`, by pattern, inside this file's directory.", ["apps/*.yaml"]
        ),
    )
    apps: dict[Name, App] = field(default_factory=dict, metadata=about(_APPS, _APPS_EXAMPLE))
