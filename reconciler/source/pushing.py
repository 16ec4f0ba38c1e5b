"""Changes files of a branch: a commit on top of it, made in the mirror and pushed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.errors import GitUnavailable, ReconcilerError, SourceError, TimedOut, UsageError
from reconciler.host.job import Job
from reconciler.host.limit import limited
from reconciler.host.process import Finished
from reconciler.source.access import Environment
from reconciler.source.command import Fault, essence, fault_of, git_error
from reconciler.source.files import remove
from reconciler.source.mirror import Mirror
from reconciler.values import frozen

PUSH_SECONDS = 60.0
NOBODY = "reconciler <reconciler@localhost>"

_PERSON = re.compile(r"\s*([^<>\n\0]*[^<>\s\0])\s*<([^<>\s\0]+)>\s*")
_RACE = ("cannot lock ref", "failed to update ref", "incorrect old value", "failed to lock")
"""What a host says when two pushes meet there."""


@frozen
class Person:
    """Who made a commit."""

    name: str
    email: str

    def environment(self, role: str) -> Environment:
        """For git; `role`: AUTHOR or COMMITTER."""
        return {f"GIT_{role}_NAME": self.name, f"GIT_{role}_EMAIL": self.email}


def parse_person(text: str) -> Person:
    """`Name <address>`. Raises `UsageError`."""
    match = _PERSON.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is no author", todo="Write it as git does: 'Ada Lovelace <ada@example.com>'."
        )
    return Person(match[1], match[2])


@frozen
class Edit:
    """What is to be changed: files by path in the repository, on top of the commit `base`.

    `author`: `Name <address>`; empty for who git's settings name.
    """

    base: str
    branch: str
    files: Mapping[str, bytes]
    message: str
    author: str = ""


def push_edit(mirror: Mirror, edit: Edit, index: Path, job: Job) -> str:
    """The commit, once the host has it on the branch; empty when somebody else was faster.

    `index`: a file of ours to work with. Raises `SourceError` for a push that the host refuses,
    `GitUnavailable` for a host that doesn't answer or wants other credentials.
    """
    commit = _Writer(mirror, index, job).commit(edit)
    target = f"{commit}:refs/heads/{edit.branch}"
    access = mirror.access
    args = (*access.settings, "push", "--porcelain", "--no-verify", "--", access.address.url)
    try:
        with limited(job, PUSH_SECONDS) as quick:
            done = mirror.run((*args, target), quick, environment=access.environment)
    except TimedOut:
        job.cancel.check()
        raise GitUnavailable(
            f"{access.address.url} didn't take the commit within {PUSH_SECONDS:g} s",
            todo="Try again; `git log` there shows whether it has arrived.",
        ) from None
    if done.returncode == 0:
        # Somebody else's commit in the same second may have the same id: that was theirs.
        return "" if _line(done, "=") else commit
    refusal = _line(done, "!")
    if refusal.startswith("[rejected]") or any(text in done.stderr + refusal for text in _RACE):
        return ""
    raise _error(mirror, edit, refusal, done)


def _line(done: Finished, sign: str) -> str:
    """What git says about the branch after this sign: `[rejected] (fetch first)` and the like."""
    for line in done.stdout.splitlines():
        if line.startswith(f"{sign}\t"):
            return line.rpartition("\t")[2]
    return ""


def _error(mirror: Mirror, edit: Edit, refusal: str, done: Finished) -> ReconcilerError:
    if not refusal or fault_of(done.stderr) is Fault.AUTH:
        return git_error(mirror.access, done.stderr, mirror.redactor, "")
    why = refusal.removeprefix("[remote rejected]").strip(" ()")
    return SourceError(
        f"{mirror.access.address.url} refused the push to {edit.branch}: {why}",
        detail=essence(mirror.redactor.hide(done.stderr)),
        todo="Let this account push to the branch, or make the change by a commit of yours.",
    )


@frozen
class _Writer:
    """Makes commits in a mirror."""

    mirror: Mirror
    index: Path
    job: Job

    def commit(self, edit: Edit) -> str:
        modes = self._modes(edit)
        lines = [
            f"{modes[path]} {self._run(('hash-object', '-w', '--stdin'), text)}\t{path}\0"
            for path, text in edit.files.items()
        ]
        own = {"GIT_INDEX_FILE": str(self.index)}
        try:
            self._run(("read-tree", edit.base), environment=own)
            update = ("update-index", "-z", "--index-info")
            self._run(update, "".join(lines).encode(), own)
            tree = self._run(("write-tree",), environment=own)
        finally:
            remove(self.index)
            remove(self.index.with_name(f"{self.index.name}.lock"))
        committer = self._person()
        author = parse_person(edit.author) if edit.author else committer
        people = {**author.environment("AUTHOR"), **committer.environment("COMMITTER")}
        message = edit.message.replace("\0", "").strip() + "\n"
        args = ("commit-tree", "-p", edit.base, "-F", "-", tree)
        return self._run(args, message.encode("utf-8", "replace"), people)

    def _modes(self, edit: Edit) -> dict[str, str]:
        text = self._run(("ls-tree", "-z", "--full-tree", edit.base, "--", *edit.files))
        entries = (line.partition("\t") for line in text.split("\0") if line)
        modes = {path: facts.split()[0] for facts, _, path in entries}
        return {path: modes.get(path, "100644") for path in edit.files}

    def _person(self) -> Person:
        """Who git's settings name; where they name nobody, reconciler."""
        found = [self._setting(name) for name in ("user.name", "user.email")]
        return Person(*found) if all(found) else parse_person(NOBODY)

    def _setting(self, name: str) -> str:
        return self.mirror.run(("config", "--get", "--", name), self.job).stdout.strip()

    def _run(
        self, args: Sequence[str], stdin: bytes = b"", environment: Environment | None = None
    ) -> str:
        done = self.mirror.run(args, self.job, stdin=stdin, environment=environment)
        if done.returncode:
            raise git_error(self.mirror.access, done.stderr, self.mirror.redactor, self.job.app)
        return done.stdout.strip()
