"""Repositories for tests: real, and the same each time."""

from pathlib import Path

from tests.support.gitrepo import GitRepo


def test_gitrepo_same_content_same_shas(tmp_path: Path) -> None:
    def history(repo: GitRepo) -> list[str]:
        return [repo.commit({"a/b.txt": "1"}), repo.commit({"a/b.txt": None, "c": b"\0"})]

    assert history(GitRepo(tmp_path / "one")) == history(GitRepo(tmp_path / "two"))


def test_gitrepo_branches_and_tags(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "repo")
    first = repo.commit({"f": "1"})
    repo.tag("v1.0.0")
    repo.branch("feature")
    second = repo.commit({"f": "2"})
    repo.tag("v1.1.0", message="released")
    repo.switch("main")
    listed = repo.git("ls-remote", repo.url)
    assert repo.head == first
    assert f"{first}\trefs/tags/v1.0.0" in listed
    assert f"{second}\trefs/tags/v1.1.0^{{}}" in listed
    assert f"{second}\trefs/heads/feature" in listed
