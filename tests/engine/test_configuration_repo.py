"""A spec in a repository: what is in force, what is refused, and how it is edited."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from reconciler.engine.config_repo import TOKEN, ConfigRepo
from reconciler.errors import (
    GitUnavailable,
    SourceError,
    SpecError,
    UsageError,
)
from tests.engine.configurations import (
    BROKEN,
    SPEC,
    Ops,
    git_http,
    ops,
    own_git_settings,
    side_by_side,
)
from tests.source.servers import GitHttp, record_calls, subcommands
from tests.support.system import is_alive

__all__ = ["git_http", "ops", "own_git_settings"]


def put(before: bytes, after: bytes):
    return lambda texts: {one: text.replace(before, after) for one, text in texts.items()}


def snapshot(directory: Path) -> dict[Path, tuple[int, int]]:
    """Every file, with the number and time of what it is now."""
    found = [(one, one.lstat()) for one in directory.rglob("*")]
    return {one: (stat.st_ino, stat.st_mtime_ns) for one, stat in found}


def test_new_commit_is_in_force_at_the_same_place(ops: Ops) -> None:
    configuration = ops.open()
    first = configuration.load()
    assert (first.revision, first.path.read_text()) == (ops.head, SPEC)
    inode = (first.base_dir("api") / "web").stat().st_ino
    kept = first.base_dir("api") / "web/written-by-a-container"
    kept.write_text("data")
    head = ops.commit(page="two", **{"web/new.html": "new"})
    second = configuration.load()
    assert (second.revision, second.path) == (head, first.path)
    assert (second.base_dir("api") / "web/index.html").read_text() == "two"
    assert (second.base_dir("api") / "web").stat().st_ino == inode
    ops.commit(**{"web/new.html": None})
    configuration.load()
    assert sorted(one.name for one in kept.parent.iterdir()) == [
        "index.html",
        "written-by-a-container",
    ]


def test_nothing_new_costs_one_question(
    ops: Ops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ops.open().load()
    before = snapshot(ops.state_dir)
    calls = record_calls("git", tmp_path, monkeypatch)
    configuration = ops.open()
    assert configuration.load() is configuration.load()
    assert subcommands(calls()) == ["ls-remote"] * 2
    assert snapshot(ops.state_dir) == before


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"apps": BROKEN}, r"apps\.yaml:5:9"),
        ({"apps": ""}, r"apps\.yaml: .*empty|empty"),
        ({"apps": None}, "there is no such file"),
        ({"apps": None, "app.yaml": SPEC}, "app.yaml"),
        ({"apps": SPEC + "include: [more/*.yaml]\n", "more/x.yaml": "x"}, "more/x.yaml:1:1"),
    ],
    ids=["broken", "emptied", "vanished", "renamed", "broken include"],
)
def test_commit_that_is_refused(ops: Ops, files: dict[str, str | None], why: str) -> None:
    configuration = ops.open()
    good = configuration.load()
    bad = ops.commit(**files)
    before = snapshot(good.path.parent)
    for _ in range(2):
        with pytest.raises(SpecError, match=bad[:12]) as raised:
            configuration.load()
        assert re.search(why, str(raised.value))
        assert raised.value.revision == bad
    assert configuration.in_force() == ops.open().in_force() == good
    assert snapshot(good.path.parent) == before
    ops.commit(apps=SPEC.replace("one", "fixed"))
    assert configuration.load().spec.apps["api"].env == {"A": "fixed"}


def test_include_through_a_link(ops: Ops) -> None:
    more = "apps: {more: {source: {path: .}}}\n"
    (ops.repo.path / "deploy").symlink_to("real")
    ops.commit(
        **{"real/main.yaml": SPEC + "include: ['a*.yaml']\n", "real/a.yaml": more, "apps": None}
    )
    configuration = ops.open(path="deploy/main.yaml")
    assert sorted(configuration.load().spec.apps) == ["api", "more"]
    configuration.edit(put(b"more:", b"other:"), "Rename")
    assert "other" in configuration.load().spec.apps
    assert ops.repo.git("-C", ops.bare, "show", "main:real/a.yaml") + "\n" == more.replace(
        "more", "other"
    )


def test_look_aside_changes_nothing(ops: Ops) -> None:
    good = ops.open().load()
    head = ops.commit(apps=SPEC.replace("one", "two"))
    assert ops.open(aside=True).load().revision == head
    assert ops.open().in_force() == good
    assert good.path.read_text() == SPEC


def test_branches(ops: Ops) -> None:
    with pytest.raises(SourceError, match="no branch or tag 'man'") as raised:
        ops.open(branch="man").load()
    assert "main" in raised.value.todo
    ops.repo.branch("next")
    head = ops.commit(apps=SPEC.replace("one", "next"))
    other = ops.open(branch="next")
    assert other.load().revision == head
    assert ops.open().load().revision == ops.head != head
    ops.repo.git("push", "-q", "origin", ":next")
    with pytest.raises(SourceError, match="'next'"):
        other.load()
    assert other.in_force().revision == head


# History


def test_rewritten_history(ops: Ops) -> None:
    guarded, free = ops.open(protect_history=True), ops.open()
    good = guarded.load()
    ops.repo.git("commit", "-q", "--amend", "-m", "another past")
    new = ops.commit("--force", apps=SPEC.replace("one", "two"))
    with pytest.raises(SourceError, match="rewritten") as raised:
        guarded.load()
    assert good.revision[:12] in raised.value.what
    assert new[:12] in raised.value.what
    assert raised.value.revision == new
    with pytest.raises(SourceError, match="rewritten"):
        guarded.edit(put(b"one", b"three"), "why")
    assert guarded.in_force() == good
    assert free.load().revision == new
    assert guarded.load().revision == new
    head = ops.commit(page="three")
    assert guarded.load().revision == head


# Crashes


def test_killed_during_a_checkout(ops: Ops, wait_until: Callable[..., object]) -> None:
    """At different moments, or just after it; each time the next load makes it whole."""
    configuration = ops.open()
    tree = configuration.load().path.parent
    before = configuration.load().revision
    many = [f"web/{number}" for number in range(1000)]
    for new, last in (("first", ""), ("second", "10"), ("third", "500")):
        head = ops.commit(page=new, **dict.fromkeys(many, new))
        child = os.fork()
        if child == 0:
            ops.open().load()
            os._exit(0)
        file = tree / "web" / last

        def begun(file: Path = file, new: str = new) -> bool:
            busy = any(ops.state_dir.glob("config/*.busy"))
            return busy and (file.is_dir() or (file.exists() and file.read_text() == new))

        wait_until(lambda child=child: begun() or not is_alive(child), pause=0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert ops.open().in_force().revision in (head, before)  # or it had hardly begun
        before = head
        assert configuration.load().revision == head
        assert {(tree / name).read_text() for name in (*many, "web/index.html")} == {new}
        status = ("--git-dir", tree / ".git", "--work-tree", tree, "status", "--porcelain")
        assert ops.repo.git(*status) == ""


def test_damaged_git_directory(ops: Ops) -> None:
    tree = ops.open().load().path.parent
    (tree / ".git/index").write_text("garbage")
    head = ops.commit(page="two")
    assert ops.open().load().revision == head
    assert (tree / "web/index.html").read_text() == "two"


def test_many_processes_at_once(ops: Ops) -> None:
    def look() -> None:
        configuration = ops.open()
        for _ in range(4):
            configuration.load()

    def commit() -> None:
        for number in range(3):
            ops.commit(page=str(number))

    side_by_side(look, look, look, commit)
    assert ops.open().load().revision == ops.head


# Hosts and accounts


@pytest.fixture
def account(git_http: GitHttp) -> dict[str, str]:
    return {TOKEN: git_http.password, "RECONCILE_REPO_USERNAME": git_http.user}


def test_secret_is_nowhere(
    ops: Ops,
    git_http: GitHttp,
    account: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = record_calls("git", tmp_path, monkeypatch)
    url = git_http.url("ops.git")
    ops.open(url, account).load()
    commit = ops.open(url, account).edit(put(b"one", b"two"), "Change A")
    assert ops.head == commit
    inside = url.replace("://", f"://{git_http.user}:{'s3cret-t0ken%25&'}@")
    assert ops.open(inside).load().revision == commit
    with pytest.raises(GitUnavailable, match="wants credentials") as raised:
        ops.open(url).load()
    assert TOKEN in raised.value.todo
    said = repr(calls()) + str(raised.value) + ops.open(inside).place
    kept = b"".join(one.read_bytes() for one in ops.state_dir.rglob("*") if one.is_file())
    for secret in ("s3cret", "t0ken"):
        assert secret not in said
        assert secret.encode() not in kept


def test_host_away(ops: Ops, git_http: GitHttp, account: dict[str, str]) -> None:
    configuration = ops.open(git_http.url("ops.git"), account)
    good = configuration.load()
    git_http.__exit__()
    with pytest.raises(GitUnavailable):
        configuration.load()
    with pytest.raises(GitUnavailable):
        configuration.edit(put(b"one", b"two"), "why")
    assert configuration.in_force() == good
    assert ops.open(git_http.url("ops.git"), account).in_force() == good
    git_http.__enter__()


# Editing


def test_edit_is_a_commit(ops: Ops, own_git_settings: Path) -> None:
    message = "Set A\n\nasked for by hand"
    configuration = ops.open()
    head = configuration.edit(put(b"'one'}}", b"'two'}}  # why"), message)
    show = ("-C", str(ops.bare), "show", "-s", "--format=%an <%ae>|%cn|%B|%P", head)
    parent = ops.repo.head
    assert ops.repo.git(*show) == (
        f"reconciler <reconciler@localhost>|reconciler|{message}\n|{parent}"
    )
    loaded = configuration.load()
    assert (loaded.revision, loaded.spec.apps["api"].env) == (head, {"A": "two"})
    assert loaded.path.read_text() == SPEC.replace("'one'}}", "'two'}}  # why")
    assert configuration.edit(lambda texts: texts, "nothing") == head
    own_git_settings.write_text("[user]\n\tname = Ops\n\temail = ops@example.com\n")
    head = ops.open(author="Ada Lovelace <ada@example.com>").edit(put(b"two", b"three"), "more")
    show = ("-C", str(ops.bare), "show", "-s", "--format=%an <%ae>|%cn <%ce>", head)
    assert ops.repo.git(*show) == "Ada Lovelace <ada@example.com>|Ops <ops@example.com>"


def test_edit_that_would_break_the_spec(ops: Ops) -> None:
    before = ops.head
    with pytest.raises(SpecError, match=r"apps.yaml:4:"):
        ops.open().edit(put(b"source", b"sauce"), "why")
    assert ops.head == before


def test_editors_race(ops: Ops) -> None:
    """Each has a state of its own, as on two machines; none loses a change of the other."""
    ops.commit(apps=SPEC.replace("'one'", "'0'"))
    others = [ConfigRepo(*_other(ops, name)) for name in ("left", "right")]

    def count_up(texts):
        (text,) = texts.values()
        number = int(text.partition(b"A: '")[2].partition(b"'")[0])
        return put(b"'%d'" % number, b"'%d'" % (number + 1))(texts)

    def work(configuration: ConfigRepo) -> None:
        for _ in range(3):
            configuration.edit(count_up, "Count")

    side_by_side(*(partial(work, one) for one in others))
    assert ops.open().load().spec.apps["api"].env == {"A": "6"}
    assert ops.repo.git("-C", ops.bare, "rev-list", "--count", "main") == "8"


def _other(ops: Ops, name: str):
    from reconciler.engine.config_repo import RepoPlace
    from reconciler.host.secrets import Redactor, Secrets

    return RepoPlace(ops.url), ops.state_dir / name, Secrets(Path("/"), Redactor(), {})


def test_push_that_comes_too_late(ops: Ops) -> None:
    tries = []

    def change(texts):
        if not tries:
            ops.commit(page="faster")
        tries.append(1)
        return put(b"'one'", b"'two'")(texts)

    head = ops.open().edit(change, "why")
    assert len(tries) == 2
    assert ops.head == head
    assert ops.repo.git("-C", ops.bare, "show", f"{head}:web/index.html") == "faster"


def test_push_that_is_refused(ops: Ops) -> None:
    hook = ops.bare / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(SourceError, match="refused the push to main") as raised:
        ops.open().edit(put(b"'one'", b"'two'"), "why")
    assert "main is protected" in raised.value.detail
    assert ops.open().load().spec.apps["api"].env == {"A": "one"}


def test_author_without_an_address(ops: Ops) -> None:
    with pytest.raises(UsageError, match="no author"):
        ops.open(author="Ada").edit(put(b"'one'", b"'two'"), "why")
