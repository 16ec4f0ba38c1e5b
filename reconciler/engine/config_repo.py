"""A spec in a git repository: the configuration repository.

A load asks the host for the branch's commit (one `ls-remote`) and does nothing else when that is
in force already. A new commit is fetched into the repository's mirror, its spec is judged from a
draft, and only a valid one is checked out, into the work tree that stays (`source.worktree`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path

from reconciler.engine.configuration import Change, ask_change
from reconciler.errors import (
    Locked,
    Problem,
    ReconcilerError,
    SecretError,
    SourceError,
    SpecError,
    Stalled,
    UsageError,
)
from reconciler.host.job import Job
from reconciler.host.secrets import Secrets
from reconciler.source.access import Access, make_access
from reconciler.source.command import git_error, list_refs
from reconciler.source.files import writing
from reconciler.source.managed import name_place, tree_key
from reconciler.source.mirror import Mirror
from reconciler.source.pushing import Edit, push_edit
from reconciler.source.refs import DEFAULT, choose_ref, parse_refs
from reconciler.source.worktree import WorkTree
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.loader import Draft, load_draft, load_spec
from reconciler.spec.models import Credentials, EnvRef, FileRef, GitSource
from reconciler.values import frozen

TRIES = 5
TOKEN, USERNAME, KEY = "RECONCILE_REPO_TOKEN", "RECONCILE_REPO_USERNAME", "RECONCILE_REPO_SSH_KEY"
_TODO = (
    f"Set {TOKEN} (and {USERNAME}, where the host wants a certain one) to a token that may read "
    "the repository, and write it for edits."
)
_TODO_SSH = (
    f"Let the ssh key that {KEY} names (without a passphrase, mode 600), or one that the ssh agent "
    "of this user has, read the repository, and write it for edits."
)


@frozen
class RepoPlace:
    """`url` may carry credentials; `branch` empty: the default one. `path`: of the spec in it.

    `protect_history`: take only descendants of the commit in force. `author`: `Name <address>` for
    edits. `aside`: only to look at, in a work tree of its own, so that nothing changes.
    """

    url: str = field(repr=False)
    branch: str = ""
    path: str = "apps.yaml"
    protect_history: bool = False
    author: str = ""
    aside: bool = False


class ConfigRepo:
    """`secrets` reads the account from the environment. `job` ends what waits for the host."""

    def __init__(
        self, place: RepoPlace, state_dir: Path, secrets: Secrets, job: Job | None = None
    ) -> None:
        self._place = place
        self._job = job or Job()
        with writing(""):
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._access = find_access(place.url, secrets)
        self._mirror = Mirror(state_dir, self._access, secrets.redactor, answered=True)
        self._tree = self._work_tree(state_dir, aside=place.aside)
        self._governing = self._work_tree(state_dir, aside=False)
        self._cache = state_dir / "spec"
        self._loaded: LoadedSpec | None = None
        self._refused: tuple[str, str, ReconcilerError] | None = None

    def _work_tree(self, state_dir: Path, *, aside: bool) -> WorkTree:
        key = tree_key(self.place)
        return WorkTree(state_dir, f"{key}-look" if aside else key, self._mirror)

    @property
    def place(self) -> str:
        return name_place(self._place.url, self._place.branch, self._place.path)

    @property
    def files(self) -> tuple[Path, ...]:
        return ()

    @property
    def _file(self) -> Path:
        return self._tree.path / self._place.path

    # Loading

    def load(self) -> LoadedSpec:
        head, branch = self._ask()
        commit = self._tree.commit
        if commit != head:
            if self._refused and self._refused[:2] == (head, commit):
                raise self._refused[2].with_traceback(None)
            with self._tree.locked(self._job):
                if self._tree.commit != head:
                    self._advance(head, branch)
        return self._read()

    def in_force(self) -> LoadedSpec | None:
        """The spec of the commit that is checked out."""
        try:
            return self._read() if self._tree.path.exists() else None
        except (SpecError, SourceError):
            return None  # what is valid has changed with this program; or nothing is there yet

    def _read(self) -> LoadedSpec:
        """The spec that is checked out, as it was read before where that is the same."""
        loaded = self._loaded
        if loaded is not None and loaded.revision == self._tree.commit:
            return loaded
        with self._tree.locked(self._job):  # also finishes what a killed process has left
            commit = self._tree.commit
            if not commit:
                raise SourceError(
                    f"nothing of {self.place} is checked out", todo="Run `reconcile apply`."
                )
            try:
                loaded = load_spec(self._file, self._cache)
            except SpecError:
                loaded = self._judge(self._tree.path, commit).loaded  # its errors name the commit
        self._loaded = replace(loaded, revision=commit)
        return self._loaded

    def _ask(self) -> tuple[str, str]:
        """The newest commit, and the name of its branch."""
        branch, url = self._place.branch, self._access.address.url
        name = f"refs/heads/{branch}" if branch else DEFAULT
        refs = parse_refs(self._list_refs(() if branch else ("--symref",), (name,)))
        if name not in refs.ids:  # to say what is there instead
            refs = parse_refs(self._list_refs(("--heads",) if branch else ("--symref",), ()))
        found = choose_ref(refs, branch or None, url)
        return found.id, found.name

    def _list_refs(self, options: tuple[str, ...], patterns: tuple[str, ...]) -> str:
        done = list_refs(self._access, options, self._job, patterns)
        if done.returncode:
            raise git_error(self._access, done.stderr, self._mirror.redactor, "")
        return done.stdout

    def _advance(self, head: str, branch: str) -> None:
        """Put a new commit in force, if it may be; under the lock."""
        before = self._tree.commit
        try:
            if self._place.protect_history:
                self._check_history(head)
            with self._draft(head) as (draft, _):
                self._tree.check_out(head, branch, self._job)
        except (SpecError, SourceError) as error:
            error.revision = head
            self._refused = (head, before, error)
            raise
        draft.keep(self._cache)
        self._loaded = replace(draft.loaded, revision=head)

    @contextmanager
    def _draft(self, commit: str) -> Iterator[tuple[Draft, Path]]:
        """The commit's spec, valid, and the directory that it was read from."""
        self._mirror.entries(commit, (), self._job)
        with self._tree.draft(commit, self._place.path, self._job) as directory:
            yield self._judge(directory, commit), directory

    def _judge(self, directory: Path, commit: str) -> Draft:
        path = self._place.path
        if not (directory / path).is_file():
            near = self._mirror.name_entries(commit, path, self._job)
            raise SpecError([Problem(path, 0, 0, "", "there is no such file", near)], commit)
        try:
            return load_draft(directory / path, self._file, path)
        except SpecError as error:
            raise SpecError(error.problems, commit) from None

    def _check_history(self, head: str) -> None:
        """Raises `SourceError` for a commit that doesn't follow from the one in force."""
        before = self._governing.commit
        if not before:
            return
        self._mirror.entries(head, (), self._job)
        done = self._mirror.run(("merge-base", "--is-ancestor", before, head), self._job)
        if done.returncode:
            raise SourceError(
                f"the history of {self.place} was rewritten: {head[:12]} doesn't follow from "
                f"{before[:12]}, which stays in force",
                todo="Push a commit that follows from it; if the rewriting was meant, run "
                "`reconcile apply` once without --protect-history.",
            )

    # Editing

    def edit(self, change: Change, message: str) -> str:
        with self._tree.locked(self._job):
            for _ in range(TRIES):
                head, branch = self._ask()
                if branch == DEFAULT:
                    raise UsageError(
                        f"{self._access.address.url} has no default branch to push to",
                        todo="Name a branch with --branch.",
                    )
                if self._place.protect_history:
                    self._check_history(head)
                pushed = self._push(change, message, head, branch)
                if pushed:
                    if self._tree.commit != pushed:
                        self._advance(pushed, branch)
                    return pushed
        raise Locked(
            f"{self.place} changed each time that a commit was about to be pushed",
            todo="Try again.",
        )

    def _push(self, change: Change, message: str, head: str, branch: str) -> str:
        """The commit with the change; `head` when nothing differs, empty after a lost race."""
        with self._draft(head) as (draft, directory):
            files = {
                path: self._in_repository(directory, path) for path in draft.loaded.files
            }  # in the work tree → in the draft
            changed = ask_change(change, {path: file.read_bytes() for path, file in files.items()})
            if not changed:
                return head
            for path, text in changed.items():
                files[path].write_bytes(text)
            self._judge(directory, "")
            texts = {
                files[path].relative_to(os.path.realpath(directory)).as_posix(): text
                for path, text in changed.items()
            }
        edit = Edit(head, branch, texts, message, self._place.author)
        index = self._tree.path.with_name(f"{self._tree.key}.index")
        return push_edit(self._mirror, edit, index, self._job)

    def _in_repository(self, directory: Path, path: Path) -> Path:
        """The real file of the draft for a file of the spec: git replaces no link."""
        real = Path(os.path.realpath(directory / path.relative_to(self._tree.path)))
        if not real.is_relative_to(os.path.realpath(directory)):
            raise Stalled(
                f"{path.name} leads out of the repository by a symbolic link",
                todo="Put the file itself into the repository.",
            )
        return real


def find_access(url: str, secrets: Secrets) -> Access:
    """The way to the repository, with the account that the environment has. Raises `SourceError`
    and `SecretError`.
    """
    credentials = None
    if secrets.environ.get(TOKEN):
        username = secrets.environ.get(USERNAME) or "git"
        credentials = Credentials(username=username, password=EnvRef(env=TOKEN))
    key = secrets.environ.get(KEY)
    if key and not Path(key).is_file():
        raise SecretError(
            f"{KEY} names the file {key}, which isn't there", todo="Create it, or correct the path."
        )
    source = GitSource(git=url, credentials=credentials, ssh_key=FileRef(file=key) if key else None)
    access = make_access(source, secrets, "")
    return replace(access, todo=_TODO_SSH if access.address.kind == "ssh" else _TODO)
