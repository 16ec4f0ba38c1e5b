"""Runs git, and turns what it said into errors of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from enum import Enum
from pathlib import Path

from reconciler.errors import (
    DiskFull,
    GitUnavailable,
    ReconcilerError,
    SourceError,
    TimedOut,
)
from reconciler.host.job import Job
from reconciler.host.limit import limited
from reconciler.host.process import Command, Finished, run_command
from reconciler.host.secrets import Redactor
from reconciler.source.access import PLAIN, Access, Environment
from reconciler.values import frozen

ANSWER_SECONDS = 30.0
"""How long a host may take to list its refs; curl alone would wait 5 minutes for a connection."""


@frozen
class Git:
    """One git process. `args` begin with options of git itself or the subcommand."""

    args: Sequence[str]
    environment: Environment = field(default_factory=lambda: PLAIN)
    cwd: Path | None = None
    stdin: bytes = b""
    show_progress: bool = False


def run_git(git: Git, job: Job) -> Finished:
    """Run it; the caller judges the return code. Raises the job's `Stopped`."""
    command = Command(
        argv=["git", *git.args],
        cwd=git.cwd,
        env=git.environment,
        stdin=git.stdin,
        log_output=git.show_progress,
    )
    return run_command(command, _for_people(job) if git.show_progress else job)


def _for_people(job: Job) -> Job:
    """Of progress that overwrites itself, the last state; no list of every branch."""

    def log(line: str) -> None:
        line = line.rstrip("\r").rpartition("\r")[2].strip()
        if line and not line.startswith(("* [new", "- [deleted]")):
            job.log(line)

    return replace(job, log=log)


def list_refs(
    access: Access, options: Sequence[str], job: Job, patterns: Sequence[str] = ()
) -> Finished:
    """`git ls-remote`, of all refs or of those that end like one of the `patterns`.

    Raises `GitUnavailable` when there is no answer for too long.
    """
    args = (*access.settings, "ls-remote", *options, "--", access.address.url, *patterns)
    try:
        with limited(job, ANSWER_SECONDS) as quick:
            return run_git(Git(args, access.environment), quick)
    except TimedOut:
        job.cancel.check()
        raise GitUnavailable(
            f"{access.address.url} didn't answer within {ANSWER_SECONDS:g} s",
            app=job.app,
            todo=_TODO_REACH,
        ) from None


# What git said


class Fault(Enum):
    """Why git failed."""

    DISK = "no space left"
    HOST_KEY = "an unknown or changed host key"
    AUTH = "it wants other credentials"
    OWNER = "the repository belongs to somebody else"
    TLS = "no trusted certificate"
    MISSING = "no repository there"
    CORRUPT = "objects that can't be read"
    COMMIT = "it doesn't hand out that commit"
    UNREACHABLE = "it doesn't answer"


_FRAGMENTS: tuple[tuple[Fault, tuple[str, ...]], ...] = (
    # "unable to write" without a reason: a checkout that the disk cut short.
    (Fault.DISK, ("No space left on device", "Disk quota exceeded", "unable to write")),
    (Fault.CORRUPT, ("is corrupt", "is empty", "bad object", "invalid sha1 pointer", "inflate: ")),
    (Fault.CORRUPT, ("did not send all necessary objects", "does not match index", "bad pack")),
    (Fault.CORRUPT, ("unresolved delta", "missing blob object", "missing tree object")),
    (Fault.CORRUPT, ("bad config", "unable to read tree", "packfile ", "unable to read sha1 file")),
    (Fault.HOST_KEY, ("Host key verification failed", "HOST IDENTIFICATION HAS CHANGED")),
    (Fault.OWNER, ("dubious ownership", "unsafe repository")),
    (Fault.TLS, ("certificate", "SSL_ERROR", "SSL routines", "gnutls_handshake")),
    (Fault.COMMIT, ("not our ref", "unadvertised object", "couldn't find remote ref")),
    (Fault.AUTH, ("Authentication failed", "could not read Username", "could not read Password")),
    (Fault.AUTH, ("Permission denied (", "returned error: 401", "returned error: 403")),
    (Fault.AUTH, ("Too many authentication failures", "UNPROTECTED PRIVATE KEY", "access denied")),
    (Fault.AUTH, ("Access denied", "HTTP Basic: ")),
    (Fault.UNREACHABLE, ("Could not resolve host", "Connection refused", "timed out", "Timeout")),
    (Fault.UNREACHABLE, ("Failed to connect", "Couldn't connect", "Network is unreachable")),
    (Fault.UNREACHABLE, ("No route to host", "Operation too slow", "Connection reset")),
    (Fault.UNREACHABLE, ("Connection closed by", "Empty reply", "returned error: 5")),
    (Fault.UNREACHABLE, ("returned error: 429", "Temporary failure in name resolution")),
    (Fault.UNREACHABLE, ("GnuTLS recv", "TLS connection was", "SSL_read", "unexpected eof")),
    (Fault.UNREACHABLE, ("Name or service not known", "RPC failed", "Recv failure", "early EOF")),
    (Fault.MISSING, ("not found", "does not appear to be a git repository", "does not exist")),
    (Fault.MISSING, ("not a git repository", "Could not find repository", "no such repository")),
    (Fault.MISSING, ("returned error: 404", "not valid: is this a git repository")),
    (Fault.UNREACHABLE, ("Could not read from remote repository", "hung up unexpectedly")),
)
"""Searched in this order. git ends most failures with a sentence about the remote hanging up,
and about access rights, so that comes last."""

