"""The configuration repository's files, at a place that stays: what path sources, env files and
bind mounts of its spec refer to.

    <root>/config/<key>/         the files; beside them `.git`, whose objects are the mirror's
    <root>/config/<key>.lock     held by who changes them
    <root>/config/<key>.busy     there while somebody does, with the commit: found under the lock,
                                 it tells that a writer was killed in the middle
    <root>/config/<key>.draft/   files of a commit that nobody has judged yet

Files that the commit doesn't have, such as what a container wrote into a bind mount, stay. What
is checked out is told by `.git/HEAD` alone, which is replaced when all files are in place; path
sources read the commit's objects rather than the files, and so never see half of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import SourceError
from reconciler.host.job import Job
from reconciler.host.lock import locked
from reconciler.host.process import Finished
from reconciler.source.access import PLAIN
from reconciler.source.command import SENTENCES, Fault, Git, essence, fault_of, git_error, run_git
from reconciler.source.files import make_empty, remove, writing
from reconciler.source.managed import BRANCH, PLACE, read_commit
from reconciler.source.mirror import CONFIG, Mirror
from reconciler.source.refs import is_commit
from reconciler.values import frozen

_PAUSES = (0.0, 0.2, 0.5)
"""Before what is damaged is made anew: the git of a process that was killed may still be at it."""


@frozen
class WorkTree:
    """The files of one commit of a mirrored repository. `key`: of the place, for its name."""

    root: Path
    key: str
    mirror: Mirror

    @property
    def path(self) -> Path:
        return self.root / PLACE / self.key

    @property
    def commit(self) -> str:
        """What is checked out, whole; empty for nothing, or for what a killed writer left."""
        return "" if self._busy.exists() else read_commit(self.path)

    @property
    def _busy(self) -> Path:
        return self._beside(".busy")

    @property
    def _git_dir(self) -> Path:
        return self.path / ".git"

    def _beside(self, suffix: str) -> Path:
        return self.root / PLACE / f"{self.key}{suffix}"

    @contextmanager
    def locked(self, job: Job) -> Iterator[None]:
        """Alone with it; what a killed writer left is finished first."""
        with writing(""), locked(self._beside(".lock"), job):
            if self._busy.exists():
                remove(self._git_dir / "index.lock")
                commit, _, branch = self._busy.read_text().partition(" ")
                if is_commit(commit):
                    self.check_out(commit, branch, job)
                remove(self._busy)
            yield

    def check_out(self, commit: str, branch: str, job: Job) -> None:
        """Let the files be those of the commit; under the lock. `branch`: for people."""
        self.mirror.entries(commit, (), job)  # brings it, should it be missing
        keep = ("update-ref", f"refs/config/{self.key}", commit)
        self._must(self.mirror.run(keep, job), job)
        with writing(job.app):
            self._busy.write_text(f"{commit} {branch}")
            if self._needs_git():
                self._make_git(job)
            done = self._read_tree(commit, job)
            for pause in _PAUSES:
                if not done.returncode or not _may_be_mended(done.stderr):
                    break
                job.log(f"git: {essence(done.stderr)}")
                job.cancel.wait(pause)
                self._make_git(job)
                done = self._read_tree(commit, job)
            self._must(done, job)
            _replace(self._git_dir / BRANCH, branch)
            _replace(self._git_dir / "HEAD", f"{commit}\n")
            remove(self._busy)

    @contextmanager
    def draft(self, commit: str, path: str, job: Job) -> Iterator[Path]:
        """A directory with the commit's files that the spec at `path` can be made of, for the
        block; under the lock. Raises `SourceError` when the commit has no such file.
        """
        directory = self._beside(".draft")
        with writing(job.app):
            make_empty(directory)
        try:
            if not self._draft_one(commit, path, directory, job):
                make_empty(directory)
                self.mirror.check_out(commit, directory, job)
            yield directory
        finally:
            remove(directory)

    def _draft_one(self, commit: str, path: str, directory: Path, job: Job) -> bool:
        """Whether that file is enough: it is no link, and includes nothing."""
        index = self._beside(".index")
        own = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(directory)}
        try:
            done = self.mirror.run(("read-tree", commit), job, environment=own)
            if done.returncode == 0:
                args = ("checkout-index", "--quiet", "--", path)
                done = self.mirror.run(args, job, environment=own)
        finally:
            remove(index)
            remove(index.with_name(f"{index.name}.lock"))
        file = directory / path
        if done.returncode or file.is_symlink() or not file.is_file():
            return False
        text = file.read_bytes()
        return b"include" not in text and b"\\" not in text

    def _read_tree(self, commit: str, job: Job) -> Finished:
        settings = ("-c", "core.sparseCheckout=false", "-c", "core.splitIndex=false")
        args = ("read-tree", "--reset", "-u", "--no-recurse-submodules", commit)
        options = ("--git-dir", str(self._git_dir), "--work-tree", str(self.path))
        return run_git(Git((*options, *settings, *args), PLAIN, cwd=self.path), job)

    def _needs_git(self) -> bool:
        try:
            return self._alternates.read_text() != self._objects
        except OSError:
            return True

    @property
    def _alternates(self) -> Path:
        return self._git_dir / "objects/info/alternates"

    @property
    def _objects(self) -> str:
        return os.path.relpath(self.mirror.path / "objects", self._git_dir / "objects") + "\n"

    def _make_git(self, job: Job) -> None:
        """Git's own part, anew; the files stay."""
        remove(self._git_dir)
        self.path.mkdir(parents=True, exist_ok=True)
        args = ("init", "--quiet", "--template=", "--", str(self.path))
        self._must(run_git(Git(args), job), job)
        with (self._git_dir / "config").open("a") as config:
            config.write(CONFIG)
        self._alternates.parent.mkdir(exist_ok=True)
        self._alternates.write_text(self._objects)

    def _must(self, done: Finished, job: Job) -> None:
        if done.returncode == 0:
            return
        if "invalid path" in done.stderr:
            raise SourceError(
                f"git refuses a path of {self.mirror.access.address.url}",
                detail=essence(done.stderr),
                todo="Remove the file from the repository; such names are used for attacks.",
            )
        if fault_of(done.stderr) is Fault.DISK:
            raise git_error(self.mirror.access, done.stderr, self.mirror.redactor, job.app)
        raise SourceError(
            f"git can't write the files of {self.mirror.access.address.url} into {self.path}",
            detail=essence(done.stderr),
            todo=SENTENCES[Fault.CORRUPT][1],
        )


def _may_be_mended(said: str) -> bool:
    """A full disk isn't mended by a new git directory. What git says of its index it also says
    when the lock was taken from it, as by the end of a process that was killed a moment ago."""
    return fault_of(said) is not Fault.DISK or "new index file" in said


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)
