"""What a revision names among a repository's refs. Pure.

A revision is looked up in this order; the first that fits counts:

    nothing, or HEAD       the default branch
    40 hex digits          that commit, without asking the host
    refs/…                 that ref, e.g. refs/pull/7/head
    a branch's name        as `git clone --branch` does it, a branch wins over a tag of that name;
                           `refs/tags/NAME` means the tag
    a tag's name           an annotated tag names the commit that it points to
    a semver range         the tag with the highest version in it

Abbreviated commits are refused: what they name can change with the next push.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field

from reconciler.errors import SourceError
from reconciler.source.base import Resolved
from reconciler.spec.revisions import parse_range
from reconciler.values import frozen

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")
_HEADS, _TAGS, _PEELED = "refs/heads/", "refs/tags/", "^{}"
DEFAULT = "HEAD"


def is_commit(revision: str | None) -> bool:
    """Whether the revision is a full commit, about which nobody has to be asked."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


@frozen
class Refs:
    """The refs of a repository: full name → commit (of annotated tags, what they point to).

    `default`: the full name of the branch that HEAD points to, empty when that isn't known.
    """

    ids: Mapping[str, str] = field(default_factory=dict)
    default: str = ""

    def names(self, prefix: str) -> list[str]:
        """The short names below `prefix`."""
        return [name.removeprefix(prefix) for name in self.ids if name.startswith(prefix)]


def refs_to_ask(revisions: Iterable[str | None]) -> tuple[str, ...]:
    """`git ls-remote`'s options for these: branches and tags, where those are enough.

    A host may have a hundred thousand other refs, two for each pull request.
    """
    for revision in revisions:
        if revision is None or revision == DEFAULT or revision.startswith("refs/"):
            return ("--symref",)
    return ("--heads", "--tags")


def parse_refs(text: str) -> Refs:
    """What `git ls-remote [--symref]` printed."""
    ids: dict[str, str] = {}
    default = ""
    for line in text.splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: "):
            default = value.removeprefix("ref: ") if name == DEFAULT else default
        else:
            ids[name.removesuffix(_PEELED)] = value  # the peeled line comes after the tag's own
    return Refs(ids, default)


def choose_ref(refs: Refs, revision: str | None, url: str) -> Resolved:
    """Which commit `revision` names. Raises `SourceError` with what is near to it."""
    if not refs.ids:
        raise SourceError(f"the repository {url} is empty", todo="Push a commit to it.")
    if revision is None or revision == DEFAULT:
        return _choose_default(refs, url)
    candidates = (revision,) if revision.startswith("refs/") else ()
    for name in (*candidates, _HEADS + revision, _TAGS + revision):
        if commit := refs.ids.get(name):
            return Resolved(commit, revision)
    return _choose_tag(refs, revision, url)


def _choose_default(refs: Refs, url: str) -> Resolved:
    if DEFAULT not in refs.ids:
        raise SourceError(
            f"the default branch of {url} doesn't exist",
            todo=f"Name a branch as the app's revision; {_offer(refs.names(_HEADS))}.",
        )
    return Resolved(refs.ids[DEFAULT], refs.default.removeprefix(_HEADS) or DEFAULT)


def _choose_tag(refs: Refs, revision: str, url: str) -> Resolved:
    tags = refs.names(_TAGS)
    try:
        wanted = parse_range(revision)
    except ValueError as error:
        raise SourceError(f"the revision {revision!r} isn't valid: {error.args[0]}") from None
    if wanted is None:
        raise _missing(refs, revision, url)
    best = wanted.best(tags)
    if best is None:
        raise SourceError(
            f"no tag of {url} is a version in {revision!r}",
            todo=f"Correct the range, or push a tag such as v1.4.2; {_offer(tags)}.",
        )
    return Resolved(refs.ids[_TAGS + best], best)


def _missing(refs: Refs, revision: str, url: str) -> SourceError:
    if _ABBREVIATED.fullmatch(revision):
        return SourceError(
            f"{revision} is no branch or tag of {url}, and a commit has to be given in full",
            todo=f"Write all 40 digits: `git rev-parse {revision}` prints them.",
        )
    import difflib

    names = [*refs.names(_HEADS), *refs.names(_TAGS)]
    near = difflib.get_close_matches(revision, names, n=3, cutoff=0.6)
    hint = f"did you mean {_list(near)}?" if near else f"{_offer(names)}."
    return SourceError(
        f"{url} has no branch or tag {revision!r}",
        todo=f"Correct the revision, or push it: {hint}",
    )


def _offer(names: list[str]) -> str:
    return f"there is {_list(names[:5])}{' and more' if len(names) > 5 else ''}"


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"
