"""The spec's models: one class for each section of `apps.yaml`.

Unknown fields are errors everywhere. Field descriptions are what an editor shows, through
`schemas/apps.schema.json`. A new source, build type or rollout starts with a model here.
"""

# No `from __future__ import annotations`: annotations are read when the class is made.

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from reconciler.spec.base import Model, field
from reconciler.spec.images import is_digest, is_tag
from reconciler.spec.reading import Entry, Reading, entries
from reconciler.spec.revisions import check_ref, parse_range
from reconciler.spec.scalars import (
    AbsolutePath,
    Argv,
    Command,
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
    User,
    UserName,
    VolumeMapping,
    parse_volume,
)
from reconciler.spec.sections import Defaults
from reconciler.spec.urls import has_credentials, is_ssh

Rule = tuple[str, ...]

__all__ = [
    "App",
    "Build",
    "Credentials",
    "EnvRef",
    "FileRef",
    "GitSource",
    "Health",
    "HttpCheck",
    "Image",
    "ImageSource",
    "Included",
    "Model",
    "PathSource",
    "Ref",
    "Resources",
    "Retention",
    "Rollout",
    "Source",
    "Spec",
    "Timeouts",
    "Value",
]


class EnvRef(Model):
    """A value taken from an environment variable of the process that runs reconcile."""

    env: EnvName = field("Name of the environment variable.", examples=["DATABASE_URL"])


class FileRef(Model):
    """A value read from a file on the machine that runs reconcile."""

    file: FilePath = field(
        "Path of the file, absolute or relative to this file. One newline at its end is dropped.",
        examples=["/run/secrets/database_url", "secrets/database_url"],
    )


Ref = EnvRef | FileRef
"""A secret by reference."""
Value = Raw | EnvRef | FileRef
"""Plain text exactly as written, or a reference to a secret."""


class Credentials(Model):
    """User name and password for a git host or a registry, the password by reference."""

    username: UserName = field(
        "User name; any text where a token is enough.", examples=["deploy", "x-access-token"]
    )
    password: Ref = field(
        "Password or token, by reference.",
        examples=[{"env": "REGISTRY_TOKEN"}, {"file": "/run/secrets/registry_token"}],
    )


class GitSource(Model):
    """A git repository."""

    git: GitUrl = field(
        "URL: https://, http://, ssh://, user@host:path, file:// or an absolute path.",
        examples=["https://git.example.com/shop/api.git", "git@git.example.com:shop/api.git"],
        hidden=True,
    )
    subdir: RelativePath = field(
        "Build context inside the repository.", default=".", examples=["services/api"]
    )
    watch: tuple[RelativePath, ...] = field(
        "Further paths that count as this app's source: a commit that touches one rebuilds it.",
        default=(),
        examples=[["libs/common"]],
    )
    submodules: bool = field("Check submodules out as well.", default=True, examples=[False])
    credentials: Credentials | None = field(
        "User name and password for https.",
        default=None,
        examples=[{"username": "deploy", "password": {"env": "GIT_TOKEN"}}],
    )
    ssh_key: FileRef | None = field(
        "Private key file for ssh; default: the agent or ssh's own keys.",
        default=None,
        examples=[{"file": "/etc/reconciler/deploy_key"}],
    )

    def rules(self) -> Iterator[Rule]:
        if self.credentials and is_ssh(self.git):
            yield "credentials", "credentials are for https; over ssh use ssh_key or the agent"
        elif self.credentials and has_credentials(self.git):
            yield "git", "the URL has credentials and so has 'credentials'; keep one"
        if self.ssh_key and not is_ssh(self.git):
            yield "ssh_key", "a key is for ssh; over https use credentials"


class PathSource(Model):
    """A directory beside `apps.yaml`."""

    path: FilePath = field("Directory, relative to this file.", examples=["./api", "."])
    subdir: RelativePath = field(
        "Build context inside the directory.", default=".", examples=["services/api"]
    )
    watch: tuple[RelativePath, ...] = field(
        "Further paths inside the directory that count as source.",
        default=(),
        examples=[["libs/common"]],
    )


class ImageSource(Model):
    """A ready image in a registry."""

    image: ImageName = field(
        "Repository of the image; its tag or digest is the app's revision.",
        examples=["ghcr.io/shop/api", "postgres"],
    )
    credentials: Credentials | None = field(
        "For the registry; default: docker's own configuration.",
        default=None,
        examples=[{"username": "deploy", "password": {"env": "REGISTRY_TOKEN"}}],
    )


Source = GitSource | PathSource | ImageSource


