"""Git sources from question to checkout, over file://, with real git."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.errors import GitUnavailable, ReconcilerError, SourceError, Stalled
from reconciler.host.job import Job
from reconciler.source import fingerprint_all, resolve_all
from reconciler.source.base import Outcome, Resolved, Wanted, Workplace
from reconciler.source.git import GitSource
from reconciler.spec import models
from tests.source.servers import subcommands
from tests.support.gitrepo import GitRepo

Repos = Callable[..., GitRepo]
Calls = Callable[[], list[list[str]]]


def want(
    url: str, revision: str | None = "main", app: str = "shop/api", **fields: object
) -> Wanted:
    return Wanted(app, models.GitSource(git=url, **fields), revision)


def version(outcome: Outcome) -> Resolved:
    if isinstance(outcome, ReconcilerError):
        raise outcome
    return outcome


def resolve(workplace: Workplace, wanted: Wanted, job: Job) -> Resolved:
    return version(resolve_all(workplace, [wanted], job)[wanted.app])


def fingerprint(
    workplace: Workplace, wanted: Wanted, resolved: Resolved, job: Job
) -> Mapping[str, str]:
    answer = fingerprint_all(workplace, [(wanted, resolved)], job)[wanted.app]
    if isinstance(answer, ReconcilerError):
        assert answer.app == wanted.app
        raise answer
    return answer


def place(workplace: Workplace, wanted: Wanted, job: Job) -> Path:
    source, into = GitSource(workplace), workplace.root / "checkout"
    found = source.place(wanted, resolve(workplace, wanted, job), into, job)
    assert found.context is not None
    return found.context


def files(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def test_git_from_question_to_checkout(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    repo = git_repo()
    commit = repo.commit({"app/Dockerfile": "FROM scratch\n", "libs/x": "x", "y": "y"})
    wanted = want(repo.url, subdir="app", watch=["libs", "y"])
    resolved = resolve(workplace, wanted, job)
    assert resolved == Resolved(commit, "main")
    assert fingerprint(workplace, wanted, resolved, job) == {
        "app": repo.git("rev-parse", f"{commit}:app"),
        "libs": repo.git("rev-parse", f"{commit}:libs"),
        "y": repo.git("rev-parse", f"{commit}:y"),
    }
    context = place(workplace, wanted, job)
    assert context == (workplace.root / "checkout" / "app").resolve()
    assert files(context) == {"Dockerfile": "FROM scratch\n"}
    assert files(context.parent).keys() == {"app/Dockerfile", "libs/x", "y"}


def test_git_process_count_of_a_deployment(
    workplace: Workplace, git_repo: Repos, job: Job, git_calls: Calls
) -> None:
    repo = git_repo()
    repo.commit({"Dockerfile": "1"})
    wanted, source = want(repo.url), GitSource(workplace)
    place(workplace, wanted, job)
    repo.commit({"Dockerfile": "2"})
    before = len(git_calls())
    resolved = resolve(workplace, wanted, job)
    fingerprint(workplace, wanted, resolved, job)
    source.place(wanted, resolved, workplace.root / "checkout", job)
    ours = [call for call in git_calls()[before:] if call[0] != "upload-pack"]
    expected = ["ls-remote", "cat-file", "fetch", "cat-file", "read-tree"]
    assert [one for one in subcommands(ours) if one in expected] == expected
    assert files(workplace.root / "checkout") == {"Dockerfile": "2"}


def test_git_many_apps_one_question(
    workplace: Workplace, git_repo: Repos, job: Job, git_calls: Calls
) -> None:
    one, two = git_repo("one"), git_repo("two")
    commits = {one.url: one.commit({"a": "1"}), two.url: two.commit({"a": "2"})}
    one.tag("v1.2.0", "annotated")
    wanted = [want(one.url, "main", f"shop/m{n}") for n in range(20)]
    wanted += [want(one.url, ">=1", f"shop/t{n}") for n in range(20)]
    wanted += [want(two.url, None, f"shop/d{n}") for n in range(20)]
    wanted += [want(one.url, commits[one.url], f"shop/c{n}") for n in range(20)]
    outcomes = resolve_all(workplace, wanted, job)
    assert list(outcomes) == [each.app for each in wanted]
    for each in wanted:
        assert isinstance(each.source, models.GitSource)
        assert version(outcomes[each.app]).id == commits[each.source.git]
    assert subcommands(git_calls()).count("ls-remote") == 2


def test_git_full_commit_no_question(workplace: Workplace, job: Job, git_calls: Calls) -> None:
    commit = "a" * 40
    assert resolve(workplace, want("https://127.0.0.1:1/x", commit), job).id == commit
    assert git_calls() == []


def test_git_one_broken_app_hides_nothing_of_others(
    workplace: Workplace, git_repo: Repos, job: Job, tmp_path: Path
) -> None:
    repo = git_repo()
    commit = repo.commit({"a": "1"})
    outcomes = resolve_all(
        workplace,
        [
            want(repo.url, "main", "shop/good"),
            want(repo.url, "mian", "shop/typo"),
            want(f"file://{tmp_path}/nothing", "main", "shop/nothing"),
            want("http://127.0.0.1:1/x.git", "main", "shop/down"),
            want("ssh://127.0.0.1:1/x", "main", "shop/ssh"),
        ],
        job,
    )
    assert version(outcomes["shop/good"]).id == commit
    kinds = {app: type(outcome) for app, outcome in outcomes.items()}
    assert kinds["shop/typo"] is kinds["shop/nothing"] is SourceError
    assert kinds["shop/down"] is kinds["shop/ssh"] is GitUnavailable
    typo = outcomes["shop/typo"]
    assert isinstance(typo, SourceError)
    assert typo.app == "shop/typo"
    assert "main" in typo.todo


def test_git_known_commit_is_not_fetched(
    workplace: Workplace, git_repo: Repos, job: Job, git_calls: Calls
) -> None:
    repo = git_repo()
    old = repo.commit({"a": "1"})
    repo.commit({"a": "2"})
    place(workplace, want(repo.url), job)
    fetches = subcommands(git_calls()).count("fetch")
    shutil.rmtree(repo.path)
    source, wanted = GitSource(workplace), want(repo.url, old)
    source.place(wanted, Resolved(old, old), workplace.root / "checkout", job)
    assert files(workplace.root / "checkout") == {"a": "1"}
    assert subcommands(git_calls()).count("fetch") == fetches


def test_git_commit_after_a_forced_push(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    repo = git_repo()
    repo.commit({"a": "1"})
    gone = repo.commit({"a": "2"})
    repo.git("reset", "-q", "--hard", "HEAD~1")
    wanted = want(repo.url, gone)
    assert files(place(workplace, wanted, job)) == {"a": "2"}
    now = repo.commit({"a": "3"})
    assert resolve(workplace, want(repo.url), job).id == now
    assert files(place(workplace, want(repo.url), job)) == {"a": "3"}


def test_git_branch_renamed_into_a_directory(
    workplace: Workplace, git_repo: Repos, job: Job
) -> None:
    repo = git_repo()
    repo.commit({"a": "1"})
    repo.branch("feature")
    place(workplace, want(repo.url, "feature"), job)
    repo.git("branch", "-m", "feature", "feature/login")
    repo.commit({"a": "2"})
    assert files(place(workplace, want(repo.url, "feature/login"), job)) == {"a": "2"}


def test_git_ref_that_is_no_branch(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    repo = git_repo()
    repo.commit({"a": "1"})
    repo.branch("other")
    commit = repo.commit({"a": "2"})
    repo.git("update-ref", "refs/pull/7/head", commit)
    repo.switch("main")
    repo.git("branch", "-q", "-D", "other")
    assert files(place(workplace, want(repo.url, "refs/pull/7/head"), job)) == {"a": "2"}


def test_git_commit_that_is_nowhere(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    repo = git_repo()
    repo.commit({"a": "1"})
    nowhere = "12" * 20
    with pytest.raises(SourceError) as raised:
        fingerprint(workplace, want(repo.url, nowhere), Resolved(nowhere, ""), job)
    assert nowhere in raised.value.what


def test_git_checkout_is_plain(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    repo = git_repo()
    repo.write({"run.sh": "#!/bin/sh\n", "crlf.bat": "x\n", ".gitattributes": "*.bat eol=crlf\n"})
    (repo.path / "run.sh").chmod(0o755)
    (repo.path / "link").symlink_to("run.sh")
    (repo.path / "dangling").symlink_to("/nowhere/at/all")
    repo.write(
        {"hidden.txt": "in archives this is left out", "d/.gitattributes": "* export-ignore"}
    )
    repo.commit()
    context = place(workplace, want(repo.url), job)
    assert os.access(context / "run.sh", os.X_OK)
    assert not os.access(context / "hidden.txt", os.X_OK)
    assert (context / "link").readlink() == Path("run.sh")
    assert (context / "dangling").readlink() == Path("/nowhere/at/all")
    assert (context / "crlf.bat").read_bytes() == b"x\r\n"
    assert (context / "d/.gitattributes").exists()
    assert not (context / ".git").exists()
    assert {path.name for path in workplace.root.iterdir()} == {"mirrors", "checkout"}


def test_git_checkout_replaces_leftovers(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    repo = git_repo()
    repo.commit({"a": "1"})
    into = workplace.root / "checkout"
    (into / "a").mkdir(parents=True)
    (into / "a/old").write_text("old")
    (workplace.root / ".checkout.index.lock").write_text("")
    (into / "link").symlink_to(workplace.base_dir)
    assert files(place(workplace, want(repo.url), job)) == {"a": "1"}
    assert workplace.base_dir.exists()


def test_git_subdir_through_a_link(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    repo = git_repo()
    repo.write({"services/api/Dockerfile": "1"})
    (repo.path / "api").symlink_to("services/api")
    commit = repo.commit()
    wanted = want(repo.url, subdir="api")
    prints = fingerprint(workplace, wanted, Resolved(commit, "main"), job)
    assert prints == {"api": repo.git("rev-parse", f"{commit}:services/api")}
    assert files(place(workplace, wanted, job)) == {"Dockerfile": "1"}


@pytest.mark.parametrize("target", ["/etc", "../../..", "link", "nothing"])
def test_git_subdir_leads_nowhere_good(
    workplace: Workplace, git_repo: Repos, job: Job, target: str
) -> None:
    repo = git_repo()
    (repo.path / "link").symlink_to(target)
    commit = repo.commit({"a": "1"})
    wanted, source = want(repo.url, subdir="link"), GitSource(workplace)
    for ask in (
        lambda: fingerprint(workplace, wanted, Resolved(commit, "main"), job),
        lambda: source.place(wanted, Resolved(commit, "main"), workplace.root / "checkout", job),
    ):
        with pytest.raises(SourceError) as raised:
            ask()
        assert raised.value.app == "shop/api"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"subdir": "servces"}, "services"),
        ({"subdir": "services/ap"}, "services/api"),
        ({"subdir": "a/b"}, "file"),
        ({"subdir": "a"}, "directory"),
        ({"watch": ["services/web"]}, "services"),
        ({"subdir": "x/y/z"}, "services"),
    ],
)
def test_git_path_missing(
    workplace: Workplace, git_repo: Repos, job: Job, fields: dict[str, object], said: str
) -> None:
    repo = git_repo()
    commit = repo.commit({"a": "1", "services/api/Dockerfile": "1"})
    with pytest.raises(SourceError) as raised:
        fingerprint(workplace, want(repo.url, **fields), Resolved(commit, "main"), job)
    assert said in str(raised.value)


def test_git_inside_a_hook(
    workplace: Workplace, git_repo: Repos, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook has GIT_DIR set, and `reconcile apply` may be what it runs."""
    repo, other = git_repo("repo"), git_repo("other")
    repo.commit({"a": "1"})
    other.commit({"b": "1"})
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git/index"))
    index = (other.path / ".git/index").read_bytes()
    assert files(place(workplace, want(repo.url), job)) == {"a": "1"}
    assert (other.path / ".git/index").read_bytes() == index


