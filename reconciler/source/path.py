"""Source `path`: a directory beside `apps.yaml`, inside the directory of that file.

Its version is the commit of the repository around it, while the directory is as committed; else
`tree:` and the id of a git tree of its files. The content ids are those of git trees in both
cases, so committing what was deployed already changes nothing. Files that `.gitignore` names
don't count and aren't built from. In the configuration repository (`worktree`) only the commit
counts.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from reconciler.errors import ReconcilerError, SourceError
from reconciler.host.job import Job
from reconciler.source.base import Content, Outcome, Placed, Resolved, Version, Wanted, Workplace
from reconciler.source.command import Git, run_git
from reconciler.source.fanout import ask_all, collect, take
from reconciler.source.files import inside, make_empty, writing
from reconciler.source.managed import is_managed, read_branch, read_commit
from reconciler.source.objects import Entry, Unreadable, check_out, look_up
from reconciler.source.snapshot import Tree, find_tree
from reconciler.spec import models
from reconciler.values import frozen

_TREE = "tree:"


class PathSource:
    """Directories beside one `apps.yaml`."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace

    def resolve_all(self, wanted: Sequence[Wanted], job: Job) -> Mapping[str, Outcome]:
        """One `git status` for each distinct repository around the directories."""
        outcomes: dict[str, Outcome] = {}
        groups: dict[Tree, dict[str, Path]] = defaultdict(dict)
        for one in wanted:
            try:
                directory = self._directory(one)
            except ReconcilerError as error:
                outcomes[one.app] = error
            else:
                groups[find_tree(directory, self._workplace.root)][one.app] = directory
        questions = {tree: partial(_resolve, tree, apps, job) for tree, apps in groups.items()}
        for tree, answer in ask_all(questions, job).items():
            for app, directory in groups[tree].items():
                outcomes[app] = take(answer, directory, app)
        return outcomes

    def fingerprint_all(
        self, versions: Sequence[Version], job: Job
    ) -> Mapping[str, Content | ReconcilerError]:
        """Object ids of `subdir` and the `watch` paths; two processes for all that is at one
        commit of one repository."""
        outcomes: dict[str, Content | ReconcilerError] = {}
        groups: dict[tuple[Tree, str], list[_Place]] = defaultdict(list)
        for wanted, resolved in versions:
            try:
                directory = self._directory(wanted)
            except ReconcilerError as error:
                outcomes[wanted.app] = error
            else:
                tree = find_tree(directory, self._workplace.root)
                top, prefix = _top(tree, directory, resolved)
                groups[tree, top].append(_Place(wanted, resolved, directory, prefix))
        questions = {key: partial(_read, *key, places, job) for key, places in groups.items()}
        for key, answer in ask_all(questions, job).items():
            for one in groups[key]:
                outcomes[one.wanted.app] = take(answer, one.wanted.app, one.wanted.app)
        return outcomes

    def place(self, wanted: Wanted, resolved: Resolved, into: Path, job: Job) -> Placed:
        """Write the files of that version, not those that are there now."""
        job = replace(job, app=wanted.app)
        directory = self._directory(wanted)
        tree = find_tree(directory, self._workplace.root)
        top, prefix = _top(tree, directory, resolved)
        name = top if prefix == "." else f"{top}:{prefix}"
        with writing(wanted.app):
            make_empty(into)
        try:
            check_out(tree.repository, name, into, job)
        except Unreadable as error:
            job.log(f"git: {error}")
            self._place_again(wanted, resolved, into, job)
        return Placed(context=inside(into, _model(wanted).subdir, wanted.app))

    def _place_again(self, wanted: Wanted, resolved: Resolved, into: Path, job: Job) -> None:
        """Objects of an old snapshot go after a while; the same files bring them back."""
        directory = self._directory(wanted)
        tree = find_tree(directory, self._workplace.root)
        now = tree.snapshot([directory], job)[directory]
        if resolved.id != _TREE + now:
            raise _gone(resolved, wanted.app)
        try:
            check_out(tree.repository, now, into, job)
        except Unreadable as error:
            raise _unreadable(directory, str(error), wanted.app) from None

    def _directory(self, wanted: Wanted) -> Path:
        """The real directory. Raises `SourceError` when it isn't inside that of the spec."""
        base = self._workplace.base_dir.resolve()
        path = _model(wanted).path
        try:
            found = (base / Path(path).expanduser()).resolve(strict=True)
        except (OSError, RuntimeError):
            raise SourceError(
                f"there is no directory {path} beside the spec",
                app=wanted.app,
                todo="Make it, or correct source.path.",
            ) from None
        if not found.is_relative_to(base):
            raise SourceError(
                f"{path} is outside of the directory of the spec, {base}",
                app=wanted.app,
                todo="Move it inside, or use it as a git source.",
            )
        if not found.is_dir():
            raise SourceError(
                f"{path} is a file, and a source is a directory",
                app=wanted.app,
                todo="Correct source.path.",
            )
        return found


