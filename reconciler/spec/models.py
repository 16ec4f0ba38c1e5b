"""The spec's models: one class for each section of `apps.yaml`.

Unknown fields are errors everywhere. Field descriptions are what an editor shows, through
`schemas/apps.schema.json`. A new source, build type or rollout starts with a model here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from reconciler.spec.scalars import (
    Duration,
    HealthPath,
    ImageName,
    Name,
    PortMapping,
    RelativePath,
    RestartPolicy,
    Size,
    VolumeMapping,
)


class Model(BaseModel):
    """Strict and frozen: an unknown field is an error, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class EnvRef(Model):
    """A value taken from an environment variable of the process that runs reconcile."""

    env: str = Field(min_length=1, description="Name of the environment variable.")


class FileRef(Model):
    """A value read from a file on the machine that runs reconcile."""

    file: str = Field(min_length=1, description="Path, absolute or relative to this file.")


def _ref_kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "file" if "file" in keys else "env"


Ref = Annotated[
    Annotated[EnvRef, Tag("env")] | Annotated[FileRef, Tag("file")], Discriminator(_ref_kind)
]


def _value_kind(value: Any) -> str:
    return "text" if isinstance(value, str) else _ref_kind(value)


Value = Annotated[
    Annotated[str, Tag("text")] | Annotated[EnvRef, Tag("env")] | Annotated[FileRef, Tag("file")],
    Discriminator(_value_kind),
]
"""Plain text exactly as written, or a reference to a secret."""


class Credentials(Model):
    """User name and password for a git host or a registry, the password by reference."""

    username: str = Field(min_length=1, description="User name; any text where a token is enough.")
    password: Ref = Field(description="Password or token, by reference.")


class GitSource(Model):
    """A git repository."""

    git: str = Field(
        min_length=1,
        description="URL: https://, http://, ssh://, user@host:path, file:// or an absolute path.",
        examples=["https://git.example.com/shop/api.git"],
    )
    subdir: RelativePath = Field(default=".", description="Build context inside the repository.")
    watch: tuple[RelativePath, ...] = Field(
        default=(), description="Further paths that count as this app's source."
    )
    submodules: bool = Field(default=True, description="Check submodules out as well.")
    credentials: Credentials | None = Field(default=None, description="For https.")
    ssh_key: FileRef | None = Field(
        default=None, description="Private key file for ssh; default: the agent or ssh's own keys."
    )


class PathSource(Model):
    """A directory beside `apps.yaml`."""

    path: str = Field(min_length=1, description="Directory, relative to this file.")
    subdir: RelativePath = Field(default=".", description="Build context inside the directory.")
    watch: tuple[RelativePath, ...] = Field(
        default=(), description="Further paths inside the directory that count as source."
    )


class ImageSource(Model):
    """A ready image in a registry."""

    image: ImageName = Field(description="Repository of the image, without tag or digest.")
    credentials: Credentials | None = Field(
        default=None, description="For the registry; default: docker's own configuration."
    )


def _source_kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else type(value).model_fields
    for kind in ("git", "path", "image"):
        if kind in keys:
            return kind
    return "git"


Source = Annotated[
    Annotated[GitSource, Tag("git")]
    | Annotated[PathSource, Tag("path")]
    | Annotated[ImageSource, Tag("image")],
    Discriminator(_source_kind),
]


class Build(Model):
    """How the image is built. A Dockerfile, or with `static` a directory served as files."""

    dockerfile: RelativePath = Field(
        default="Dockerfile", description="Path of the Dockerfile inside the build context."
    )
    static: RelativePath | None = Field(
        default=None, description="Directory inside the context to serve as files on port 8080."
    )
    server: ImageName | None = Field(
        default=None,
        description="Image with busybox httpd that serves `static`; default busybox:stable.",
    )
    target: str | None = Field(default=None, description="Stage of the Dockerfile to build.")
    args: dict[str, str] = Field(default_factory=dict, description="Build arguments.")
    secrets: dict[str, Ref] = Field(
        default_factory=dict,
        description="Build secrets, for `RUN --mount=type=secret,id=NAME`. Need BuildKit.",
    )


class Image(Model):
    """Where the built image is named and pushed to."""

    repository: ImageName = Field(description="Repository without tag.")
    push: bool = Field(default=False, description="Push after the build.")
    credentials: Credentials | None = Field(
        default=None, description="For the registry; default: docker's own configuration."
    )