class Build(Model):
    """How the image is built. A Dockerfile, or with `static` a directory served as files."""

    exclusive = (("static", "server"), ("dockerfile", "target", "args", "secrets"))

    dockerfile: RelativePath = field(
        "Path of the Dockerfile inside the build context.",
        default="Dockerfile",
        examples=["docker/Dockerfile.web"],
    )
    static: RelativePath | None = field(
        "Directory inside the context to serve as files on port 8080.",
        default=None,
        examples=["public"],
    )
    server: ImageReference | None = field(
        "Image with busybox httpd that serves `static`; default busybox:stable.",
        default=None,
        examples=["busybox:1.36"],
    )
    target: Stage | None = field(
        "Stage of the Dockerfile to build.", default=None, examples=["runtime"]
    )
    args: dict[EnvName, Raw] = field(
        "Build arguments, exactly as written.",
        default={},
        examples=[{"NODE_ENV": "production"}],
        hidden=True,
    )
    secrets: dict[SecretId, Ref] = field(
        "Build secrets, for `RUN --mount=type=secret,id=NAME`. Need BuildKit.",
        default={},
        examples=[{"npm_token": {"env": "NPM_TOKEN"}}],
    )

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        if self.server and not self.static:
            yield "server", "'server' serves the files of 'static', which isn't set"


class Image(Model):
    """Where the built image is named and pushed to."""

    repository: Repository = field(
        "Repository without tag.", examples=["registry.example.com/shop/api"]
    )
    push: bool = field("Push after the build.", default=False, examples=[True])
    credentials: Credentials | None = field(
        "For the registry; default: docker's own configuration.",
        default=None,
        examples=[{"username": "deploy", "password": {"env": "REGISTRY_TOKEN"}}],
    )


class Resources(Model):
    """Limits of the container."""

    cpus: Cores | None = field("Cores; parts are possible.", default=None, examples=[1.5])
    memory: Memory | None = field(
        "Memory limit; units are powers of 1024.", default=None, examples=["512m", "1g"]
    )
    pids: Count | None = field("Largest number of processes.", default=None, examples=[200])


class HttpCheck(Model):
    """Healthy when a GET is answered with a status below 400."""

    port: PortNumber = field("Port inside the container.", examples=[8000])
    path: HealthPath = field("Path, with its query if any.", default="/", examples=["/healthz"])


class Health(Model):
    """When a new container counts as working. At most one of http, tcp and command."""

    exclusive = (("http",), ("tcp",), ("command",))

    http: HttpCheck | None = field(
        "Healthy when a GET is answered with a status below 400.",
        default=None,
        examples=[{"port": 8000, "path": "/healthz"}],
    )
    tcp: PortNumber | None = field(
        "Healthy when this container port accepts.", default=None, examples=[5432]
    )
    command: Command | None = field(
        "Healthy when it exits with 0 in the container.",
        default=None,
        examples=[["pg_isready", "-q"]],
        hidden=True,
    )
    timeout: Duration = field("Time to become healthy.", default="60s", examples=["2m"])
    stable: Duration = field(
        "Without any check: how long the container has to run without a restart.",
        default="3s",
        examples=["10s"],
    )


class Rollout(Model):
    """How the old container makes room for the new one."""

    strategy: Literal["recreate"] = field(
        "recreate: the old one stops, then the new one starts.",
        default="recreate",
        examples=["recreate"],
    )


class Retention(Model):
    """How much history is kept for each app."""

    images: Count = field("Built images to keep for going back.", default=3, examples=[5])
    deployments: Count = field("Deployments (rows and logs) to keep.", default=20, examples=[50])


class Timeouts(Model):
    """The longest time for each stage; health has its own `health.timeout`."""

    clone: Duration = field("For fetching the source.", default="10m", examples=["5m"])
    build: Duration = field("For the build.", default="30m", examples=["1h"])
    push: Duration = field("For the push.", default="15m", examples=["30m"])
    deploy: Duration = field("For swapping the containers.", default="5m", examples=["2m"])


_NOT_FOR_IMAGES = ("build", "image", "env_file")


