"""Source `git`: a repository over https, http, ssh, or on this machine.

`resolve_all` asks each repository once (`git ls-remote`), `fingerprint` brings the commit into
the repository's mirror, `place` checks it out. What a revision may be is told in `refs`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from reconciler.errors import ReconcilerError, SourceError
from reconciler.host.job import Job
from reconciler.source.access import make_access
from reconciler.source.address import parse_address
from reconciler.source.base import Outcome, Placed, Resolved, Wanted, Workplace
from reconciler.source.command import git_error, list_refs
from reconciler.source.fanout import ask_all, for_app
from reconciler.source.files import inside, make_empty, writing
from reconciler.source.mirror import Mirror
from reconciler.source.objects import Entry
from reconciler.source.refs import Refs, choose_ref, is_commit, parse_refs, refs_to_ask
from reconciler.source.submodules import place_submodules
from reconciler.spec import models


class GitSource:
    """Git repositories of one spec."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace

    def resolve_all(self, wanted: Sequence[Wanted], job: Job) -> Mapping[str, Outcome]:
        """One `ls-remote` for each distinct repository and account; none for full commits."""
        outcomes: dict[str, Outcome] = {}
        groups: dict[Hashable, list[Wanted]] = defaultdict(list)
        for one in wanted:
            if one.revision is not None and is_commit(one.revision):
                outcomes[one.app] = Resolved(one.revision, one.revision)
            else:
                source = _model(one)
                groups[source.git, source.credentials, source.ssh_key].append(one)
        questions = {key: partial(self._ask, group, job) for key, group in groups.items()}
        for key, refs in ask_all(questions, job).items():
            for one in groups[key]:
                outcomes[one.app] = _choose(refs, one)
        return outcomes

    def _ask(self, group: Sequence[Wanted], job: Job) -> Refs:
        access = make_access(_model(group[0]), self._workplace.secrets, "")
        done = list_refs(access, refs_to_ask(one.revision for one in group), job)
        if done.returncode:
            raise git_error(access, done.stderr, self._workplace.secrets.redactor, "")
        return parse_refs(done.stdout)

    def fingerprint(self, wanted: Wanted, resolved: Resolved, job: Job) -> Mapping[str, str]:
        """Object ids of `subdir` and the `watch` paths at the commit, fetched when missing."""
        source, mirror, job = _model(wanted), self._mirror(wanted), replace(job, app=wanted.app)
        paths = (source.subdir, *source.watch)
        entries = mirror.entries(resolved.id, paths, job)
        found: dict[str, str] = {}
        for path, looked_up in zip(paths, entries, strict=True):
            entry = looked_up
            if not entry.kind:
                entry = self._find_submodule(mirror, resolved.id, path, entry, job)
            if path == source.subdir and entry.kind == "blob":
                raise SourceError(
                    f"source.subdir {path!r} is a file, and a build context is a directory",
                    app=wanted.app,
                    todo="Correct source.subdir.",
                )
            found[path] = entry.id
        return found

    def _find_submodule(
        self, mirror: Mirror, commit: str, path: str, entry: Entry, job: Job
    ) -> Entry:
        """A submodule's content is its commit; git doesn't have that as an object here."""
        done = mirror.run(("ls-tree", "-z", "--full-tree", commit, "--", path), job)
        facts = done.stdout.partition("\t")[0].split()
        if len(facts) == 3 and facts[1] == "commit":
            return Entry("commit", facts[2])
        near = mirror.name_entries(commit, path, job)
        where = f"at commit {commit[:12]} of {mirror.access.address.url}"
        raise SourceError(
            f"the path {path!r} {entry.note} {where}",
            app=job.app,
            todo=f"Correct source.subdir or source.watch. {near}",
        )

    def place(self, wanted: Wanted, resolved: Resolved, into: Path, job: Job) -> Placed:
        """Check out exactly that commit, with its submodules unless they are turned off."""
        source, mirror, job = _model(wanted), self._mirror(wanted), replace(job, app=wanted.app)
        with writing(wanted.app):
            make_empty(into)
        mirror.check_out(resolved.id, into, job)
        if source.submodules:
            place_submodules(mirror, resolved.id, into, job)
        _warn_of_lfs(into, job)
        return Placed(context=inside(into, source.subdir, wanted.app))

    def _mirror(self, wanted: Wanted) -> Mirror:
        secrets = self._workplace.secrets
        access = make_access(_model(wanted), secrets, wanted.app)
        asked = not is_commit(wanted.revision)
        return Mirror(self._workplace.root, access, secrets.redactor, answered=asked)


def _model(wanted: Wanted) -> models.GitSource:
    if not isinstance(wanted.source, models.GitSource):
        raise TypeError(f"{wanted.app} has no git source")
    return wanted.source


def _choose(refs: Refs | ReconcilerError, wanted: Wanted) -> Outcome:
    if isinstance(refs, ReconcilerError):
        return for_app(refs, wanted.app)
    try:
        return choose_ref(refs, wanted.revision, parse_address(_model(wanted).git).url)
    except SourceError as error:
        return for_app(error, wanted.app)


def _warn_of_lfs(into: Path, job: Job) -> None:
    attributes = into / ".gitattributes"
    if not attributes.is_symlink() and attributes.is_file():
        text = attributes.read_bytes()
        if b"filter=lfs" in text:
            job.log("Git LFS isn't supported: its files are the pointers that git has")
