"""Reads a repository's objects, and writes a tree's files into a directory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.errors import DiskFull, SourceError
from reconciler.host.job import Job
from reconciler.source.access import PLAIN, Environment
from reconciler.source.command import SENTENCES, Fault, Git, essence, fault_of, run_git
from reconciler.source.files import writing
from reconciler.values import frozen

_LED_AWAY = re.compile(r"(symlink|dangling|loop|notdir) \d+")
_NO_SUCH = " missing"
_NOTES = {
    "symlink": "leads out of the source through a symbolic link",
    "dangling": "is a symbolic link to nothing",
    "loop": "is a symbolic link in a circle",
    "notdir": "leads through a file",
}


class Unreadable(Exception):  # noqa: N818 - a reason to repair, which never leaves this package
    """git can't read objects that should be there. The text is git's own."""


@frozen
class Repository:
    """A repository on this machine: git's options that name it, and the environment."""

    options: tuple[str, ...]
    environment: Environment

    def git(self, *args: str) -> tuple[str, ...]:
        """git's arguments for this repository."""
        return (*self.options, *args)


@frozen
class Entry:
    """What a path is in a tree: `kind` is tree, blob, or empty with a `note` that says why."""

    kind: str = ""
    id: str = ""
    note: str = ""


def plain_repository(git_dir: Path) -> Repository:
    """A repository of ours: git asks neither where it is nor whose."""
    return Repository(("--git-dir", str(git_dir)), PLAIN)


def look_up(repository: Repository, top: str, paths: Sequence[str], job: Job) -> list[Entry] | None:
    """What each path (`.` is the root) is below `top`, a commit or tree; one process for all.

    Symbolic links are followed inside the tree. None when there is no such `top`.
    Raises `Unreadable`.
    """
    names = [f"{top}:{'' if path == '.' else path}" for path in paths]
    lines = "".join(f"{name}\n" for name in (f"{top}^{{tree}}", *names))
    args = ("cat-file", "--follow-symlinks", "--batch-check=%(objecttype) %(objectname)")
    git = Git(repository.git(*args), repository.environment, stdin=lines.encode())
    done = run_git(git, job)
    if done.returncode or re.search(r"^(?:error|fatal):", done.stderr, re.MULTILINE):
        raise Unreadable(essence(done.stderr))
    answers = _parse(iter(done.stdout.splitlines()))
    found, *entries = answers
    return entries if found.kind else None


def _parse(lines: Iterator[str]) -> Iterator[Entry]:
    for line in lines:
        if match := _LED_AWAY.fullmatch(line):
            next(lines, "")  # where it leads to
            yield Entry(note=_NOTES[match[1]])
        elif line.endswith(_NO_SUCH):
            yield Entry(note="doesn't exist")
        else:
            kind, _, object_id = line.partition(" ")
            yield Entry(kind, object_id)


def name_entries(git_dir: Path, commit: str, path: str) -> str:
    """A sentence about what is near a path that isn't there. Raises `Unreadable`."""
    import git
    import git.exc

    try:
        with git.Repo(git_dir) as repository:
            own = {"GIT_DIR": str(git_dir), "GIT_OBJECT_DIRECTORY": str(git_dir / "objects")}
            repository.git.update_environment(**own)  # inside a hook, those of another repository
            tree = repository.commit(commit).tree
            *parents, wanted = path.split("/")
            for depth, name in enumerate(parents):
                below = {one.name: one for one in tree.trees}
                if name not in below:
                    return _say_near(name, [one.name for one in tree], parents[:depth])
                tree = below[name]
            return _say_near(wanted, [one.name for one in tree], parents)
    except (git.exc.GitError, git.exc.ODBError, OSError, ValueError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _say_near(wanted: str, names: list[str], parents: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join('/'.join([*parents, one]) for one in near)}?"
    where = "/".join(parents) or "The root"
    return f"{where} has {', '.join(names[:10]) or 'nothing'}{' and more' * (len(names) > 10)}."


def check_out(repository: Repository, tree: str, into: Path, job: Job) -> None:
    """Write the files of a commit or tree into the directory `into`, and nothing of git's.

    One process. Symbolic links, execute bits and `.gitattributes` count as in every checkout.
    Raises `Unreadable`, `DiskFull`, and `SourceError` for names that git refuses.
    """
    index = into.with_name(f".{into.name}.index")
    settings = ("-c", "core.sparseCheckout=false", "-c", "core.splitIndex=false")
    args = ("read-tree", "--reset", "-u", "--no-recurse-submodules", tree)
    git = Git(
        repository.git("--work-tree", str(into), *settings, *args),
        {**repository.environment, "GIT_INDEX_FILE": str(index)},
        cwd=into,
    )
    with writing(job.app):
        _remove_index(index)
        try:
            done = run_git(git, job)
        finally:
            _remove_index(index)
    if done.returncode == 0:
        return
    if fault_of(done.stderr) is Fault.DISK:
        what, todo = SENTENCES[Fault.DISK]
        raise DiskFull(what, app=job.app, detail=essence(done.stderr), todo=todo)
    if "invalid path" in done.stderr:
        raise SourceError(
            "git refuses a path of this source",
            app=job.app,
            detail=essence(done.stderr),
            todo="Remove the file from the repository; such names are used for attacks.",
        )
    raise Unreadable(essence(done.stderr))


def _remove_index(index: Path) -> None:
    index.unlink(missing_ok=True)
    index.with_name(f"{index.name}.lock").unlink(missing_ok=True)
