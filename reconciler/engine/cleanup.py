"""What may go: old deployments with their logs, old images, checkouts of dead deployments.

Images go from the host that builds, and from those that an app runs on.

Never what runs, waits, serves, or was the last to succeed; never an image that a container uses.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.errors import EngineUnavailable, ReconcilerError
from reconciler.host.images import BuiltImage, list_built, list_of_project, remove_image
from reconciler.pipeline.tools import Tools
from reconciler.plan.healing import CALM
from reconciler.plan.places import DOCKER, Places, places_of
from reconciler.spec.hosts import LOCAL
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import App
from reconciler.spec.plain import from_plain
from reconciler.state.records import Deployment
from reconciler.state.store import Store
from reconciler.values import frozen


@frozen
class Keep:
    """How much stays of one app, beside what always stays."""

    deployments: int
    images: int


@dataclass
class Freed:
    """What went, or with a dry run would go. `size` is in bytes; of an image it is its whole
    size, layers that it shares with others included, as `docker image ls` shows it.
    """

    deployments: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    log_bytes: int = 0
    image_bytes: int = 0
    checkout_bytes: int = 0

    @property
    def size(self) -> int:
        return self.log_bytes + self.image_bytes + self.checkout_bytes

    def add(self, other: Freed) -> None:
        """Sum up."""
        self.deployments += other.deployments
        self.images += other.images
        self.kept += other.kept
        self.log_bytes += other.log_bytes
        self.image_bytes += other.image_bytes
        self.checkout_bytes += other.checkout_bytes


def clear_app(
    tools: Tools, app: str, keep: Keep, *, dry_run: bool, left: Collection[str] = ()
) -> Freed:
    """Remove one app's old deployments and images; all of its images on hosts that it `left`.

    A host that is away is skipped, and `Freed.kept` says so. Raises `EngineUnavailable` when there
    is no other.
    """
    freed = Freed()
    counts = _count_by_host(tools, app, keep, left)
    for host, count in counts.items():
        try:
            if len(counts) > 1:
                tools.hosts.check(host)
            _clear_images(tools, (app, host, count), freed, dry_run=dry_run)
        except EngineUnavailable as error:
            if len(counts) == 1:
                raise
            tools.hosts.failed(host, error)
            freed.kept.append(_say_away(host, error))
    _clear_deployments(tools, app, keep.deployments, freed, dry_run=dry_run)
    return freed


def _count_by_host(tools: Tools, app: str, keep: Keep, left: Collection[str]) -> dict[str, int]:
    """How many versions stay on the host that builds, on those that the app runs on, and on others.
    The nodes of a Swarm look after theirs."""
    row = tools.store.find_app(app)
    places = places_of(row.settings) if row and row.serving else Places()
    runs_on = places.hosts if row and row.serving else ()
    others = _others(tools, left, {tools.hosts.build_host, *runs_on})
    kept = runs_on if places.runtime == DOCKER else ()
    return dict.fromkeys(others, 0) | dict.fromkeys(
        (tools.hosts.build_host, *kept), max(keep.images, 1)
    )


def _others(tools: Tools, hosts: Collection[str], own: Collection[str]) -> list[str]:
    """Those that aren't just other names of the app's own; none while that can't be told."""
    others = [host for host in hosts if host not in own]
    try:
        known = {_identity(tools, host) for host in own} if others else set()
        return [host for host in others if _identity(tools, host) not in known]
    except EngineUnavailable:
        return []


def _identity(tools: Tools, host: str) -> tuple[str, ...]:
    """What tells an engine from others, whatever its host is called. Two on one machine, or on
    copies of one, may have the same id."""
    tools.hosts.check(host)
    said = tools.hosts.engine(host).get("/info")
    return said["ID"], said["Name"], said["DockerRootDir"]


def _say_away(host: str, error: EngineUnavailable) -> str:
    return f"what is on {host}: {error.what}"


def keep_to_retention(tools: Tools, row: Deployment) -> None:
    """After a successful deployment: what its app's `retention` doesn't keep goes.

    What can't go now goes after the next one, or with `gc`.
    """
    request = row.read_request()
    retention = from_plain(App, request.spec).retention
    keep = Keep(retention.deployments, retention.images)
    left = [host for runtime, host in request.leaves if runtime == DOCKER]
    with contextlib.suppress(ReconcilerError, OSError):
        clear_app(tools, row.app, keep, dry_run=False, left=left)


def collect_garbage(tools: Tools, loaded: LoadedSpec, *, dry_run: bool) -> Freed:
    """Apply each app's retention, and sweep what dead deployments left on the disk."""
    freed = Freed()
    tools.learn(loaded)
    project = loaded.spec.project
    left = _find_left(tools, project, freed)
    for name, app in loaded.spec.apps.items():
        keep, own = Keep(app.retention.deployments, app.retention.images), f"{project}/{name}"
        freed.add(clear_app(tools, own, keep, dry_run=dry_run, left=left.get(own, ())))
    freed.checkout_bytes += sweep_checkouts(tools.store, dry_run=dry_run)
    freed.kept = list(dict.fromkeys(freed.kept))  # a host is away for each of its apps
    return freed


