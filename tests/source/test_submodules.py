"""Submodules: placed at their commit, nested, relative; and what a hostile one can't reach."""

import itertools
import shutil
from pathlib import Path

import pytest

from reconciler.errors import GitUnavailable, SourceError
from reconciler.host.job import Job
from reconciler.source.base import Workplace
from reconciler.spec.models import Credentials, EnvRef
from tests.source.servers import GitHttp, subcommands
from tests.source.test_git import Calls, Repos, files, fingerprint, place, resolve, want
from tests.support.gitrepo import GitRepo
from tests.support.system import run


def add_submodule(repo: GitRepo, path: str, url: str, commit: str) -> str:
    """Record a submodule without cloning it, as an attacker may write it as well; the commit."""
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    with (repo.path / ".gitmodules").open("a") as file:
        file.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
    repo.git("add", ".gitmodules")
    repo.git("commit", "-q", "-m", f"Add {path}")
    return repo.head


def test_submodules_nested(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    top, middle, leaf = git_repo("top"), git_repo("middle"), git_repo("leaf")
    top.commit({"a": "top"})
    old = leaf.commit({"a": "leaf"})
    leaf.commit({"a": "a later leaf"})
    middle.commit({"a": "middle"})
    commit = add_submodule(middle, "deep/leaf", leaf.url, old)
    add_submodule(top, "libs/middle", middle.url, commit)
    assert files(place(workplace, want(top.url), job)) == {
        ".gitmodules": (top.path / ".gitmodules").read_text(),
        "a": "top",
        "libs/middle/.gitmodules": (middle.path / ".gitmodules").read_text(),
        "libs/middle/a": "middle",
        "libs/middle/deep/leaf/a": "leaf",
    }


def test_submodules_relative_url(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    top, other = git_repo("top"), git_repo("other")
    top.commit({"a": "top"})
    add_submodule(top, "other", "../other", other.commit({"a": "other"}))
    assert files(place(workplace, want(top.url), job))["other/a"] == "other"


def test_submodules_turned_off(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    top, other = git_repo("top"), git_repo("other")
    add_submodule(top, "other", other.url, other.commit({"a": "other"}))
    context = place(workplace, want(top.url, submodules=False), job)
    assert list((context / "other").iterdir()) == []


def test_submodules_count_for_the_fingerprint(
    workplace: Workplace, git_repo: Repos, job: Job
) -> None:
    top, other = git_repo("top"), git_repo("other")
    top.commit({"a": "top"})
    first = other.commit({"a": "1"})
    add_submodule(top, "libs/other", other.url, first)
    wanted = want(top.url, subdir="libs", watch=["libs/other"])
    before = fingerprint(workplace, wanted, resolve(workplace, wanted, job), job)
    assert before["libs/other"] == first
    second = other.commit({"a": "2"})
    top.git("update-index", "--cacheinfo", f"160000,{second},libs/other")
    top.git("commit", "-q", "-m", "Update")
    after = fingerprint(workplace, wanted, resolve(workplace, wanted, job), job)
    assert before["libs"] != after["libs"]
    assert after["libs/other"] == second


def test_submodules_as_subdir(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    top, other = git_repo("top"), git_repo("other")
    top.commit({"a": "top"})
    add_submodule(top, "other", other.url, other.commit({"Dockerfile": "other"}))
    wanted = want(top.url, subdir="other")
    assert files(place(workplace, wanted, job)) == {"Dockerfile": "other"}


def test_submodules_without_url_stay_empty(
    workplace: Workplace, git_repo: Repos, job: Job, lines: list[str]
) -> None:
    top = git_repo("top")
    add_submodule(top, "other", "", "ab" * 20)
    (top.path / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n')
    top.git("add", ".gitmodules")
    top.git("commit", "-qm", "Break it")
    assert list((place(workplace, want(top.url), job) / "other").iterdir()) == []
    assert any("other is a submodule without a URL" in line for line in lines)


def test_submodules_file_broken(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    top = git_repo("top")
    add_submodule(top, "other", top.url, top.commit())
    (top.path / ".gitmodules").write_text("[submodule\n")
    top.git("add", ".gitmodules")
    top.git("commit", "-qm", "Break it")
    with pytest.raises(SourceError, match=r"\.gitmodules"):
        place(workplace, want(top.url), job)


def test_submodules_commit_gone(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    top, other = git_repo("top"), git_repo("other")
    other.commit({"a": "1"})
    add_submodule(top, "other", other.url, "12" * 20)
    with pytest.raises(SourceError) as raised:
        place(workplace, want(top.url), job)
    assert "12" * 20 in raised.value.what
    assert other.url in raised.value.what


def test_submodules_endless(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    chain = [git_repo(f"r{number}") for number in range(12)]
    commit = chain[0].commit({"a": "1"})
    for inner, outer in itertools.pairwise(chain):
        outer.commit({"a": "1"})
        commit = add_submodule(outer, "s", inner.url, commit)
    with pytest.raises(SourceError, match="nested"):
        place(workplace, want(chain[-1].url), job)


# Hostile ones


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c 'touch owned'",
        "--upload-pack=touch owned",
        "-c core.fsmonitor=touch",
        "ssh://-oProxyCommand=touch/x",
        "fd::3",
        "relative/without/dots",
    ],
)
def test_submodules_hostile_url(
    workplace: Workplace, git_repo: Repos, job: Job, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = git_repo("top")
    monkeypatch.chdir(workplace.base_dir)
    quoted = url.replace('"', '\\"')
    add_submodule(top, "evil", f'"{quoted}"', top.commit({"a": "1"}))
    with pytest.raises(SourceError):
        place(workplace, want(top.url), job)
    assert not list(workplace.base_dir.iterdir())


def test_submodules_local_path_below_a_host(
    workplace: Workplace, git_http: GitHttp, git_repo: Repos, job: Job, tmp_path: Path
) -> None:
    git_http.wants_login = False
    secret, top = git_repo("secret"), git_repo("top")
    add_submodule(top, "evil", secret.url, secret.commit({"a": "secret"}))
    with pytest.raises(SourceError, match="local path"):
        place(workplace, want(git_http.url("top/.git")), job)
    assert not (workplace.root / "checkout/evil/a").exists()


def test_submodules_credentials_stay_with_their_host(
    workplace: Workplace,
    git_http: GitHttp,
    git_repo: Repos,
    job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIT_TOKEN", git_http.password)
    account = Credentials(username=git_http.user, password=EnvRef(env="GIT_TOKEN"))
    top, same, other = git_repo("top"), git_repo("same"), git_repo("other")
    with GitHttp(tmp_path / "git") as elsewhere:
        add_submodule(top, "same", "../../same/.git", same.commit({"a": "same"}))
        wanted = want(git_http.url("top/.git"), credentials=account)
        assert files(place(workplace, wanted, job))["same/a"] == "same"
        add_submodule(top, "other", elsewhere.url("other/.git"), other.commit({"a": "1"}))
        with pytest.raises(GitUnavailable, match="wants credentials"):
            place(workplace, wanted, job)
        assert elsewhere.seen
        assert not any(elsewhere.authorized)
        elsewhere.wants_login = False
        assert files(place(workplace, wanted, job))["other/a"] == "1"


@pytest.mark.parametrize("entry", ["120000 blob {blob}\t.gitmodules", "100644 blob {blob}\t.git"])
def test_submodules_path_that_git_refuses(
    workplace: Workplace, git_repo: Repos, job: Job, entry: str, tmp_path: Path, git_calls: Calls
) -> None:
    top = git_repo("top")
    top.commit({"target": str(workplace.base_dir)})
    listing = tmp_path / "listing"
    listing.write_text(entry.format(blob=top.git("rev-parse", "HEAD:target")) + "\n")
    tree = run("sh", "-c", f"git -C '{top.path}' mktree < '{listing}'").strip()
    top.git("update-ref", "refs/heads/main", top.git("commit-tree", "-m", "Evil", tree))
    with pytest.raises(SourceError, match="refuses"):
        place(workplace, want(top.url), job)
    assert subcommands(git_calls()).count("fetch") == 1


def test_submodules_host_of_the_submodule_is_down(
    workplace: Workplace, git_repo: Repos, job: Job
) -> None:
    top = git_repo("top")
    add_submodule(top, "other", "http://127.0.0.1:1/x.git", top.commit({"a": "1"}))
    with pytest.raises(GitUnavailable, match=r"127\.0\.0\.1:1"):
        place(workplace, want(top.url), job)


def test_submodules_damaged_mirror(workplace: Workplace, git_repo: Repos, job: Job) -> None:
    top, other = git_repo("top"), git_repo("other")
    add_submodule(top, "other", other.url, other.commit({"a": "other"}))
    place(workplace, want(top.url), job)
    for mirror in (workplace.root / "mirrors").glob("*.git"):
        shutil.rmtree(mirror / "objects")
        (mirror / "objects").mkdir()
    assert files(place(workplace, want(top.url), job))["other/a"] == "other"
