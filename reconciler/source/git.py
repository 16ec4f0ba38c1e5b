"""Source `git`: a repository over https, http, ssh, or on this machine.

`resolve_all` asks each repository once (`git ls-remote`), `fingerprint_all` brings the commit
into the repository's mirror, `place` checks it out. What a revision may be is told in `refs`.
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
from reconciler.source.base import Content, Outcome, Placed, Resolved, Version, Wanted, Workplace
from reconciler.source.command import git_error, list_refs
from reconciler.source.fanout import ask_all, collect, for_app, take
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

    def fingerprint_all(
        self, versions: Sequence[Version], job: Job
    ) -> Mapping[str, Content | ReconcilerError]:
        """Object ids of `subdir` and the `watch` paths at the commit, fetched when missing.

        One look into the mirror for each distinct repository and commit.
        """
        groups: dict[Hashable, list[Version]] = defaultdict(list)
        for wanted, resolved in versions:
            source = _model(wanted)
            key = source.git, source.credentials, source.ssh_key, resolved.id
            groups[key].append((wanted, resolved))
        questions = {key: partial(self._read, group, job) for key, group in groups.items()}
        answers = ask_all(questions, job)
        return {
            wanted.app: take(answers[key], wanted.app, wanted.app)
            for key, group in groups.items()
            for wanted, _ in group
        }

    def _read(self, group: Sequence[Version], job: Job) -> Mapping[str, Content | ReconcilerError]:
        wanted, resolved = group[0]
        mirror = self._mirror(*(one for one, _ in group))
        paths = list(dict.fromkeys(path for one, _ in group for path in _paths(one)))
        job = replace(job, app=wanted.app if len(group) == 1 else "")
        found = dict(zip(paths, mirror.entries(resolved.id, paths, job), strict=True))
        return collect(
            (one.app, partial(self._content, one, mirror, resolved.id, found, job))
            for one, _ in group
        )

    def _content(
        self, wanted: Wanted, mirror: Mirror, commit: str, found: Mapping[str, Entry], job: Job
    ) -> Content:
        content: dict[str, str] = {}
        for path in _paths(wanted):
            entry = found[path]
            if not entry.kind:
                entry = self._find_submodule(mirror, commit, path, entry, job)
            if path == _model(wanted).subdir and entry.kind == "blob":
                raise SourceError(
                    f"source.subdir {path!r} is a file, and a build context is a directory",
                    todo="Correct source.subdir.",
                )
            content[path] = entry.id
        return content

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

    def _mirror(self, *wanted: Wanted) -> Mirror:
        """The mirror of the repository that all of them have."""
        secrets = self._workplace.secrets
        access = make_access(_model(wanted[0]), secrets, wanted[0].app)
        asked = not all(is_commit(one.revision) for one in wanted)
        return Mirror(self._workplace.root, access, secrets.redactor, answered=asked)


def _model(wanted: Wanted) -> models.GitSource:
    if not isinstance(wanted.source, models.GitSource):
        raise TypeError(f"{wanted.app} has no git source")
    return wanted.source


def _paths(wanted: Wanted) -> tuple[str, ...]:
    source = _model(wanted)
    return (source.subdir, *source.watch)


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
