"""The content of a directory as a git tree, whether it is committed, changed, or in no repository.

A tree's id depends on the files alone, so committing what is there doesn't change it. What isn't
committed is written into a scratch repository of ours; the user's repository is only read.

    <root>/snapshots/<key>.git    objects that the user's repository doesn't have, and an index
    <root>/snapshots/<key>.lock   held by who writes them
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from reconciler.errors import DiskFull, ReconcilerError, SourceError
from reconciler.host.job import Job
from reconciler.host.lock import locked
from reconciler.host.process import Finished
from reconciler.source.access import PLAIN, Environment
from reconciler.source.command import SENTENCES, Fault, Git, essence, fault_of, run_git
from reconciler.source.files import remove, writing
from reconciler.source.objects import Repository, Unreadable, look_up
from reconciler.values import frozen

_MANY = 27
_OLD_SECONDS = 7 * 86400
"""With about 7000 objects, those that weren't written for a week go."""

_SETTINGS = ("-c", "core.fsmonitor=false", "-c", "core.splitIndex=false")


@frozen
class State:
    """What git says about directories: the commit (empty: none yet), its branch, and which of the
    directories differ from it. `conflicts`: a merge isn't finished."""

    commit: str
    branch: str
    changed: frozenset[Path]
    conflicts: bool = False


