"""Images on the engine: found again by build hash, tagged, pushed, pulled, removed.

All of it goes over the socket, without the SDK.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.errors import DeployError, PushError, ReconcilerError, SourceError
from reconciler.host.engine import Answer, Engine, Request
from reconciler.host.job import Job
from reconciler.host.labels import (
    IMAGE_LABEL_APP,
    IMAGE_LABEL_BUILD_HASH,
    IMAGE_LABEL_PROJECT,
    short_id,
)
from reconciler.host.refusals import Fault, disk_full, fault_of, is_disk_full, unavailable
from reconciler.host.stream import Message, Refusal, stream
from reconciler.values import frozen

Auth = Mapping[str, str]
"""`{"username", "password"}` or `{"identitytoken"}`, as `host.registry.registry_auth` gives."""

NOT_FOUND = 404
CONFLICT = 409
_PROGRESS_SECONDS = 5.0
_TOLD = ("Pushed", "Layer already", "Mounted from", "Pulling from", "Pull complete", "Already")


@frozen
class BuiltImage:
    """An image that this program built. `tags` are full names, `size` bytes with its base's.

    `created` is in seconds since 1970.
    """

    id: str
    app: str
    build_hash: str
    tags: tuple[str, ...]
    created: int
    size: int


@frozen
class Removal:
    """Whether an image went away; `reason` says what still needs it otherwise."""

    removed: bool
    reason: str = ""


# Finding


def find_built(engine: Engine, build_hash: str, project: str = "") -> str | None:
    """The id of the newest image with this build hash, or None. One GET.

    An image that somebody made `FROM` one of ours inherits its labels; only ours has a tag that
    ends with the build hash, so only such a one counts.
    """
    labels = {IMAGE_LABEL_BUILD_HASH: build_hash} | (
        {IMAGE_LABEL_PROJECT: project} if project else {}
    )
    ending = short_id(build_hash)
    own = [
        image
        for image in _list_images(engine, labels)
        if any(tag.endswith(ending) for tag in image.tags)
    ]
    return own[0].id if own else None


def list_built(engine: Engine, app: str) -> list[BuiltImage]:
    """All images that were built for the app (`<project>/<name>`), newest first. One GET."""
    return _list_images(engine, {IMAGE_LABEL_APP: app})


def list_of_project(engine: Engine, project: str) -> list[BuiltImage]:
    """All images that were built for the project's apps, newest first. One GET."""
    return _list_images(engine, {IMAGE_LABEL_PROJECT: project})


def _list_images(engine: Engine, labels: Mapping[str, str]) -> list[BuiltImage]:
    filters = json.dumps({"label": [f"{name}={value}" for name, value in labels.items()]})
    images = [_read_image(entry) for entry in engine.get("/images/json", {"filters": filters}, 60)]
    return sorted(images, key=lambda image: (-image.created, image.id))


def _read_image(entry: Mapping[str, Any]) -> BuiltImage:
    labels = entry.get("Labels") or {}
    tags = tuple(tag for tag in entry.get("RepoTags") or () if tag != "<none>:<none>")
    return BuiltImage(
        id=entry["Id"],
        app=labels.get(IMAGE_LABEL_APP, ""),
        build_hash=labels.get(IMAGE_LABEL_BUILD_HASH, ""),
        tags=tags,
        created=entry["Created"],
        size=entry["Size"],
    )


def image_id_of(engine: Engine, reference: str) -> str | None:
    """The id (`sha256:…`) of a local image by id, tag or digest; None when it isn't there."""
    found = inspect_image(engine, reference)
    return str(found["Id"]) if found else None


def inspect_image(engine: Engine, reference: str) -> Mapping[str, Any]:
    """The engine's document of a local image; empty when it isn't there."""
    answer = engine.send(Request("GET", f"/images/{reference}/json"))
    if answer.status == NOT_FOUND:
        return {}
    if not answer.ok:
        raise engine.unavailable(f"{reference} was answered with {answer.status}: {answer.message}")
    found: Mapping[str, Any] = answer.json()
    return found


# Changing


def tag_image(engine: Engine, image_id: str, repository: str, tag: str) -> None:
    """Name the image `repository:tag`. Raises `DeployError`, `EngineUnavailable`."""
    query = {"repo": repository, "tag": tag}
    answer = engine.send(Request("POST", f"/images/{image_id}/tag", query))
    if not answer.ok:
        raise _refused(answer, f"image {short_id(image_id)} can't be named {repository}:{tag}")


def remove_image(engine: Engine, image: BuiltImage) -> Removal:
    """Remove the image and the tags that this program gave it, never by force.

    Kept, with the reason, when a container (running or not) uses it or somebody gave it a name
    of their own. An image that is gone already counts as removed.
    """
    users = engine.get(
        "/containers/json", {"all": "1", "filters": json.dumps({"ancestor": [image.id]})}
    )
    if users:
        names = sorted(name.lstrip("/") for user in users for name in user["Names"][:1])
        return Removal(False, f"used by {', '.join(names)}")
    ours = [tag for tag in image.tags if tag.endswith(short_id(image.build_hash))]
    foreign = sorted(set(image.tags) - set(ours))
    if foreign:
        return Removal(False, f"also named {', '.join(foreign)}")
    for reference in ours or [image.id]:
        answer = engine.send(Request("DELETE", f"/images/{reference}"), timeout=120)
        if answer.status == CONFLICT:
            return Removal(False, answer.message)
        if not answer.ok and answer.status != NOT_FOUND:
            raise _refused(answer, f"image {reference} can't be removed")
    return Removal(True)