class Resources(Model):
    """Limits of the container."""

    cpus: float | None = Field(default=None, gt=0, description="Cores, e.g. 1.5.")
    memory: Size | None = Field(default=None, description="Memory limit, e.g. 512m or 1g.")
    pids: int | None = Field(default=None, gt=0, description="Largest number of processes.")


class HttpCheck(Model):
    """Healthy when a GET is answered with a status below 400."""

    port: int = Field(ge=1, le=65535, description="Port inside the container.")
    path: HealthPath = Field(default="/", description="Path, with its query if any.")


class Health(Model):
    """When a new container counts as working. At most one of http, tcp and command."""

    http: HttpCheck | None = None
    tcp: int | None = Field(
        default=None, ge=1, le=65535, description="Healthy when this container port accepts."
    )
    command: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Healthy when it exits with 0 in the container."
    )
    timeout: Duration = Field(default="60s", description="Time to become healthy.")
    stable: Duration = Field(
        default="3s",
        description="Without any check: how long the container has to run without a restart.",
    )


class Rollout(Model):
    """How the old container makes room for the new one."""

    strategy: Literal["recreate"] = Field(
        default="recreate", description="recreate: the old one stops, then the new one starts."
    )


class Retention(Model):
    """How much history is kept for each app."""

    images: int = Field(default=3, ge=1, description="Built images to keep for going back.")
    deployments: int = Field(default=20, ge=1, description="Deployments (rows and logs) to keep.")


class Timeouts(Model):
    """The longest time for each stage; health has its own `health.timeout`."""

    clone: Duration = "10m"
    build: Duration = "30m"
    push: Duration = "15m"
    deploy: Duration = "5m"


class App(Model):
    """One application."""

    title: str | None = Field(default=None, description="A name for people.")
    source: Source = Field(description="Exactly one of git, path and image.")
    revision: str | None = Field(
        default=None,
        min_length=1,
        description="git: branch, tag, full commit or semver range over tags (default: the "
        "repository's default branch). image: tag, digest or semver range (default: latest). "
        "path: not allowed.",
        examples=["main", "v1.4.2", ">=1.4 <2"],
    )
    build: Build = Field(default_factory=Build)
    image: Image | None = None
    env: dict[str, Value] = Field(
        default_factory=dict,
        description="Environment of the container: text exactly as written, or a reference.",
    )
    env_file: bool = Field(
        default=False, description="Also write env as .env into the build context."
    )
    command: tuple[str, ...] | None = Field(default=None, description="Replaces the image's CMD.")
    entrypoint: tuple[str, ...] | None = Field(
        default=None, description="Replaces the image's ENTRYPOINT."
    )
    user: str | None = Field(default=None, description="User or uid[:gid].")
    workdir: str | None = Field(default=None, description="Working directory in the container.")
    ports: tuple[PortMapping, ...] = Field(
        default=(), description="[address:]host:container[/udp].", examples=[["127.0.0.1:80:8000"]]
    )
    volumes: tuple[VolumeMapping, ...] = Field(
        default=(), description="name:/path or ./directory:/path, with :ro for read-only."
    )
    networks: tuple[Name, ...] = Field(
        default=(),
        description="Docker networks to join, made when missing; default: one named like the "
        "project, where apps find each other by name.",
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of the container.")
    resources: Resources = Field(default_factory=Resources)
    restart: RestartPolicy = Field(
        default="unless-stopped", description="no, always, unless-stopped or on-failure[:times]."
    )
    replicas: int = Field(default=1, ge=1, le=1, description="Containers of this app; 1 for now.")
    stop_grace_period: Duration = Field(
        default="10s", description="From SIGTERM to SIGKILL when the container is stopped."
    )
    health: Health = Field(default_factory=Health)
    rollout: Rollout = Field(default_factory=Rollout)
    retention: Retention = Field(default_factory=Retention)
    timeouts: Timeouts = Field(default_factory=Timeouts)
    suspend: bool = Field(default=False, description="The loop leaves this app alone.")


class Spec(Model):
    """The whole file."""

    version: Literal[1] = Field(description="Version of this format.")
    project: Name = Field(description="Names everything that belongs together on a host.")
    concurrency: int = Field(default=4, ge=1, le=64, description="Deployments side by side.")
    prune: bool = Field(
        default=False, description="Remove the containers of apps that are gone from this file."
    )
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="Fields of an app that apply to every app."
    )
    include: tuple[RelativePath, ...] = Field(
        default=(),
        description="Further files with `apps:`, by pattern.",
        examples=[["apps/*.yaml"]],
    )
    apps: dict[Name, App] = Field(default_factory=dict, description="The apps, by name.")