@frozen
class Tree:
    """The repository around some directories (`top`), or with `has_git` false one directory
    without any. `root` is the state directory."""

    top: Path
    has_git: bool
    root: Path

    @property
    def _scratch(self) -> Path:
        key = hashlib.sha256(str(self.top).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return self.root / "snapshots" / f"{key}.git"

    @property
    def repository(self) -> Repository:
        """For reading; has the committed and the scratch objects."""
        if not self.has_git:
            return Repository(("--git-dir", str(self._scratch)), PLAIN)
        options, objects = ("-C", str(self.top), *_SETTINGS), self._scratch / "objects"
        if not objects.is_dir():  # git would complain
            return Repository(options, PLAIN)
        return Repository(options, {**PLAIN, "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quote(objects)})

    def relative(self, directory: Path) -> str:
        """The directory as seen from the top, `.` for the top itself."""
        return directory.relative_to(self.top).as_posix()

    def state(self, directories: Sequence[Path], job: Job) -> State:
        """One `git status` for all the directories. Raises `SourceError`."""
        args = (
            "status",
            "--porcelain=v2",
            "--branch",
            "-z",
            "--no-renames",
            "--untracked-files=normal",
            "--ignore-submodules=dirty",
            "--",
            *self._pathspecs(directories),
        )
        done = run_git(Git(self.repository.git(*args), self.repository.environment), job)
        if done.returncode:
            raise _error(self.top, done, job)
        return _read_state(done.stdout, {self.relative(one): one for one in directories})

    def snapshot(
        self, directories: Sequence[Path], job: Job, *, from_nothing: bool = False
    ) -> Mapping[Path, str]:
        """The tree id of each directory as its files are now; ignored files don't count.

        `from_nothing`: don't begin with what the repository's index knows.
        Raises `SourceError`, `DiskFull`, `Stalled`.
        """
        with writing(job.app), locked(self._scratch.with_suffix(".lock"), job):
            self._prepare(job)
            try:
                return self._write(directories, job, from_nothing)
            except Unreadable:
                # The index may know objects that are gone.
                remove(self._scratch / "index")
                try:
                    return self._write(directories, job, True)
                except Unreadable as error:
                    raise SourceError(
                        f"git can't read the files of {self.top}",
                        app=job.app,
                        detail=str(error),
                        todo="Run `git status` and `git fsck` there.",
                    ) from None

    def _prepare(self, job: Job) -> None:
        if not (self._scratch / "HEAD").exists():
            args = ("init", "--quiet", "--bare", "--template=", "--", str(self._scratch))
            done = run_git(Git(args), job)
            if done.returncode:
                raise _error(self._scratch, done, job)
        remove(self._scratch / "index.lock")
        objects = self._scratch / "objects"
        if sum(1 for _ in (objects / "17").glob("*")) > _MANY:
            remove(self._scratch / "index")
            for old in _older(objects.glob("??/*"), time.time() - _OLD_SECONDS):
                old.unlink()

    def _write(
        self, directories: Sequence[Path], job: Job, from_nothing: bool
    ) -> Mapping[Path, str]:
        if not self.has_git:
            work = ("--work-tree", str(self.top))
            writer = Repository((*self.repository.options, *work, *_SETTINGS), PLAIN)
        else:
            writer = Repository(self.repository.options, self._begin_index(job, from_nothing))
        self._run(writer, ("add", "--all", "--", *self._pathspecs(directories)), job)
        tree = self._run(writer, ("write-tree", "--missing-ok"), job).strip()
        names = [self.relative(one) for one in directories]
        entries = look_up(self.repository, tree, names, job) or []
        found = dict(zip(directories, (entry.id for entry in entries), strict=True))
        if not all(found.values()):
            raise Unreadable(f"git lost the tree {tree}")
        return found

    def _begin_index(self, job: Job, from_nothing: bool) -> Environment:
        """Environment for writing. Begins with a copy of the repository's index: what that knows
        to be unchanged isn't read again."""
        options = ("rev-parse", "--git-path", "index", "--git-path", "objects")
        reader = Repository(self.repository.options, PLAIN)
        index, objects = (self.top / line for line in self._run(reader, options, job).splitlines())
        own = self._scratch / "index"
        remove(own)
        if index.exists() and not from_nothing:
            shutil.copy2(index, own)  # with its time, by which git tells what is surely unchanged
        return {
            **PLAIN,
            "GIT_INDEX_FILE": str(own),
            "GIT_OBJECT_DIRECTORY": str(self._scratch / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quote(objects),
        }

    def _run(self, repository: Repository, args: Sequence[str], job: Job) -> str:
        done = run_git(Git(repository.git(*args), repository.environment), job)
        if done.returncode == 0:
            return done.stdout
        if "error building trees" in done.stderr or "invalid object" in done.stderr:
            raise Unreadable(essence(done.stderr))
        raise _error(self.top, done, job)

    def _pathspecs(self, directories: Sequence[Path]) -> Iterator[str]:
        """Literal ones; the state directory is never a part of a source."""
        for one in directories:
            yield f":(top,literal){'' if one == self.top else self.relative(one)}"
        if self.root.is_relative_to(self.top):
            yield f":(top,literal,exclude){self.relative(self.root)}"


def find_tree(directory: Path, root: Path) -> Tree:
    """The repository around a directory (a real path), or that directory alone."""
    for top in (directory, *directory.parents):
        git = top / ".git"
        if git.is_file() or (git / "HEAD").is_file():
            return Tree(top, True, root.resolve())
    return Tree(directory, False, root.resolve())


def _read_state(text: str, directories: Mapping[str, Path]) -> State:
    facts: dict[str, str] = {}
    changed: set[Path] = set()
    conflicts = False
    for record in filter(None, text.split("\0")):
        if record.startswith("# "):
            _, name, value = record.split(" ", 2)
            facts[name] = value
            continue
        conflicts |= record.startswith("u ")
        path = record.split(" ", {"1": 8, "u": 10}.get(record[0], 1))[-1]
        changed.update(one for name, one in directories.items() if _touches(path, name))
    commit = facts.get("branch.oid", "")
    if not commit or commit == "(initial)":
        return State("", "", frozenset(directories.values()), conflicts)
    branch = facts.get("branch.head", "").replace("(detached)", "")
    return State(commit, branch, frozenset(changed), conflicts)


def _touches(path: str, directory: str) -> bool:
    """Whether a changed path is in the directory, or is an untracked directory around it."""
    if directory == ".":
        return True
    return path.startswith(f"{directory}/") or f"{directory}/".startswith(path.rstrip("/") + "/")


def _error(top: Path, done: Finished, job: Job) -> ReconcilerError:
    fault, detail = fault_of(done.stderr), essence(done.stderr)
    if fault is Fault.DISK:
        what, todo = SENTENCES[fault]
        return DiskFull(what, app=job.app, detail=detail, todo=todo)
    todo = "Run `git status` there to see more."
    if fault is Fault.OWNER:
        todo = (
            f"If you trust its owner, run `git config --global --add safe.directory {top}` as the "
            "user who runs reconcile."
        )
    elif "did not match any files" in done.stderr:
        todo = "Put files there, or correct source.path."
    return SourceError(f"git can't read {top}", app=job.app, detail=detail, todo=todo)


def _older(files: Iterator[Path], limit: float) -> Iterator[Path]:
    return (file for file in files if file.stat().st_mtime < limit)


def _quote(path: Path) -> str:
    """For a list that is separated by colons."""
    text = str(path)
    if ":" not in text and not text.startswith('"'):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
