"""Source `image`: a ready image in a registry, by tag, digest or semver range over its tags.

The registry says which digest that is now; it's asked once for each distinct repository and
revision, side by side, and never about a digest. A registry that this process can't talk to is
asked through the engine, which may know mirrors and insecure registries. An image that only the
engine has is not a source: nobody could say which version it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import (
    EngineUnavailable,
    ReconcilerError,
    RegistryUnavailable,
    SourceError,
)
from reconciler.host.engine import Engine, Request
from reconciler.host.images import Auth, encode_auth, image_id_of, pull_image
from reconciler.host.job import Job
from reconciler.host.refusals import TODO_LOGIN, Fault, fault_of
from reconciler.host.registry import registry_auth
from reconciler.source.base import Content, Outcome, Placed, Resolved, Version, Wanted, Workplace
from reconciler.source.fanout import ask_all, take
from reconciler.spec import models
from reconciler.spec.images import is_digest, is_tag
from reconciler.spec.revisions import parse_range

if TYPE_CHECKING:
    from reconciler.host.registry_client import RegistryClient

DEFAULT_TAG = "latest"


class ImageSource:
    """Images of one spec."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace

    def resolve_all(self, wanted: Sequence[Wanted], job: Job) -> Mapping[str, Outcome]:
        """A digest for each."""
        outcomes: dict[str, Outcome] = {}
        groups: dict[Hashable, list[Wanted]] = defaultdict(list)
        for one in wanted:
            source, revision = _model(one), one.revision or DEFAULT_TAG
            if is_digest(revision):
                outcomes[one.app] = _resolved(source.image, revision, revision)
            else:
                groups[source.image, source.credentials].append(one)
        questions = {key: partial(self._ask, group) for key, group in groups.items()}
        for key, answers in ask_all(questions, job, hears_cancel=False).items():
            for one in groups[key]:
                outcomes[one.app] = take(answers, one.revision or DEFAULT_TAG, one.app)
        return outcomes

    def _ask(self, group: Sequence[Wanted]) -> Mapping[str, Outcome]:
        """All the revisions that are wanted of one repository, over one connection."""
        from reconciler.host.registry_client import RegistryClient

        source = _model(group[0])
        auth = registry_auth(source.image, source.credentials, self._workplace.secrets, "")
        with RegistryClient(source.image, auth) as client:
            asker = _Asker(source.image, auth, client, self._workplace.engine)
            revisions = dict.fromkeys(one.revision or DEFAULT_TAG for one in group)
            return {revision: asker.resolve(revision) for revision in revisions}

    def fingerprint_all(
        self, versions: Sequence[Version], _job: Job
    ) -> Mapping[str, Content | ReconcilerError]:
        """The digest says all."""
        return {one.app: {"image": _reference(one, resolved)} for one, resolved in versions}

    def place(self, wanted: Wanted, resolved: Resolved, _into: Path, job: Job) -> Placed:
        """Let the engine pull exactly that digest, unless it has it."""
        job = replace(job, app=wanted.app)
        engine, reference = self._workplace.engine, _reference(wanted, resolved)
        if present := image_id_of(engine, reference):
            return Placed(image_id=present)
        source = _model(wanted)
        auth = registry_auth(source.image, source.credentials, self._workplace.secrets, wanted.app)
        return Placed(image_id=pull_image(engine, reference, auth, job))


@dataclass
class _Asker:
    """Questions about one repository; its tags are listed once at most."""

    image: str
    auth: Auth | None
    client: RegistryClient
    engine: Engine

    @cached_property
    def tags(self) -> list[str]:
        return self.client.tags()

    def resolve(self, revision: str) -> Outcome:
        """A tag of that very name, else a range. Raises `RegistryUnavailable`."""
        if is_tag(revision) and (digest := self.digest(revision)):
            return _resolved(self.image, digest, revision)
        try:
            wanted = parse_range(revision)
        except ValueError as error:
            return SourceError(f"the revision {revision!r} isn't valid: {error.args[0]}")
        if wanted is None:
            return self._missing(revision)
        best = wanted.best(self.tags)
        digest = self.digest(best) if best else None
        if best is None or digest is None:
            return SourceError(
                f"no tag of {self.image} is a version in {revision!r}",
                todo=f"Correct the range; there is {_list(self.tags)}.",
            )
        return _resolved(self.image, digest, best)

    def digest(self, tag: str) -> str | None:
        from reconciler.host.registry_client import RegistryUnreachable

        try:
            return self.client.digest(tag)
        except RegistryUnreachable as error:
            return self._ask_engine(tag, error)

    def _ask_engine(self, tag: str, why: RegistryUnavailable) -> str | None:
        path = f"/distribution/{self.image}:{tag}/json"
        headers = {"X-Registry-Auth": encode_auth(self.auth)}
        try:
            answer = self.engine.send(Request("GET", path, headers=headers))
        except EngineUnavailable:
            raise why from None
        if answer.ok:
            return str(answer.json()["Descriptor"]["digest"])
        fault = fault_of(answer.message)
        if fault is Fault.MISSING:
            return None
        if fault in (Fault.CREDENTIALS, Fault.DENIED):
            raise RegistryUnavailable(
                f"the registry refuses {self.image}: {answer.message}", todo=TODO_LOGIN
            )
        why.detail = f"the engine says: {answer.message}"
        raise why

    def _missing(self, revision: str) -> SourceError:
        import difflib

        try:
            tags = self.tags
        except RegistryUnavailable:
            tags = []
        near = difflib.get_close_matches(revision, tags, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there is {_list(tags)}."
        return SourceError(
            f"{self.image} has no tag {revision!r}, or doesn't exist",
            todo=f"Correct the name or the revision: {hint}",
        )


def _list(tags: Sequence[str]) -> str:
    return f"{', '.join(tags[-5:]) or 'none'}{' and more' * (len(tags) > 5)}"


def _model(wanted: Wanted) -> models.ImageSource:
    if not isinstance(wanted.source, models.ImageSource):
        raise TypeError(f"{wanted.app} has no image source")
    return wanted.source


def _resolved(image: str, digest: str, name: str) -> Resolved:
    return Resolved(digest, name, f"{image}@{digest}")


def _reference(wanted: Wanted, resolved: Resolved) -> str:
    return resolved.reference or f"{_model(wanted).image}@{resolved.id}"