_TODO_REACH = "Check the URL's host and the network; it's tried again by itself."
_TODO_HTTP = (
    "Correct source.credentials: a user name, and a password or token that may read the repository."
)
_TODO_SSH = (
    "Let the key of source.ssh_key (without a passphrase, mode 600), or one that the ssh agent of "
    "this user has, read the repository."
)
_TODO_FILE = "Let the user who runs reconcile read the repository."
SENTENCES = {
    Fault.DISK: (
        "there is no space left for git",
        "Free space in the state directory's file system, for instance with `reconcile gc`.",
    ),
    Fault.HOST_KEY: (
        "the key of the ssh host {host} isn't known here, or has changed",
        "Compare `ssh-keyscan {scan}` with what the host's owner publishes, and put it into "
        "~/.ssh/known_hosts of the user who runs reconcile.",
    ),
    Fault.AUTH: ("the git host {verb} {url}", "{login}"),
    Fault.OWNER: (
        "git doesn't trust {url}: it belongs to another user",
        "If you trust its owner, run `git config --global --add safe.directory` with the path "
        "that git names, as the user who runs reconcile.",
    ),
    Fault.TLS: (
        "the certificate of {host} isn't trusted",
        "Add its authority to this machine's certificates, or name it with "
        "`git config --global http.sslCAInfo FILE`.",
    ),
    Fault.MISSING: (
        "there is no git repository at {url}",
        "Correct the URL; hosts also say this of a private repository without credentials.",
    ),
    Fault.COMMIT: (
        "{url} doesn't have that commit any more",
        "Try again, or correct the revision.",
    ),
    Fault.CORRUPT: (
        "objects of {url} can't be read",
        "Run `git fsck` in that repository; the copy of it here was made anew without success.",
    ),
    Fault.UNREACHABLE: ("the git host of {url} doesn't answer", _TODO_REACH),
}
_KINDS: dict[Fault | None, type[ReconcilerError]] = {
    Fault.DISK: DiskFull,
    Fault.OWNER: SourceError,
    Fault.MISSING: SourceError,
    Fault.COMMIT: SourceError,
    Fault.CORRUPT: SourceError,
}


def fault_of(text: str) -> Fault | None:
    """What git's words mean; None when that isn't clear."""
    for fault, fragments in _FRAGMENTS:
        if any(fragment in text for fragment in fragments):
            return fault
    return None


def git_error(access: Access, stderr: str, redactor: Redactor, app: str) -> ReconcilerError:
    """The error for a git that failed at talking to a repository."""
    fault = fault_of(stderr)
    what, todo = SENTENCES[fault] if fault else ("git failed at {url}", _TODO_REACH)
    words = _words(access)
    return _KINDS.get(fault, GitUnavailable)(
        what.format_map(words),
        app=app,
        detail=essence(redactor.hide(stderr)),
        todo=todo.format_map(words),
    )


def _words(access: Access) -> dict[str, str]:
    address = access.address
    name, _, port = address.host.partition(":")
    given = access.login or access.ssh_key
    return {
        "url": address.url,
        "host": address.host,
        "scan": f"-p {port} {name}" if port else name,
        "verb": "refuses the credentials for" if given else "wants credentials for",
        "login": access.todo
        or {"ssh": _TODO_SSH, "file": _TODO_FILE}.get(address.kind, _TODO_HTTP),
    }


_NOISE = ("hint:", "Please make sure you have", "and the repository exists", "Receiving objects")
_MOST_LINES = 8


def essence(stderr: str) -> str:
    """git's own words without progress and advice."""
    lines = [line.rpartition("\r")[2].rstrip() for line in stderr.replace("\r\n", "\n").split("\n")]
    kept = [line for line in lines if line.strip() and not line.startswith(_NOISE)]
    return "\n".join(kept[-_MOST_LINES:])
