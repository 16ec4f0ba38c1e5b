"""The spec: `Spec` and `App`, with every section below them, for whoever reads a spec.

Unknown fields are errors everywhere. Field descriptions are what an editor shows, through
`schemas/apps.schema.json`. A new source starts in `sources`, any other part in `sections`.
"""

# No `from __future__ import annotations`: annotations are read when the class is made.

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from reconciler.spec.declare import (
    Number,
    PartOf,
    Rule,
    Section,
    about,
    default_of,
    section,
)
from reconciler.spec.fields import (
    AbsolutePath,
    Argv,
    Concurrency,
    EnvName,
    Grace,
    LabelKey,
    Line,
    Name,
    Names,
    NetworkName,
    PortMapping,
    Raw,
    RelativePath,
    Replicas,
    RestartPolicy,
    Switch,
    User,
    VolumeMapping,
)
from reconciler.spec.hosts import LOCAL, Host, Tls
from reconciler.spec.images import is_digest, is_tag
from reconciler.spec.notify import Notify
from reconciler.spec.revisions import check_ref, parse_range
from reconciler.spec.routes import Certificate, Expose, HttpRoute, ProxySettings, TcpRoute
from reconciler.spec.scalars import parse_volume
from reconciler.spec.sections import (
    Build,
    Health,
    Hook,
    Hooks,
    HttpCheck,
    Image,
    Resources,
    Retention,
    Rollout,
    Schedule,
    Timeouts,
    Webhooks,
    When,
    Window,
)
from reconciler.spec.sources import (
    Credentials,
    EnvRef,
    FileRef,
    GitSource,
    ImageSource,
    PathSource,
    Ref,
    Source,
    Value,
)
from reconciler.spec.swarm import Swarm
from reconciler.spec.swarm_rules import swarm_rules