def _refused(answer: Answer, what: str) -> ReconcilerError:
    if is_disk_full(answer.message):
        return disk_full(answer.message, "")
    return DeployError(f"{what}: {answer.message}")


# Registries


def push_image(engine: Engine, image: tuple[str, str, str], auth: Auth | None, job: Job) -> str:
    """Name `image` (id, repository, tag) and push it; the digest that the registry answered.

    Raises `PushError` when the registry refuses it, `RegistryUnavailable` when it doesn't
    answer or refuses the credentials, `EngineUnavailable`, `DiskFull`, or the job's `Stopped`.
    """
    image_id, repository, tag = image
    tag_image(engine, image_id, repository, tag)
    transfer = Transfer(job.log, "pushing")
    path = f"/images/{repository}/push"
    request = Request("POST", path, {"tag": tag}, {"X-Registry-Auth": encode_auth(auth)})
    try:
        stream(engine, request, job, transfer.take)
    except Refusal as refusal:
        raise _push_error(refusal, f"{repository}:{tag}", job.app) from None
    if not transfer.digest:
        raise PushError(
            f"the registry took {repository}:{tag} without telling its digest",
            app=job.app,
            todo="Push it by hand with `docker push` to see what the registry says.",
        )
    return transfer.digest


def _push_error(refusal: Refusal, name: str, app: str) -> ReconcilerError:
    what = f"{name} can't be pushed"
    if is_disk_full(refusal.text):
        return disk_full(refusal.text, app)
    if passing := unavailable(what, refusal.text, app):
        return passing
    todo = "Correct image.repository."
    if fault_of(refusal.text) is Fault.DENIED:
        todo = "Let the account push there, or correct image.repository or the credentials."
    return PushError(f"{what}: {refusal.text}", app=app, todo=todo)


def pull_image(engine: Engine, reference: str, auth: Auth | None, job: Job) -> str:
    """Fetch `repository:tag` or `repository@sha256:…`; the image's id.

    What a digest names can't change, so nothing is fetched when that is here already.
    Raises `SourceError` when there is no such image, `RegistryUnavailable`, `EngineUnavailable`,
    `DiskFull`, or the job's `Stopped`.
    """
    if "@" in reference and (present := image_id_of(engine, reference)):
        return present
    transfer = Transfer(job.log, "pulling")
    repository, version = _split_reference(reference)
    query = {"fromImage": repository, "tag": version}
    request = Request("POST", "/images/create", query, {"X-Registry-Auth": encode_auth(auth)})
    try:
        stream(engine, request, job, transfer.take)
    except Refusal as refusal:
        raise _pull_error(refusal, reference, job.app) from None
    image_id = image_id_of(engine, reference)
    if image_id is None:
        raise engine.unavailable(f"it pulled {reference} and doesn't have it")
    return image_id


def _pull_error(refusal: Refusal, reference: str, app: str) -> ReconcilerError:
    what = f"{reference} can't be pulled"
    if is_disk_full(refusal.text):
        return disk_full(refusal.text, app)
    if refusal.status != NOT_FOUND and (passing := unavailable(what, refusal.text, app)):
        return passing
    todo = "Correct the image's name or the revision; a private image needs credentials as well."
    return SourceError(f"{what}: {refusal.text}", app=app, todo=todo)


def _split_reference(reference: str) -> tuple[str, str]:
    repository, at, digest = reference.partition("@")
    if at:
        return repository, digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")


def encode_auth(auth: Auth | None) -> str:
    """The `X-Registry-Auth` header. Anonymous needs one too: the engine refuses a push without."""
    return base64.urlsafe_b64encode(json.dumps(dict(auth or {})).encode()).decode()


@dataclass
class Transfer:
    """Makes few lines of the engine's many: what ended, and every five seconds how far it is."""

    log: Callable[[str], None]
    verb: str
    digest: str = ""
    _layers: dict[str, tuple[int, int]] = field(default_factory=dict)
    _told_at: float = field(default_factory=time.monotonic)

    def take(self, message: Message) -> None:
        """One message of the engine's answer."""
        if digest := (message.get("aux") or {}).get("Digest"):
            self.digest = digest
        layer, detail = message.get("id", ""), message.get("progressDetail") or {}
        if layer and detail.get("total"):
            self._layers[layer] = (min(detail["current"], detail["total"]), detail["total"])
            self._tell_now_and_then()
        elif (status := message.get("status", "")).startswith(_TOLD):
            self.log(f"{layer}: {status}")
        elif status and not layer:
            self.log(status)

    def _tell_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._told_at < _PROGRESS_SECONDS:
            return
        self._told_at = now
        done, total = map(sum, zip(*self._layers.values(), strict=True))
        self.log(f"{self.verb}: {done / 1e6:.1f} of {total / 1e6:.1f} MB")
