"""The last good spec stays in force, each problem is told once, and so is its end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.engine.config_file import ConfigFile
from reconciler.engine.configuration import Lasting
from reconciler.engine.documents import configuration_document
from reconciler.engine.kept import KeptConfiguration, Ledger
from reconciler.errors import GitUnavailable, SourceError, SpecError
from reconciler.events import Event
from reconciler.state.configurations import find_configuration
from reconciler.state.store import Store
from tests.engine.configurations import BROKEN, SPEC, Ops, git_http, ops, own_git_settings
from tests.source.servers import GitHttp

__all__ = ["git_http", "ops", "own_git_settings"]

Keep = Callable[[Lasting], KeptConfiguration]


@pytest.fixture
def store(state_dir: Path) -> Iterator[Store]:
    made = Store(state_dir)
    yield made
    made.close()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def keep(store: Store, events: list[Event]) -> Keep:
    clock = itertools.count(1000)
    ledger = Ledger(store, lambda: float(next(clock)), events.append)
    return lambda configuration: KeptConfiguration(configuration, ledger)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "apps.yaml"
    found.write_text(SPEC)
    return found


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_file_in_every_kind_of_trouble(
    path: Path, keep: Keep, store: Store, events: list[Event]
) -> None:
    kept = keep(ConfigFile(path, store.directory))
    good = kept.load()
    troubles: list[Callable[[], object]] = [
        lambda: path.write_text(BROKEN),
        lambda: path.write_text(""),
        path.unlink,
        path.mkdir,
    ]
    for number, trouble in enumerate(troubles, 2):
        trouble()
        for _ in range(3):
            assert kept.load() == good
        assert len(events) == number
    assert kinds(events) == ["accepted", *["refused"] * 4]
    assert "apps.yaml:5:9" in str(events[1].data["problem"])
    path.rmdir()
    path.write_text(SPEC)
    assert kept.load() == good
    assert (events[-1].kind, events[-1].data["recovered"], kept.problem) == ("accepted", True, None)
    row = find_configuration(store, str(path))
    assert (row.digest, row.since, row.problem) == (good.digest, 1000, "")


def test_restart_with_a_broken_file(
    path: Path, keep: Keep, store: Store, events: list[Event]
) -> None:
    good = keep(ConfigFile(path, store.directory)).load()
    path.write_text(BROKEN)
    for _ in range(2):
        kept = keep(ConfigFile(path, store.directory))
        assert kept.load() == good
        assert isinstance(kept.problem, SpecError)
    assert kinds(events) == ["accepted", "refused"]
    document = configuration_document(store, str(path), good, kept.problem)
    assert "sauce" in document["problem"]
    assert document["problem_since"] == "1970-01-01T00:16:41.000Z"


def test_broken_from_the_beginning(
    path: Path, keep: Keep, store: Store, events: list[Event]
) -> None:
    path.write_text(BROKEN)
    kept = keep(ConfigFile(path, store.directory))
    for _ in range(2):
        with pytest.raises(SpecError):
            kept.load()
    assert kinds(events) == ["refused"]
    path.write_text(SPEC)
    kept.load()
    assert events[-1].data["recovered"]


def test_file_that_is_just_being_written_is_no_trouble(
    path: Path, keep: Keep, store: Store, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep(ConfigFile(path, store.directory))
    kept.load()
    path.write_text("")  # an editor empties it, and fills it before the second look
    monkeypatch.setattr("reconciler.engine.kept.SETTLE_SECONDS", 5.0)
    monkeypatch.setattr("time.sleep", lambda _seconds: path.write_text(SPEC + "# new\n"))
    kept.load()
    assert kinds(events) == ["accepted", "accepted"]


def test_repository_with_a_bad_commit(
    ops: Ops, keep: Keep, store: Store, events: list[Event]
) -> None:
    good = keep(ops.open()).load()
    bad = ops.commit(apps=BROKEN)
    kept = keep(ops.open())
    assert kept.load() == kept.load() == good
    other = ops.commit(apps="")
    assert keep(ops.open()).load() == good
    document = configuration_document(store, kept.place, good)
    assert (document["revision"], document["problem_revision"]) == (good.revision, other)
    fixed = ops.commit(apps=SPEC)
    assert kept.load().revision == fixed
    assert [event.data["revision"] for event in events] == [good.revision, bad, other, fixed]
    assert configuration_document(store, kept.place, kept.load())["problem"] == ""
    assert kinds(events) == ["accepted", "refused", "refused", "accepted"]


def test_repository_out_of_reach(
    ops: Ops, keep: Keep, git_http: GitHttp, events: list[Event]
) -> None:
    git_http.wants_login = False
    kept = keep(ops.open(git_http.url("ops.git")))
    good = kept.load()
    git_http.__exit__()
    assert kept.load() == kept.load() == good
    assert isinstance(kept.problem, GitUnavailable)
    again = keep(ops.open(git_http.url("ops.git")))
    assert again.load() == good
    git_http.__enter__()
    assert kinds(events) == ["accepted", "refused"]


def test_repository_with_another_past(ops: Ops, keep: Keep, events: list[Event]) -> None:
    kept = keep(ops.open(protect_history=True))
    good = kept.load()
    ops.repo.git("commit", "-q", "--amend", "-m", "another past")
    new = ops.commit("--force", page="two")
    assert kept.load() == kept.load() == good
    assert isinstance(kept.problem, SourceError)
    assert events[-1].data["revision"] == new
    assert kinds(events) == ["accepted", "refused"]
