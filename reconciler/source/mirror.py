"""Bare mirrors of git repositories in the state directory, shared by all apps and processes.

    <root>/mirrors/<key>.git      the mirror; its branches and tags are the remote's
    <root>/mirrors/<key>.lock     shared by readers, exclusive for who fetches or repairs
    <root>/mirrors/<key>.busy     there while somebody writes: found under the lock, it tells that
                                  a writer was killed and may have left temporary files
    <root>/mirrors/<key>.fetched  touched by each fetch

A mirror that can't be read is fetched anew beside the old one, which then makes room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from reconciler.errors import ReconcilerError, SourceError
from reconciler.host.job import Job
from reconciler.host.lock import locked
from reconciler.host.process import Finished
from reconciler.host.secrets import Redactor
from reconciler.source.access import PLAIN, Access, Environment
from reconciler.source.command import Fault, Git, essence, fault_of, git_error, list_refs, run_git
from reconciler.source.files import remove, writing
from reconciler.source.objects import (
    Entry,
    Repository,
    Unreadable,
    check_out,
    look_up,
    name_entries,
    plain_repository,
)
from reconciler.values import frozen

_EVERYTHING = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_FETCH = (
    "fetch",
    "--progress",
    "--prune",
    "--no-tags",
    "--no-auto-maintenance",
    "--no-write-fetch-head",
    "--no-recurse-submodules",
)
CONFIG = """\
[core]
\tautocrlf = false
\tfsmonitor = false
\thooksPath = /dev/null
\tsymlinks = true
[gc]
\tauto = 0
[filter "lfs"]
\tprocess =
\tsmudge =
\trequired = false
"""
"""What a checkout looks like doesn't depend on this user's settings. Files of Git LFS stay
pointers, as a mirror doesn't have what they point to."""

_MANY_PACKS = 50
_MANY_LOOSE = 27
"""In one of 256 directories. Both are where `git gc --auto` begins to pack."""

T = TypeVar("T")