class App(Model):
    """One application."""

    title: Line | None = field("A name for people.", default=None, examples=["Shop API"])
    source: Source = field(
        "Where the app comes from: exactly one of git, path and image.",
        examples=[{"git": "https://git.example.com/shop/api.git"}, {"path": "./api"}],
    )
    revision: Line | None = field(
        "git: branch, tag, full commit or semver range over tags (default: the repository's "
        "default branch). image: tag, digest or semver range (default: latest). path: not allowed.",
        default=None,
        examples=["main", "v1.4.2", ">=1.4 <2"],
    )
    build: Build = field(
        "How the image is built.", default=Build(), examples=[{"dockerfile": "Dockerfile"}]
    )
    image: Image | None = field(
        "Where the built image is named and pushed to.",
        default=None,
        examples=[{"repository": "registry.example.com/shop/api", "push": True}],
    )
    env: dict[EnvName, Value] = field(
        "Environment of the container: text exactly as written, or a reference.",
        default={},
        examples=[{"LOG_LEVEL": "info", "DATABASE_URL": {"file": "/run/secrets/database_url"}}],
        hidden=True,
    )
    env_file: bool = field(
        "Also write env as .env into the build context.", default=False, examples=[True]
    )
    command: Argv | None = field(
        "Replaces the image's CMD.",
        default=None,
        examples=[["serve", "--port", "8000"]],
        hidden=True,
    )
    entrypoint: Argv | None = field(
        "Replaces the image's ENTRYPOINT.",
        default=None,
        examples=[["/bin/tini", "--"]],
        hidden=True,
    )
    user: User | None = field("User or uid[:gid].", default=None, examples=["1000:1000"])
    workdir: AbsolutePath | None = field(
        "Working directory in the container.", default=None, examples=["/srv"]
    )
    ports: tuple[PortMapping, ...] = field(
        "[address:]host:container[/udp].", default=(), examples=[["127.0.0.1:8080:8000"]]
    )
    volumes: tuple[VolumeMapping, ...] = field(
        "name:/path or ./directory:/path, with :ro for read-only.",
        default=(),
        examples=[["data:/var/lib/api", "./config:/etc/api:ro"]],
    )
    networks: tuple[NetworkName, ...] = field(
        "Docker networks to join, made when missing; default: one named like the project, where "
        "apps find each other by name.",
        default=(),
        examples=[["frontend", "backend"]],
    )
    labels: dict[LabelKey, Raw] = field(
        "Labels of the container, exactly as written.",
        default={},
        examples=[{"com.example.team": "shop"}],
    )
    resources: Resources = field(
        "Limits of the container.", default=Resources(), examples=[{"cpus": 1.5, "memory": "512m"}]
    )
    restart: RestartPolicy = field(
        "no, always, unless-stopped or on-failure[:times].",
        default="unless-stopped",
        examples=["on-failure:3"],
    )
    replicas: Replicas = field("Containers of this app; 1 for now.", default=1, examples=[1])
    stop_grace_period: Grace = field(
        "From SIGTERM to SIGKILL when the container is stopped.", default="10s", examples=["30s"]
    )
    health: Health = field(
        "When a new container counts as working. Without one: the image's HEALTHCHECK, or that "
        "it keeps running.",
        default=Health(),
        examples=[{"http": {"port": 8000, "path": "/healthz"}}],
    )
    rollout: Rollout = field(
        "How the old container makes room for the new one.",
        default=Rollout(),
        examples=[{"strategy": "recreate"}],
    )
    retention: Retention = field(
        "How much history is kept.", default=Retention(), examples=[{"images": 5}]
    )
    timeouts: Timeouts = field(
        "The longest time for each stage.", default=Timeouts(), examples=[{"build": "1h"}]
    )
    suspend: bool = field(
        "The loop leaves this app alone; by hand it still deploys.", default=False, examples=[True]
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

    @classmethod
    def not_inherited(cls, merged: Mapping[str, Entry], own: Mapping[str, Entry]) -> Iterator[str]:
        """Defaults for apps that are built don't concern ready images, nor revisions paths."""
        source = merged["source"][1] if "source" in merged else None
        if source is None or source.id != "mapping":
            return
        named = entries(source, "", Reading())
        if "image" in named:
            yield from (name for name in _NOT_FOR_IMAGES if name not in own)
        if "path" in named and "revision" not in own:
            yield "revision"


def _source_rules(app: App) -> Iterator[Rule]:
    if not isinstance(app.source, ImageSource):
        return
    for name in _NOT_FOR_IMAGES:
        if getattr(app, name) != App.model_fields[name].get_default():
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


Partial = Annotated[dict[str, Any], Defaults(App)]
"""Fields of an app, none required; sections come out as plain dicts."""

_APPS = "The apps, by name."
_APPS_EXAMPLE = {"api": {"source": {"git": "https://git.example.com/shop/api.git"}}}


class Spec(Model):
    """What shall run on a host: a project and its apps."""

    # Once loaded, `apps` has the defaults and the apps of included files in it.

    version: Literal[1] = field("Version of this format.", examples=[1])
    project: Name = field("Names everything that belongs together on a host.", examples=["shop"])
    concurrency: Concurrency = field("Deployments side by side.", default=4, examples=[2])
    prune: bool = field(
        "Remove the containers of apps that are gone from this file.",
        default=False,
        examples=[True],
    )
    defaults: Partial = field(
        "Fields of an app that apply to every app; an app's own fields win.",
        default={},
        examples=[{"resources": {"memory": "512m"}}],
    )
    include: tuple[RelativePath, ...] = field(
        "Further files with `apps:`, by pattern, inside this file's directory.",
        default=(),
        examples=[["apps/*.yaml"]],
    )
    apps: dict[Name, App] = field(_APPS, default={}, examples=[_APPS_EXAMPLE])


class Included(Model):
    """A file that another one includes: apps and nothing else."""

    apps: dict[Name, App] = field(_APPS, examples=[_APPS_EXAMPLE])