def _model(wanted: Wanted) -> models.PathSource:
    if not isinstance(wanted.source, models.PathSource):
        raise TypeError(f"{wanted.app} has no path source")
    return wanted.source


def _resolve(tree: Tree, apps: Mapping[str, Path], job: Job) -> Mapping[Path, Outcome]:
    directories = sorted(set(apps.values()))
    if is_managed(tree.top, tree.root):  # also while another process checks a commit out
        managed = Resolved(read_commit(tree.top), read_branch(tree.top))
        return dict.fromkeys(directories, managed)
    if not tree.has_git:
        snapshots = tree.snapshot(directories, job)
        return {one: Resolved(_TREE + snapshots[one], "files") for one in directories}
    state = tree.state(directories, job)
    clean = Resolved(state.commit, state.branch or "HEAD")
    changed = sorted(state.changed)
    snapshots = tree.snapshot(changed, job, from_nothing=state.conflicts) if changed else {}
    return {
        one: Resolved(_TREE + snapshots[one], "uncommitted changes") if one in snapshots else clean
        for one in directories
    }


def _top(tree: Tree, directory: Path, resolved: Resolved) -> tuple[str, str]:
    """A commit or tree, and where the directory is below it."""
    if resolved.id.startswith(_TREE):
        return resolved.id.removeprefix(_TREE), "."
    return resolved.id, tree.relative(directory)


@frozen
class _Place:
    """One app's directory, which is `prefix` below a commit or tree."""

    wanted: Wanted
    resolved: Resolved
    directory: Path
    prefix: str

    @property
    def paths(self) -> Mapping[str, str]:
        """The app's paths → the same below the commit or tree."""
        source = _model(self.wanted)
        return {
            path: posixpath.normpath(posixpath.join(self.prefix, path))
            for path in (source.subdir, *source.watch)
        }


def _read(
    tree: Tree, top: str, places: Sequence[_Place], job: Job
) -> Mapping[str, Content | ReconcilerError]:
    paths = list(dict.fromkeys(path for one in places for path in one.paths.values()))
    try:
        entries = look_up(tree.repository, top, paths, job)
    except Unreadable as error:
        raise _unreadable(places[0].directory, str(error), "") from None
    if entries is None:
        raise _gone(places[0].resolved, "")
    found = dict(zip(paths, entries, strict=True))
    inner = _repositories_inside(tree, top, job)
    return collect((one.wanted.app, partial(_content, one, found, inner)) for one in places)


def _content(place: _Place, found: Mapping[str, Entry], inner: Sequence[str]) -> Content:
    for path, below in place.paths.items():
        if not found[below].kind:
            raise _missing(place.directory, path, found[below].note)
    for one in inner:
        if place.prefix == "." or one.startswith(f"{place.prefix}/"):
            raise SourceError(
                f"{one} is a repository of its own, whose files a path source doesn't have",
                todo="Use a git source, which checks submodules out, or add it to .gitignore.",
            )
    return {path: found[below].id for path, below in place.paths.items()}


def _repositories_inside(tree: Tree, top: str, job: Job) -> list[str]:
    """Paths of submodules and other repositories below a commit or tree."""
    args = ("ls-tree", "-r", "-d", "-z", "--full-tree", top)
    done = run_git(Git(tree.repository.git(*args), tree.repository.environment), job)
    lines = (line.partition("\t") for line in done.stdout.split("\0"))
    return [path for facts, _, path in lines if facts.startswith("160000 ")]


def _missing(directory: Path, path: str, note: str) -> SourceError:
    import difflib

    where = directory / path
    if where.exists():
        return SourceError(
            f"git ignores or doesn't have {path} in {directory}",
            todo="Take it out of .gitignore and put files there; empty directories don't count.",
        )
    names = sorted(one.name for one in where.parent.iterdir()) if where.parent.is_dir() else []
    near = difflib.get_close_matches(where.name, names, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return SourceError(
        f"the path {path!r} {note} in {directory}",
        todo=f"Correct source.subdir or source.watch.{hint}",
    )


def _gone(resolved: Resolved, app: str) -> SourceError:
    return SourceError(
        f"the version {resolved.id} of the directory isn't there any more",
        app=app,
        todo="Deploy the files as they are now.",
    )


def _unreadable(directory: Path, detail: str, app: str) -> SourceError:
    return SourceError(
        f"git can't read the repository around {directory}",
        app=app,
        detail=detail,
        todo="Run `git fsck` there.",
    )