def _find_left(tools: Tools, project: str, freed: Freed) -> dict[str, list[str]]:
    """Hosts that have images of an app, by app, whether it runs there or not."""
    found: dict[str, list[str]] = {}
    for host in tools.hosts.declared:
        try:
            tools.hosts.check(host)
            apps = {one.app for one in list_of_project(tools.hosts.engine(host), project)}
        except EngineUnavailable as error:
            tools.hosts.failed(host, error)
            freed.kept.append(_say_away(host, error))
            continue
        for app in apps:
            found.setdefault(app, []).append(host)
    return found


def sweep_checkouts(store: Store, *, dry_run: bool = False) -> int:
    """Remove checkouts that no unfinished deployment needs; how many bytes that are."""
    root = store.checkout_path("any").parent
    directories = list(root.iterdir()) if root.is_dir() else []
    needed = {row.id for row in store.unfinished()}  # asked later: what begins now is one of them
    size = 0
    for directory in directories:
        if directory.name not in needed:
            size += _tree_size(directory)
            if not dry_run:
                shutil.rmtree(directory, ignore_errors=True)
    return size


# -- images ----------------------------------------------------------------------------------


def _clear_images(
    tools: Tools, where: tuple[str, str, int], freed: Freed, *, dry_run: bool
) -> None:
    """`where`: the app, the host, and how many versions stay there."""
    app, host, count = where
    engine, protected = tools.hosts.engine(host), _protected_images(tools.store, app, count)
    for image in list_built(engine, app):
        if image.id in protected:
            continue
        if not dry_run:
            removal = remove_image(engine, image)
            if not removal.removed:
                freed.kept.append(f"{_name(image, host)}: {removal.reason}")
                continue
            if host == tools.hosts.build_host:
                _forget_build(tools.store, image)
        freed.images.append(_name(image, host))
        freed.image_bytes += image.size


def _protected_images(store: Store, app: str, count: int) -> set[str]:
    """Images of the app's last `count` versions, and whatever another app of the project has.

    Apps of one project share images of equal build hash, so one app's old image may be another's.
    """
    rows = store.unfinished()
    kept = {row.image_id for row in rows} | {row.read_request().image_id for row in rows}
    for other in store.list_apps(app.partition("/")[0]):
        if other.app != app or count:
            kept.add(_serving_image(store, other.app))
        kept.update(_versions(store, other.app)[: count if other.app == app else None])
    return kept


def _versions(store: Store, app: str) -> list[str]:
    """Images that the app has run, newest first."""
    found: dict[str, None] = {}
    for row in store.list_succeeded(app):
        found.setdefault(row.image_id)
    return [image_id for image_id in found if image_id]


def _serving_image(store: Store, app: str) -> str:
    row = store.find_app(app)
    serving = store.find_deployment(row.serving) if row and row.serving else None
    return serving.image_id if serving else ""


def _forget_build(store: Store, image: BuiltImage) -> None:
    with store.transaction() as connection:
        connection.execute("DELETE FROM builds WHERE image_id = ?", (image.id,))


def _name(image: BuiltImage, host: str) -> str:
    name = image.tags[0] if image.tags else image.id[:19]
    return name if host == LOCAL else f"{name} on {host}"


# -- deployments -----------------------------------------------------------------------------


def _clear_deployments(tools: Tools, app: str, count: int, freed: Freed, *, dry_run: bool) -> None:
    store, calm_since = tools.store, tools.clock() - CALM.total_seconds()
    ended = [row for row in store.list_deployments(app, -1) if row.ended]
    protected = _protected_deployments(store, app)
    protected |= {row.id for row in ended if row.kind == "heal" and row.queued_at > calm_since}
    oldest = _oldest_kept(ended, count)
    old = [row for row in ended if row.seq < oldest and row.id not in protected]
    for row in old:
        freed.deployments.append(row.id)
        freed.log_bytes += _file_size(store.log_path(app, row.id))
    if not dry_run:
        _forget_deployments(store, old)


def _oldest_kept(ended: Sequence[Deployment], count: int) -> float:
    """The row number from which on all stay. Superseded ones never ran, and don't count."""
    ran = [row for row in ended if row.outcome != "superseded"]
    if count == 0:
        return math.inf
    return ran[count - 1].seq if len(ran) > count else -math.inf


def _protected_deployments(store: Store, app: str) -> set[str]:
    row = store.find_app(app)
    latest = store.list_succeeded(app, 1)
    return {row.serving if row else "", *(one.id for one in latest)}


def _forget_deployments(store: Store, rows: Iterable[Deployment]) -> None:
    """Rows first, in one transaction; a log without a row is harmless, the other way isn't.

    What happened to an app between deployments is forgotten with the ones after it.
    """
    rows = list(rows)
    ids = [(row.id,) for row in rows]
    between = [(row.app, row.queued_at) for row in rows]
    with store.transaction() as connection:
        for table in ("stages", "events"):
            connection.executemany(f"DELETE FROM {table} WHERE deployment = ?", ids)  # noqa: S608
        connection.executemany("DELETE FROM deployments WHERE id = ?", ids)
        connection.executemany(
            "DELETE FROM events WHERE app = ? AND deployment = '' AND at < ?", between
        )
    for row in rows:
        store.log_path(row.app, row.id).unlink(missing_ok=True)


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _tree_size(directory: Path) -> int:
    """In bytes. `os.walk` passes over what its deployment removes meanwhile."""
    paths = (Path(parent, name) for parent, _, names in os.walk(directory) for name in names)
    return sum(_file_size(path) for path in paths if not path.is_symlink())
