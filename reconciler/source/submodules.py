"""Submodules of a checkout: each a mirror of its own, checked out at the commit that is recorded.

`.gitmodules` is part of the repository, so it's untrusted: its URLs are checked as those of a
spec are, local paths count only below a local repository, and secrets go to the same host only.
Where a submodule's files go is decided by the tree, where its entry is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from reconciler.errors import SourceError
from reconciler.host.job import Job
from reconciler.source.address import submodule_address
from reconciler.source.files import make_empty, writing
from reconciler.source.mirror import Mirror
from reconciler.values import frozen

DEEPEST = 8
_GITLINK = "160000"


@frozen
class Submodule:
    """One entry: where its files go, where it comes from, and its commit."""

    path: str
    url: str
    commit: str


def place_submodules(mirror: Mirror, commit: str, into: Path, job: Job, depth: int = 1) -> None:
    """Check out all submodules of `commit`, whose own files are in `into`, and theirs."""
    if not (into / ".gitmodules").is_file() or (into / ".gitmodules").is_symlink():
        return
    for one in find_submodules(mirror, commit, job):
        if depth > DEEPEST:
            raise SourceError(
                f"submodules are nested more than {DEEPEST} deep, at {one.path}",
                app=job.app,
                todo="Set `submodules: false`, or flatten them.",
            )
        address = submodule_address(one.url, mirror.access.address, job.app)
        theirs = replace(mirror, access=mirror.access.to_submodule(address), answered=False)
        target = _target(into, one.path, job.app)
        job.log(f"submodule {one.path}: {address.url} at {one.commit[:12]}")
        theirs.check_out(one.commit, target, job)
        place_submodules(theirs, one.commit, target, job, depth + 1)


def find_submodules(mirror: Mirror, commit: str, job: Job) -> Iterator[Submodule]:
    """The commit's submodules that `.gitmodules` has a URL for; the others stay empty."""
    urls = _read_urls(mirror, commit, job)
    done = mirror.run(("ls-tree", "-r", "-z", "--full-tree", commit), job)
    for line in done.stdout.split("\0"):
        facts, _, path = line.partition("\t")
        if not facts.startswith(_GITLINK):
            continue
        if path in urls:
            yield Submodule(path, urls[path], facts.split()[2])
        else:
            job.log(f"{path} is a submodule without a URL in .gitmodules; it stays empty")


def _read_urls(mirror: Mirror, commit: str, job: Job) -> dict[str, str]:
    """Path → URL."""
    pattern = r"^submodule\..*\.(path|url)$"
    done = mirror.run(
        ("config", "--blob", f"{commit}:.gitmodules", "-z", "--get-regexp", pattern), job
    )
    if done.stderr.strip():  # git goes on after a line that it can't read
        raise SourceError(
            f".gitmodules of {mirror.access.address.url} can't be read",
            app=job.app,
            detail=done.stderr.strip(),
            todo="Correct it, or set `submodules: false`.",
        )
    values = dict(item.split("\n", 1) for item in done.stdout.split("\0") if "\n" in item)
    found = {}
    for key, path in values.items():
        name, _, kind = key.rpartition(".")
        if kind == "path" and f"{name}.url" in values:
            found[path] = values[f"{name}.url"]
    return found


def _target(into: Path, path: str, app: str) -> Path:
    """The empty directory that git made for the submodule; never through a link."""
    target = into / path
    if target.parent.resolve() != into.resolve() / Path(path).parent:
        raise SourceError(
            f"the submodule {path} leads out of the source through a symbolic link",
            app=app,
            todo="Correct the repository, or set `submodules: false`.",
        )
    with writing(app):
        make_empty(target)
    return target
