"""Requests for deployments: from a target, from what serves, or from an earlier deployment."""

from __future__ import annotations

from dataclasses import replace

from reconciler import queue
from reconciler.engine.desired import Target
from reconciler.engine.whereabouts import remember_hosts
from reconciler.pipeline.tools import Tools
from reconciler.plan.facts import setting_facts
from reconciler.plan.hashes import target_hash
from reconciler.plan.places import places_of
from reconciler.plan.states import Place
from reconciler.spec.models import App, GitSource, ImageSource
from reconciler.spec.plain import from_plain, to_plain
from reconciler.spec.urls import strip_credentials
from reconciler.state.records import Deployment, Request
from reconciler.values import frozen

TITLES = {"deploy": "Manual deployment", "redeploy": "Rebuild deployment"}


@frozen
class Asked:
    """What is asked for, by whom, and why."""

    kind: str
    trigger: str
    cause: str
    stages: tuple[str, ...] = ()
    title: str = ""
    description: str = ""
    force: bool = False
    no_cache: bool = False
    pull: bool = False


@frozen
class Copies:
    """How many containers of an app there shall be, and where; `places` if not on all hosts."""

    replicas: int
    hosts: tuple[str, ...]
    places: tuple[Place, ...] = ()


def put_request(tools: Tools, request: Request) -> Deployment:
    """Into the queue, with what a worker has to know of the hosts.

    Raises what `queue.put` raises.
    """
    tools.hosts.learn_described(request.hosts)  # of an earlier deployment, maybe
    row = tools.store.find_app(request.app)
    served = places_of(row.settings).all if row and row.serving else ()
    wanted = places_of(setting_facts(from_plain(App, request.spec)))
    leaves = tuple(place for place in served if place not in wanted.all)
    names = {*wanted.hosts, *(host for _, host in leaves), tools.hosts.build_host}
    remember_hosts(tools.store, tools.hosts, request.app, names)
    request = replace(
        request,
        leaves=leaves,
        hosts=tools.hosts.describe(names),
        build_host=tools.hosts.build_host,
    )
    return queue.put(tools.store, request, tools.clock())


def target_request(target: Target, asked: Asked, image_id: str = "") -> Request:
    """What the spec wants now. The target must have no trouble."""
    resolved = target.resolved
    return Request(
        app=target.desired.app,
        kind=asked.kind,
        trigger=asked.trigger,
        target=target_hash(target.desired),
        spec=dump_app(target.app),
        base_dir=str(target.base_dir),
        revision=target.desired.revision,
        resolved=target.desired.resolved,
        reference=resolved.reference if resolved else "",
        content=dict(target.content),
        image_id=image_id,
        stages=asked.stages,
        title=asked.title,
        description=asked.description,
        cause=asked.cause,
        force=asked.force,
        no_cache=asked.no_cache,
        pull=asked.pull,
        spec_revision=target.spec_revision,
    )


def repeat_request(row: Deployment, asked: Asked) -> Request:
    """What an earlier deployment ran, from its image."""
    return replace(
        row.read_request(),
        kind=asked.kind,
        trigger=asked.trigger,
        cause=asked.cause,
        title=asked.title,
        description=asked.description,
        image_id=row.image_id,
        stages=asked.stages,
        force=False,
        no_cache=False,
        pull=False,
        keep_same=False,
        joins="",
        places=(),
    )


def heal_request(row: Deployment | None, asked: Asked, copies: Copies) -> Request:
    """What serves, again. The planner heals only what has a row."""
    assert row is not None  # noqa: S101
    request = repeat_request(row, asked)
    spec = {**request.spec, "replicas": copies.replicas, "host": list(copies.hosts)}
    return replace(request, spec=spec, places=copies.places)


def scale_request(row: Deployment | None, asked: Asked, copies: Copies, target: str) -> Request:
    """More or fewer containers of what serves. `target`: what it reaches, if that is new."""
    request = heal_request(row, asked, copies)
    joins = row.id if row else ""
    return replace(request, joins=joins, target=target or request.target)


def remove_request(app: str, row: Deployment | None, asked: Asked) -> Request:
    """The end of an app that is gone from the spec; `row` is what served, if it is known."""
    if row is not None:
        return repeat_request(row, asked)
    spec = dump_app(App(source=ImageSource(image="unknown")))
    return Request(app, asked.kind, asked.trigger, "", spec, "/", cause=asked.cause)


def dump_app(app: App) -> dict[str, object]:
    """The app's section as data, without any secret: references stay references, and credentials
    are taken out of a git URL (`Tools.urls` finds them again).
    """
    if isinstance(app.source, GitSource):
        source = replace(app.source, git=strip_credentials(app.source.git))
        app = replace(app, source=source)
    return to_plain(app)
