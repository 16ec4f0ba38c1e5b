"""Which image a deployment uses, and who has it already: engines, or a registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reconciler.errors import EngineUnavailable, RegistryUnavailable, SourceError
from reconciler.host.engine import Engine
from reconciler.host.images import Auth, find_built, image_id_of, pull_image, tag_image
from reconciler.host.registry import registry_auth
from reconciler.pipeline.context import Context
from reconciler.plan.places import SWARM
from reconciler.spec.models import ImageSource

T = TypeVar("T")


def find_image(context: Context) -> str:
    """The id of the image to use, or empty when it has to be built or pulled.

    In this order: what this deployment built before a crash, what was asked for (heal,
    rollback), and, unless a build is forced, what has the same build hash. It counts as there when
    an engine concerned has it; for a Swarm also when only a registry has it. Raises
    `EngineUnavailable` when it has to be made and the host that makes it is away.
    """
    if context.found.image_id is None:
        context.found.image_id = _find(context)
    return context.found.image_id


def _find(context: Context) -> str:
    search, wanted = _Search(context), _wanted_images(context)
    for image_id in wanted:
        if context.app.runtime == SWARM and find_reference(context, image_id):
            return image_id
        if search.first_with(image_id):
            return image_id
    if any(find_reference(context, image_id) for image_id in wanted):
        return ""  # stage clone pulls it
    if wanted:
        search.check_maker()
        context.job.log(f"image {wanted[-1][:19]} is gone; it is made again")
    return "" if isinstance(context.app.source, ImageSource) else _find_built(context, search)


def _find_built(context: Context, search: _Search) -> str:
    project, found = context.name.partition("/")[0], None
    if not context.request.force:
        found = search.first(lambda engine: find_built(engine, context.build_hash, project))
    if found is None:
        search.check_maker()
        return ""
    context.found.holder, image_id = found
    return image_id


def _wanted_images(context: Context) -> tuple[str, ...]:
    """Ids of images that this deployment uses if they can be had."""
    ids = (context.row.image_id, context.request.image_id)
    return tuple(dict.fromkeys(image_id for image_id in ids if image_id))


def find_holder(context: Context, image_id: str) -> str:
    """A host whose engine has the image, of those that answer; empty for none."""
    if not context.found.holder:
        _Search(context).first_with(image_id)
    return context.found.holder


def ask_holders(context: Context, ask: Callable[[Engine], T | None]) -> T | None:
    """The first answer that isn't empty, of the engines that may have the image."""
    found = _Search(context).first(ask)
    return found[1] if found else None


class _Search:
    """Asks the engines that may have an image, that of the host which makes it first. One that is
    away is passed over."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._hosts = hosts_of(context)
        self._maker_away: EngineUnavailable | None = None

    def first_with(self, image_id: str) -> str | None:
        """The id, when one has it; that host is remembered."""
        found = self.first(lambda engine: image_id_of(engine, image_id))
        self._context.found.holder = found[0] if found else ""
        return image_id if found else None

    def first(self, ask: Callable[[Engine], T | None]) -> tuple[str, T] | None:
        """The first host whose answer isn't empty, and that."""
        for host in self._hosts:
            if answer := self._ask(host, ask):
                return host, answer
        return None

    def _ask(self, host: str, ask: Callable[[Engine], T | None]) -> T | None:
        hosts = self._context.tools.hosts
        try:
            if len(self._hosts) > 1:
                hosts.check(host)
            answer = ask(hosts.engine(host))
        except EngineUnavailable as error:
            hosts.failed(host, error)
            if host == self._context.image_host:
                self._maker_away = error
            return None
        hosts.answered(host)
        return answer

    def check_maker(self) -> None:
        """Raises `EngineUnavailable` when the host that makes the image didn't answer."""
        if self._maker_away is not None:
            raise self._maker_away


def hosts_of(context: Context) -> tuple[str, ...]:
    """The hosts whose engines may have the image, the one that makes it first."""
    left = (host for _, host in context.station.leaves)
    return tuple(dict.fromkeys((context.image_host, *context.app.host, *left)))


# -- registries ------------------------------------------------------------------------------


def find_reference(context: Context, image_id: str) -> str:
    """The image as `repository@sha256:…` where a registry is known to have it, else empty: the
    source's own, or what this or an earlier deployment of the app recorded."""
    source, request = context.app.source, context.request
    if isinstance(source, ImageSource):
        return request.reference or f"{source.image}@{request.resolved}"
    for name, digest in context.tools.store.list_pushed(context.name, image_id):
        return f"{repository_of(name)}@{digest}"
    return ""


def repository_of(name: str) -> str:
    """Of `repository:tag` or `repository@digest`."""
    name = name.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def auth_for(context: Context, repository: str) -> Auth | None:
    """What the registry of this repository asks for, with the credentials that the spec has for
    it. Raises `SecretError`."""
    app = context.app
    named = [(app.image.repository, app.image.credentials)] if app.image else []
    if isinstance(app.source, ImageSource):
        named.append((app.source.image, app.source.credentials))
    credentials = dict(named).get(repository)
    return registry_auth(repository, credentials, context.secrets, context.name)


def pull_again(context: Context) -> str:
    """The id of the image that this deployment shall use and no engine has any more, pulled from
    the registry that it went to; empty when that doesn't work."""
    if isinstance(context.app.source, ImageSource):
        return ""
    for image_id in _wanted_images(context):
        if reference := find_reference(context, image_id):
            try:
                return _pull_again(context, image_id, reference)
            except (RegistryUnavailable, SourceError) as error:
                context.job.log(f"{error.what}; the image is made again")
    return ""


def _pull_again(context: Context, image_id: str, reference: str) -> str:
    engine, auth = context.image_engine, auth_for(context, repository_of(reference))
    if pull_image(engine, reference, auth, context.job) != image_id:
        return ""
    tag_built(context, engine, image_id)
    context.found.holder = context.image_host
    return image_id


# -- names -----------------------------------------------------------------------------------


def image_repository(context: Context) -> str:
    """The repository that the app's built images are named by."""
    image = context.app.image
    return image.repository if image else f"reconciler/{context.name}"


def tag_built(context: Context, engine: Engine, image_id: str) -> None:
    """Name an image on an engine as the build names it, so that it is found again, and that only
    this program removes it. One that was ready keeps the name that it came by."""
    if isinstance(context.app.source, ImageSource):
        return
    from reconciler.builder.labels import image_tag

    tag = image_tag(context.request.resolved, context.build_hash)
    tag_image(engine, image_id, image_repository(context), tag)