def test_git_lfs_filters_of_the_user_are_not_run(
    workplace: Workplace, git_repo: Repos, job: Job, own_git_settings: Path, lines: list[str]
) -> None:
    repo = git_repo()
    repo.commit({"big.bin": "pointer", ".gitattributes": "*.bin filter=lfs\n"})
    own_git_settings.write_text('[filter "lfs"]\n\tsmudge = false\n\trequired = true\n')
    assert files(place(workplace, want(repo.url), job))["big.bin"] == "pointer"
    assert any("LFS" in line for line in lines)


def test_git_repository_of_another_user(
    workplace: Workplace, git_repo: Repos, job: Job, own_git_settings: Path
) -> None:
    repo = git_repo()
    repo.commit({"a": "1"})
    for path in (repo.path / ".git", repo.path):
        os.chown(path, 12345, 12345)
    outcome = resolve_all(workplace, [want(repo.url)], job)["shop/api"]
    assert isinstance(outcome, SourceError)
    assert "safe.directory" in outcome.todo
    own_git_settings.write_text("[safe]\n\tdirectory = *\n")
    assert resolve(workplace, want(repo.url), job).id


def test_git_repository_empty(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    outcome = resolve_all(workplace, [want(git_repo().url, None)], job)["shop/api"]
    assert isinstance(outcome, SourceError)
    assert "empty" in outcome.what


def test_git_plain_path_as_url(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    repo = git_repo()
    repo.commit({"a": "1"})
    assert files(place(workplace, want(str(repo.path)), job)) == {"a": "1"}


def test_git_errors_of_a_pass_name_each_app(workplace: Workplace, job: Job, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/nothing"
    wanted = [want(url, "main", "shop/a"), want(url, "main", "shop/b")]
    outcomes = resolve_all(workplace, wanted, replace(job, app=""))
    assert [str(outcome).partition(":")[0] for outcome in outcomes.values()] == ["shop/a", "shop/b"]


def test_git_many_apps_one_look(
    workplace: Workplace, git_repo: Repos, job: Job, git_calls: Calls
) -> None:
    repo = git_repo()
    repo.commit({f"a{number}/Dockerfile": str(number) for number in range(30)})
    wanted = [want(repo.url, "main", f"shop/a{n}", subdir=f"a{n}") for n in range(30)]
    wanted.append(want(repo.url, "main", "shop/typo", subdir="a1O"))
    outcomes = resolve_all(workplace, wanted, job)
    versions = [(one, version(outcomes[one.app])) for one in wanted]
    before = len(git_calls())
    found = fingerprint_all(workplace, versions, job)
    assert list(found) == [one.app for one in wanted]
    assert isinstance(found.pop("shop/typo"), SourceError)
    assert len({str(content) for content in found.values()}) == 30
    ours = subcommands(git_calls()[before:])
    assert ours.count("fetch") == 1
    assert ours.count("cat-file") <= 3


def test_git_not_installed(
    workplace: Workplace, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = resolve_all(workplace, [want("https://git.example/x")], job)["shop/api"]
    assert isinstance(outcome, Stalled)
    assert "'git' isn't installed" in outcome.what