__all__ = [
    "App",
    "Build",
    "Certificate",
    "Credentials",
    "EnvRef",
    "Expose",
    "FileRef",
    "GitSource",
    "Health",
    "Hook",
    "Hooks",
    "Host",
    "HttpCheck",
    "HttpRoute",
    "Image",
    "ImageSource",
    "Notify",
    "PathSource",
    "ProxySettings",
    "Ref",
    "Resources",
    "Retention",
    "Rollout",
    "Schedule",
    "Source",
    "Spec",
    "Swarm",
    "TcpRoute",
    "Timeouts",
    "Tls",
    "Value",
    "Webhooks",
    "When",
    "Window",
]

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
    expose: Expose | None = about(
        "How requests reach the app through the project's proxy, which rollouts switch without a "
        "dropped request; beside `ports` or instead.",
        {"http": {"domains": ["shop.example.com"], "port": 8000}},
        {"tcp": {"listen": 5432, "port": 5432}},
        default=None,
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
    runtime: Literal["docker", "swarm"] = about(
        "docker: containers on the engine of each host. swarm: a service of the Swarm that the "
        "host manages.",
        "swarm",
        default="docker",
    )
    host: Names = about(
        "Where the app runs: names from `hosts`, or local, the engine on this machine. On several "
        "it is rolled out one after the other. With `runtime: swarm`, managers, of which the first "
        "that answers is asked.",
        "web1",
        ["web1", "web2"],
        default=(LOCAL,),
    )
    swarm: Swarm | None = about(
        "With `runtime: swarm`: how the service is spread and updated.",
        {"order": "start-first", "parallelism": 2},
        default=None,
    )
    resources: Resources = about(
        "Limits of the container.", {"cpus": 1.5, "memory": "512m"}, default_factory=Resources
    )
    restart: RestartPolicy = about(
        "no, always, unless-stopped or on-failure[:times].",
        "on-failure:3",
        default="unless-stopped",
    )
    replicas: Replicas = about(
        "Containers of this app, rolled out one after the other. Others that call it by its name "
        "reach any of them.",
        3,
        default=1,
    )
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
        {"strategy": "blue-green", "drain": "1m"},
        default_factory=Rollout,
    )
    hooks: Hooks = about(
        "Commands that run once for each deployment, in containers of the new image.",
        {"pre_deploy": [["./manage.py", "migrate"]]},
        default_factory=Hooks,
    )
    retention: Retention = about(
        "How much history is kept.", {"images": 5}, default_factory=Retention
    )
    timeouts: Timeouts = about(
        "The longest time for each stage.", {"build": "1h"}, default_factory=Timeouts
    )
    schedule: When | None = about(
        "When the image is built again, with fresh base images; a cron expression, in UTC or "
        "with its time zone. Nothing restarts when the same image comes out.",
        "0 4 * * *",
        {"cron": "0 4 * * sun", "tz": "Europe/Berlin"},
        default=None,
    )
    windows: tuple[Window, ...] = about(
        "When changes may be made; outside they are held. Healing isn't a change.",
        [{"allow": "0 9 * * mon-fri", "for": "8h", "tz": "Europe/Berlin"}],
        default=(),
    )
    depends_on: tuple[Name, ...] = about(
        "Apps of this project that have to be deployed and healthy before this one is changed.",
        ["db"],
        default=(),
    )
    previously: Name | None = about(
        "The app's former name: its containers and its history are this app's now.",
        "old-name",
        default=None,
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
        if self.expose and "none" in self.networks:
            yield "networks", "the proxy can't reach an app in the network 'none'"
        targets = Counter(parse_volume(text).target.rstrip("/") for text in self.volumes)
        for target, times in targets.items():
            if times > 1:
                yield "volumes", f"{times} mounts at {target}"
        yield from _rollout_rules(self)
        yield from _place_rules(self)

    @property
    def strategy(self) -> str:
        """recreate, blue-green or canary: what the spec says, or what suits the app."""
        if self.rollout.strategy is not None:
            return self.rollout.strategy
        shares = self.ports or "host" in self.networks
        return "blue-green" if self.expose is not None and not shares else "recreate"


def _place_rules(app: App) -> Iterator[Rule]:
    if not app.host:
        yield "host", "expected at least one host", "leave the line out for this machine's engine"
    for name, times in Counter(app.host).items():
        if times > 1:
            yield "host", f"{name} is there {times} times"
    if app.swarm and app.runtime != "swarm":
        yield "swarm", "these settings are for an app with `runtime: swarm`"
    if app.runtime == "swarm":
        yield from swarm_rules(app)
        return
    if app.host == (LOCAL,):
        return
    if any(parse_volume(text).is_here for text in app.volumes):
        hint = "write the full path of the directory on the host, or use a named volume"
        yield "volumes", "a relative directory is on this machine, where the app doesn't run", hint
    if app.expose:
        hint = "publish `ports` there, and put a proxy of your own in front"
        yield "expose", "the proxy leads to apps on the local engine alone", hint


def _rollout_rules(app: App) -> Iterator[Rule]:
    strategy = app.rollout.strategy
    if strategy == "canary" and (app.expose is None or app.expose.http is None):
        yield "rollout", "'canary' splits HTTP requests, for which the app needs expose.http"
    shared = "ports" if app.ports else "networks" if "host" in app.networks else ""
    if not shared or app.runtime == "swarm":
        return
    hint = "reach it through `expose` instead"
    if strategy in ("blue-green", "canary"):
        yield "rollout", f"'{strategy}' runs two containers at once, which can't share ports", hint
    if app.replicas > 1:
        yield "replicas", "several containers can't share the ports of the host", hint


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
    webhooks: Webhooks = about(
        "Secrets of the git hosts and registries that may call, by reference.",
        {"github": {"env": "GITHUB_WEBHOOK_SECRET"}},
        default_factory=Webhooks,
    )
    proxy: ProxySettings = about(
        "The proxy in front of the apps that have `expose`.",
        {"image": "haproxy:3.0-alpine", "http": 8080},
        default_factory=ProxySettings,
    )
    hosts: dict[Name, Host] = about(
        "Further machines that apps can run on, by name.",
        {"web1": {"docker": "ssh://deploy@10.0.0.5"}},
        default_factory=dict,
    )
    build_host: Name = about(
        "Where images are built: a name from `hosts`, or local.", "web1", default=LOCAL
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
    notify: Notify | None = about(
        "Who is told when an app's state changes.",
        {"urls": [{"env": "NOTIFY_URL"}], "events": ["failed", "rolled_back"]},
        default=None,
    )
    apps: dict[Name, App] = about(_APPS, _APPS_EXAMPLE, default_factory=dict)
