"""Which apps a hint is about. Pure; the spec decides, the hint only says where something moved."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from reconciler.api.hints import Hint
from reconciler.api.places import image_key, is_same_path, is_same_place, repository_key
from reconciler.spec.models import App, GitSource, ImageSource, Spec
from reconciler.spec.revisions import parse_range

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HEADS, _TAGS = "refs/heads/", "refs/tags/"
Fits = Callable[[str, Collection[str]], bool]


def concerned_apps(spec: Spec, hints: Iterable[Hint]) -> list[str]:
    """The apps (`<project>/<name>`) of which the hints can change what their revision names.

    Senders may not know by which name others reach them: where no app fits by host and path, the
    path alone counts.
    """
    hints = list(hints)
    for fits in (is_same_place, is_same_path):
        if found := [name for name, app in spec.apps.items() if _fits_any(app, hints, fits)]:
            return [f"{spec.project}/{name}" for name in found]
    return []


def _fits_any(app: App, hints: Iterable[Hint], fits: Fits) -> bool:
    return any(_fits(app, hint, fits) and names_version(app, hint) for hint in hints)


def _fits(app: App, hint: Hint, fits: Fits) -> bool:
    source = app.source
    if isinstance(source, GitSource) and hint.kind in ("push", "pull_request"):
        return fits(repository_key(source.git), hint.places)
    if isinstance(source, ImageSource) and hint.kind == "image":
        return fits(image_key(source.image), hint.places)
    return False


def names_version(app: App, hint: Hint) -> bool:
    """Whether the app's revision may name something else now, if the hint is about its source."""
    if hint.kind in ("push", "pull_request"):
        return not isinstance(app.source, GitSource) or names_ref(app.revision, hint)
    if hint.kind == "image":
        return not isinstance(app.source, ImageSource) or names_tag(app.revision, hint)
    return False


def names_ref(revision: str | None, hint: Hint) -> bool:
    """Whether a git revision may name another commit after the refs of the hint have moved."""
    if hint.kind == "pull_request":
        return revision is not None and revision in hint.refs
    if revision is None or revision == "HEAD":
        branch = hint.default_branch
        wanted = {_HEADS + branch} if branch else {r for r in hint.refs if r.startswith(_HEADS)}
        return not wanted.isdisjoint(hint.refs)
    if _COMMIT.fullmatch(revision):
        return revision == hint.commit
    names = {revision, _HEADS + revision, _TAGS + revision}
    tags = [ref.removeprefix(_TAGS) for ref in hint.refs if ref.startswith(_TAGS)]
    return not names.isdisjoint(hint.refs) or _in_range(revision, tags)


def names_tag(revision: str | None, hint: Hint) -> bool:
    """The same for an image's revision and the hint's tags; without tags any may have moved."""
    if revision is not None and revision.startswith("sha256:"):
        return False
    if not hint.refs:
        return True
    return (revision or "latest") in hint.refs or _in_range(revision or "", hint.refs)


def _in_range(revision: str, names: Iterable[str]) -> bool:
    try:
        wanted = parse_range(revision)
    except ValueError:
        return False
    return wanted is not None and wanted.best(names) is not None