@frozen
class Mirror:
    """The mirror of one repository. Methods may be called by many threads and processes.

    `answered`: the host has just listed its refs, so it's there. They raise `SourceError`,
    `GitUnavailable`, `DiskFull`, `Stalled`, `Locked`, and the job's `Stopped`.
    """

    root: Path
    access: Access
    redactor: Redactor
    answered: bool = False

    @property
    def path(self) -> Path:
        return self._file(".git")

    @property
    def repository(self) -> Repository:
        return plain_repository(self.path)

    def _file(self, suffix: str) -> Path:
        return self.root / "mirrors" / f"{self.access.address.key}{suffix}"

    # Reading

    def entries(self, commit: str, paths: Sequence[str], job: Job) -> list[Entry]:
        """What each path (`.` is the root) is at the commit, which is fetched when missing."""

        def look() -> list[Entry] | None:
            return look_up(self.repository, commit, paths, job)

        seen = self._last_fetch()
        found = self._repairing(look, job)
        for fetch in (self._fetch_all, self._fetch_one):
            if found is None:
                fetch(commit, seen, job)
                found = self._repairing(look, job)
        if found is None:
            raise self._no_commit(commit, job)
        return found

    def check_out(self, commit: str, into: Path, job: Job) -> None:
        """Write the commit's files into the directory `into`."""

        def write() -> bool:
            check_out(self.repository, commit, into, job)
            return True

        try:
            if self._reading(write, job):
                return
        except Unreadable as error:
            job.log(f"git: {error}")
        self.entries(commit, (), job)  # brings the commit, if that was all that was missing
        if not self._repairing(write, job):
            raise self._no_commit(commit, job)

    def name_entries(self, commit: str, path: str, job: Job) -> str:
        """A sentence about what is near a path that isn't there."""
        near = self._repairing(lambda: name_entries(self.path, commit, path), job)
        return near or ""

    def run(
        self,
        args: Sequence[str],
        job: Job,
        *,
        stdin: bytes = b"",
        environment: Environment | None = None,
    ) -> Finished:
        """A git command in the mirror that reads, or only adds; the caller judges the return code.

        `environment` beside that of every git.
        """
        git = Git(self.repository.git(*args), {**PLAIN, **(environment or {})}, stdin=stdin)
        with locked(self._file(".lock"), job, shared=True):
            return run_git(git, job)

    def _reading(self, read: Callable[[], T], job: Job) -> T | None:
        """None when there is no mirror yet."""
        with writing(job.app), locked(self._file(".lock"), job, shared=True):
            return read() if self.path.is_dir() else None

    def _repairing(self, read: Callable[[], T], job: Job) -> T | None:
        try:
            return self._reading(read, job)
        except Unreadable as error:
            job.log(f"the mirror of {self.access.address.url} is damaged: {error}")
        with self._writing(job):
            self._make(job)
        try:
            return self._reading(read, job)
        except Unreadable as error:
            raise self._error(str(error), job) from None

    # Writing

    def _last_fetch(self) -> int:
        try:
            return self._file(".fetched").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _fetch_all(self, commit: str, seen: int, job: Job) -> None:
        """All branches and tags, unless somebody else brought the commit meanwhile."""
        with self._writing(job):
            if self._last_fetch() != seen and self._has(commit, job):
                return
            if not self.answered and self.access.address.kind in ("https", "http"):
                # An unreachable host would keep `fetch` for minutes.
                self._check(list_refs(self.access, ("--heads",), job), job)
            if not self.path.is_dir():
                self._make(job)
                return
            try:
                self._fetch(self.path, _EVERYTHING, job)
            except Unreadable as error:
                job.log(f"the mirror of {self.access.address.url} is damaged: {error}")
                self._make(job)
            self._pack_now_and_then(job)

    def _fetch_one(self, commit: str, _seen: int, job: Job) -> None:
        """The commit itself: no branch or tag leads to it (any more)."""
        with self._writing(job):
            try:
                self._fetch(self.path, (f"+{commit}:refs/kept/{commit}",), job)
            except Unreadable as error:
                raise self._error(str(error), job) from None
            except SourceError as error:
                if fault_of(error.detail) is Fault.COMMIT:
                    raise self._no_commit(commit, job) from None
                raise

    def _has(self, commit: str, job: Job) -> bool:
        try:
            return self.path.is_dir() and look_up(self.repository, commit, (), job) is not None
        except Unreadable:
            return False

    @contextmanager
    def _writing(self, job: Job) -> Iterator[None]:
        busy = self._file(".busy")
        with writing(job.app), locked(self._file(".lock"), job):
            if busy.exists():
                self._sweep()
            busy.touch()
            yield
            busy.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a killed writer left; nobody else writes now."""
        remove(self._file(".git.new"))
        remove(self._file(".git.old"))
        for pattern in ("*.lock", "gc.pid", "objects/pack/*.keep", "objects/pack/tmp_*"):
            for leftover in self.path.glob(pattern):
                remove(leftover)
        for pattern in ("objects/**/tmp_obj_*", "refs/**/*.lock", "objects/**/*.lock"):
            for leftover in self.path.glob(pattern):
                remove(leftover)

    def _make(self, job: Job) -> None:
        """Fetch the whole repository into a new mirror, which takes the old one's place."""
        new, old = self._file(".git.new"), self._file(".git.old")
        remove(new)
        done = run_git(Git(("init", "--quiet", "--bare", "--template=", "--", str(new))), job)
        if done.returncode:
            raise self._error(done.stderr, job)
        with (new / "config").open("a") as config:
            config.write(CONFIG)
        try:
            self._fetch(new, _EVERYTHING, job)
        except Unreadable as error:
            raise self._error(str(error), job) from None
        except ReconcilerError:
            remove(new)  # the URL may be wrong, and never be asked for again
            raise
        remove(old)
        if self.path.exists():
            self.path.rename(old)
        new.rename(self.path)
        remove(old)

    def _fetch(self, git_dir: Path, refspecs: Sequence[str], job: Job) -> None:
        """Raises `Unreadable` when git's complaint is about the mirror."""
        job.log(f"fetching {self.access.address.url}")
        repository = plain_repository(git_dir)
        args = (*self.access.settings, *_FETCH, "--", self.access.address.url, *refspecs)
        git = Git(repository.git(*args), self.access.environment, show_progress=True)
        self._check(run_git(git, job), job, local=str(git_dir))
        self._file(".fetched").touch()

    def _check(self, done: Finished, job: Job, local: str = "") -> None:
        if done.returncode == 0:
            return
        if local and (fault_of(done.stderr) in (None, Fault.CORRUPT) or local in done.stderr):
            raise Unreadable(essence(self.redactor.hide(done.stderr)))
        raise self._error(done.stderr, job)

    def _pack_now_and_then(self, job: Job) -> None:
        objects = self.path / "objects"
        packs = sum(1 for _ in (objects / "pack").glob("*.pack"))
        loose = sum(1 for _ in (objects / "17").glob("*"))
        if packs > _MANY_PACKS or loose > _MANY_LOOSE:
            job.log(f"packing the mirror of {self.access.address.url}")
            run_git(Git(self.repository.git("gc", "--quiet")), job)

    def _error(self, stderr: str, job: Job) -> ReconcilerError:
        return git_error(self.access, stderr, self.redactor, job.app)

    def _no_commit(self, commit: str, job: Job) -> SourceError:
        return SourceError(
            f"{self.access.address.url} doesn't have the commit {commit}",
            app=job.app,
            todo="Push it with a branch or tag that leads to it, or correct the revision.",
        )
