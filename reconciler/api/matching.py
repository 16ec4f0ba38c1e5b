"""Which apps a hint is about. Pure; the spec decides, the hint only says where something moved."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reconciler.api.hints import Hint
from reconciler.api.places import image_key, is_same_place, repository_key
from reconciler.spec.models import App, GitSource, ImageSource, Spec
from reconciler.spec.revisions import parse_range

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HEADS, _TAGS = "refs/heads/", "refs/tags/"


def is_concerned(app: App, hint: Hint) -> bool:
    """Whether what the hint says can change which version the app's revision names."""
    source, revision = app.source, app.revision
    if hint.kind in ("push", "pull_request") and isinstance(source, GitSource):
        known = repository_key(source.git)
        return is_same_place(known, hint.places) and names_ref(revision, hint)
    if hint.kind == "image" and isinstance(source, ImageSource):
        return is_same_place(image_key(source.image), hint.places) and names_tag(revision, hint)
    return False


def concerned_apps(spec: Spec, hints: Iterable[Hint]) -> list[str]:
    """The apps (`<project>/<name>`) that have to be looked at."""
    hints = list(hints)
    return [
        f"{spec.project}/{name}"
        for name, app in spec.apps.items()
        if any(is_concerned(app, hint) for hint in hints)
    ]


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
