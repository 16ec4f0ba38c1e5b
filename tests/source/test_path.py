"""Directories beside apps.yaml: committed, changed, in no repository; and what they can't reach."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError, SourceError
from reconciler.host.job import Job
from reconciler.source import fingerprint_all, resolve_all
from reconciler.source.base import Resolved, Wanted, Workplace
from reconciler.source.path import PathSource
from reconciler.spec import models
from tests.source.servers import subcommands
from tests.source.test_git import Calls, files, fingerprint, version
from tests.support.gitrepo import GitRepo


def want(path: str = "api", app: str = "shop/api", **fields: object) -> Wanted:
    return Wanted(app, models.PathSource(path=path, **fields))


@pytest.fixture
def repo(workplace: Workplace) -> GitRepo:
    """The repository of `apps.yaml`, with two apps in it."""
    made = GitRepo(workplace.base_dir)
    made.commit({"apps.yaml": "", "api/Dockerfile": "1", "api/libs/x": "x", "web/Dockerfile": "w"})
    return made


def resolve(workplace: Workplace, job: Job, wanted: Wanted | None = None) -> Resolved:
    wanted = wanted or want()
    return version(resolve_all(workplace, [wanted], job)[wanted.app])


def refused(workplace: Workplace, job: Job, wanted: Wanted) -> ReconcilerError:
    outcome = resolve_all(workplace, [wanted], job)[wanted.app]
    assert isinstance(outcome, ReconcilerError)
    return outcome


def place(workplace: Workplace, job: Job, resolved: Resolved, wanted: Wanted | None = None) -> Path:
    into = workplace.root / "checkout"
    found = PathSource(workplace).place(wanted or want(), resolved, into, job)
    assert found.context is not None
    return found.context


def test_path_committed(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    wanted = want(subdir="libs", watch=["Dockerfile"])
    resolved = resolve(workplace, job, wanted)
    assert resolved == Resolved(repo.head, "main")
    assert fingerprint(workplace, wanted, resolved, job) == {
        "libs": repo.git("rev-parse", "HEAD:api/libs"),
        "Dockerfile": repo.git("rev-parse", "HEAD:api/Dockerfile"),
    }
    assert files(place(workplace, job, resolved, wanted)) == {"x": "x"}
    assert files(workplace.root / "checkout").keys() == {"Dockerfile", "libs/x"}


def test_path_changed_elsewhere_counts_as_committed(
    workplace: Workplace, repo: GitRepo, job: Job
) -> None:
    repo.write({"apps.yaml": "changed", "web/new": "new", "api2/x": "x"})
    assert resolve(workplace, job) == Resolved(repo.head, "main")


@pytest.mark.parametrize(
    "change",
    [
        {"api/Dockerfile": "2"},
        {"api/new": "new"},
        {"api/deep/er/new": "new"},
        {"api/libs/x": None},
    ],
)
def test_path_changed_then_committed_is_the_same_content(
    workplace: Workplace, repo: GitRepo, job: Job, change: dict[str, str | bytes | None]
) -> None:
    before = fingerprint(workplace, want(), resolve(workplace, job), job)
    status = repo.git("status", "--porcelain")
    repo.write(change)
    dirty = resolve(workplace, job)
    assert dirty.id.startswith("tree:")
    changed = fingerprint(workplace, want(), dirty, job)
    assert changed != before
    assert repo.git("status", "--porcelain") != status
    repo.commit()
    clean = resolve(workplace, job)
    assert clean.id == repo.head
    assert fingerprint(workplace, want(), clean, job) == changed
    assert dirty.id == f"tree:{changed['.']}"


def test_path_staged_but_not_committed(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    repo.write({"api/Dockerfile": "staged"})
    repo.git("add", "--all")
    repo.write({"api/Dockerfile": "and changed again"})
    resolved = resolve(workplace, job)
    assert files(place(workplace, job, resolved))["Dockerfile"] == "and changed again"
    assert repo.git("show", ":api/Dockerfile") == "staged"


def test_path_repository_is_only_read(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    repo.write({"api/Dockerfile": "2", "api/new": "new"})

    def state() -> dict[str, tuple[int, bytes]]:
        """git touches objects that it would write again, which keeps them from its gc."""
        every = [path for path in (repo.path / ".git").rglob("*") if path.is_file()]
        return {
            str(path): ("objects" in path.parts or path.stat().st_mtime_ns, path.read_bytes())
            for path in every
        }

    before = state()
    resolved = resolve(workplace, job)
    fingerprint(workplace, want(), resolved, job)
    place(workplace, job, resolved)
    assert state() == before


def test_path_place_gives_the_version_that_was_resolved(
    workplace: Workplace, repo: GitRepo, job: Job
) -> None:
    clean = resolve(workplace, job)
    repo.write({"api/Dockerfile": "2"})
    dirty = resolve(workplace, job)
    repo.write({"api/Dockerfile": "3"})
    assert files(place(workplace, job, clean))["Dockerfile"] == "1"
    assert files(place(workplace, job, dirty))["Dockerfile"] == "2"


def test_path_no_repository(workplace: Workplace, job: Job) -> None:
    api = workplace.base_dir / "api"
    (api / "libs").mkdir(parents=True)
    (api / "Dockerfile").write_text("1")
    (api / "libs/x").write_text("x")
    first = resolve(workplace, job)
    assert first.id.startswith("tree:")
    assert resolve(workplace, job) == first
    assert fingerprint(workplace, want(watch=["libs"]), first, job).keys() == {".", "libs"}
    (api / "Dockerfile").write_text("2")
    second = resolve(workplace, job)
    assert second != first
    assert files(place(workplace, job, first)) == {"Dockerfile": "1", "libs/x": "x"}
    assert files(place(workplace, job, second))["Dockerfile"] == "2"
    assert not (api / ".git").exists()


def test_path_content_is_the_same_with_and_without_a_repository(
    workplace: Workplace, job: Job
) -> None:
    (workplace.base_dir / "api").mkdir()
    (workplace.base_dir / "api/Dockerfile").write_text("1")
    before = fingerprint(workplace, want(), resolve(workplace, job), job)
    repo = GitRepo(workplace.base_dir)
    assert fingerprint(workplace, want(), resolve(workplace, job), job) == before
    repo.commit()
    resolved = resolve(workplace, job)
    assert resolved.id == repo.head
    assert fingerprint(workplace, want(), resolved, job) == before


def test_path_ignored_files_dont_count(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    repo.commit({".gitignore": "*.log\n", "api/.gitignore": "cache\n"})
    clean = resolve(workplace, job)
    repo.write({"api/x.log": "x", "api/cache/y": "y"})
    assert resolve(workplace, job) == clean
    repo.write({"api/Dockerfile": "2"})
    context = place(workplace, job, resolve(workplace, job))
    assert files(context).keys() == {".gitignore", "Dockerfile", "libs/x"}


def test_path_links_and_modes(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    repo.write({"api/run": "#!/bin/sh"})
    (repo.path / "api/run").chmod(0o755)
    (repo.path / "api/link").symlink_to("run")
    context = place(workplace, job, resolve(workplace, job))
    assert os.access(context / "run", os.X_OK)
    assert (context / "link").readlink() == Path("run")


def test_path_is_the_directory_of_the_spec(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    wanted = want(".", subdir="api")
    resolved = resolve(workplace, job, wanted)
    assert resolved.id == repo.head
    assert files(place(workplace, job, resolved, wanted)).keys() == {"Dockerfile", "libs/x"}


def test_path_state_directory_inside(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    """`--state-dir ./state` must not make the directory differ with every pass."""
    inside = Workplace(repo.path / "state", repo.path, workplace.secrets, workplace.engine)
    inside.root.mkdir()
    (inside.root / "db").write_text("1")
    assert resolve(inside, job, want(".")) == Resolved(repo.head, "main")
    repo.write({"api/new": "new"})
    first = resolve(inside, job, want("."))
    (inside.root / "db").write_text("2")
    assert resolve(inside, job, want(".")) == first
    assert "state/db" not in files(place(inside, job, first, want(".")))


def test_path_twenty_apps_one_process(workplace: Workplace, job: Job, git_calls: Calls) -> None:
    repo = GitRepo(workplace.base_dir)
    repo.commit({f"app{number}/Dockerfile": str(number) for number in range(20)})
    head, before = repo.head, len(git_calls())
    wanted = [want(f"app{number}", f"shop/app{number}") for number in range(20)]
    outcomes = resolve_all(workplace, wanted, job)
    assert {version(one).id for one in outcomes.values()} == {head}
    assert subcommands(git_calls()[before:]) == ["status"]
    repo.write({"app3/Dockerfile": "new", "app4/x": "new"})
    before = len(git_calls())
    outcomes = resolve_all(workplace, wanted, job)
    changed = [app for app, one in outcomes.items() if version(one).id != head]
    assert changed == ["shop/app3", "shop/app4"]
    assert len(git_calls()) - before <= 6
    before = len(git_calls())
    found = fingerprint_all(workplace, [(one, version(outcomes[one.app])) for one in wanted], job)
    assert not any(isinstance(content, ReconcilerError) for content in found.values())
    assert len(git_calls()) - before == 6  # two for the commit, and for each changed directory


def test_path_of_an_unfinished_merge(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    repo.branch("other")
    repo.commit({"web/Dockerfile": "theirs"})
    repo.switch("main")
    repo.commit({"web/Dockerfile": "ours", "api/Dockerfile": "2"})
    with pytest.raises(RuntimeError):
        repo.git("merge", "other")
    assert resolve(workplace, job).id == repo.head
    dirty = resolve(workplace, job, want("web"))
    assert "<<<<<<<" in files(place(workplace, job, dirty, want("web")))["Dockerfile"]
    repo.write({"api/Dockerfile": "3"})
    assert files(place(workplace, job, resolve(workplace, job)))["Dockerfile"] == "3"


def test_path_in_a_linked_worktree(
    workplace: Workplace, git_repo: Callable[..., GitRepo], job: Job
) -> None:
    repo = git_repo("main")
    repo.commit({"api/Dockerfile": "1"})
    repo.git("worktree", "add", "-q", "-b", "side", workplace.base_dir / "tree")
    wanted = want("tree/api")
    assert resolve(workplace, job, wanted) == Resolved(repo.head, "side")
    (workplace.base_dir / "tree/api/Dockerfile").write_text("2")
    dirty = resolve(workplace, job, wanted)
    assert files(place(workplace, job, dirty, wanted)) == {"Dockerfile": "2"}


def test_path_repository_without_a_commit(workplace: Workplace, job: Job) -> None:
    repo = GitRepo(workplace.base_dir)
    repo.write({"api/Dockerfile": "1"})
    resolved = resolve(workplace, job)
    assert resolved.id.startswith("tree:")
    assert files(place(workplace, job, resolved)) == {"Dockerfile": "1"}


def test_path_on_a_detached_head(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    repo.git("checkout", "-q", "--detach")
    assert resolve(workplace, job) == Resolved(repo.head, "HEAD")


def test_path_snapshot_objects_are_gone(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    repo.write({"api/Dockerfile": "2"})
    resolved = resolve(workplace, job)
    shutil.rmtree(workplace.root / "snapshots")
    assert files(place(workplace, job, resolved))["Dockerfile"] == "2"
    shutil.rmtree(workplace.root / "snapshots")
    repo.write({"api/Dockerfile": "3"})
    with pytest.raises(SourceError, match="any more"):
        place(workplace, job, resolved)


def test_path_snapshot_objects_are_gone_below_the_index(workplace: Workplace, job: Job) -> None:
    api = workplace.base_dir / "api"
    api.mkdir()
    (api / "Dockerfile").write_text("1")
    first = resolve(workplace, job)
    for path in (workplace.root / "snapshots").rglob("objects/??/*"):
        path.unlink()
    (api / "other").write_text("x")
    assert resolve(workplace, job) != first
    assert files(place(workplace, job, resolve(workplace, job))).keys() == {"Dockerfile", "other"}


def test_path_old_snapshots_go(workplace: Workplace, job: Job) -> None:
    api = workplace.base_dir / "api"
    api.mkdir()
    (api / "Dockerfile").write_text("1")
    resolve(workplace, job)
    objects = next((workplace.root / "snapshots").glob("*.git")) / "objects"
    (objects / "17").mkdir(exist_ok=True)
    for number in range(40):
        (objects / "17" / f"{number:038x}").touch()
        os.utime(objects / "17" / f"{number:038x}", (0, 0))
    (api / "Dockerfile").write_text("2")
    resolved = resolve(workplace, job)
    assert not [path for path in (objects / "17").iterdir() if path.stat().st_size == 0]
    assert files(place(workplace, job, resolved)) == {"Dockerfile": "2"}


def test_path_many_at_once(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    repo.write({"api/Dockerfile": "2"})
    found: list[Resolved] = []
    threads = [
        threading.Thread(target=lambda: found.append(resolve(workplace, job))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 6
    assert len(found) == 6


# What can't be a source


def test_path_missing(workplace: Workplace, job: Job) -> None:
    error = refused(workplace, job, want("nothing"))
    assert isinstance(error, SourceError)
    assert error.app == "shop/api"


def test_path_is_a_file(workplace: Workplace, job: Job) -> None:
    (workplace.base_dir / "api").write_text("")
    assert "is a file" in refused(workplace, job, want()).what


@pytest.mark.parametrize("path", ["..", "../outside", "/etc", "~", "api/../../outside"])
def test_path_outside(workplace: Workplace, job: Job, path: str) -> None:
    (workplace.base_dir.parent / "outside").mkdir()
    (workplace.base_dir / "api").mkdir()
    assert "outside" in refused(workplace, job, want(path)).what


def test_path_outside_through_a_link(workplace: Workplace, job: Job) -> None:
    (workplace.base_dir / "api").symlink_to("/etc")
    assert "outside" in refused(workplace, job, want()).what


def test_path_link_to_a_directory_inside(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    (repo.path / "current").symlink_to("api")
    resolved = resolve(workplace, job, want("current"))
    assert resolved.id == repo.head
    assert "Dockerfile" in files(place(workplace, job, resolved, want("current")))


@pytest.mark.parametrize("target", ["/etc", "../web", "../../.."])
def test_path_subdir_through_a_link_outside(
    workplace: Workplace, repo: GitRepo, job: Job, target: str
) -> None:
    (repo.path / "api/out").symlink_to(target)
    resolved = resolve(workplace, job)
    with pytest.raises(SourceError):
        place(workplace, job, resolved, want(subdir="out"))


def test_path_subdir_missing(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    with pytest.raises(SourceError, match="libz") as raised:
        fingerprint(workplace, want(subdir="libz"), resolve(workplace, job), job)
    assert "libs" in raised.value.todo


def test_path_that_git_ignores(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    repo.commit({".gitignore": "generated\n"})
    repo.write({"generated/x": "x"})
    resolved = resolve(workplace, job, want("generated"))
    with pytest.raises(SourceError, match="ignores"):
        fingerprint(workplace, want("generated"), resolved, job)


def test_path_with_a_repository_inside(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    inner = GitRepo(repo.path / "api/vendor")
    inner.commit({"a": "1"})
    with pytest.raises(SourceError, match="vendor") as raised:
        fingerprint(workplace, want(), resolve(workplace, job), job)
    assert "submodules" in raised.value.todo


def test_path_repository_of_another_user(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    for path in (repo.path / ".git", repo.path):
        os.chown(path, 12345, 12345)
    error = refused(workplace, job, want())
    assert isinstance(error, SourceError)
    assert f"safe.directory {repo.path}" in error.todo


def test_path_empty(workplace: Workplace, job: Job) -> None:
    (workplace.base_dir / "api").mkdir()
    resolved = resolve(workplace, job)
    assert files(place(workplace, job, resolved)) == {}


def test_path_unreadable_repository(workplace: Workplace, repo: GitRepo, job: Job) -> None:
    resolved = resolve(workplace, job)
    for path in (repo.path / ".git/objects").glob("??/*"):
        path.unlink()
    for ask in (
        lambda: fingerprint(workplace, want(), resolved, job),
        lambda: place(workplace, job, resolved),
    ):
        with pytest.raises(SourceError):
            ask()
