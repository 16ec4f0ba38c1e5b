"""`-f` or `--repo`: which one counts, and what neither may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.cli import run
from tests.support.gitrepo import GitRepo

SPEC = "version: 1\nproject: shop\napps:\n  api: {source: {path: .}}\n"
TWO = SPEC + "  web: {source: {path: .}}\n"


@pytest.fixture(autouse=True)
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FILE", "REPO", "BRANCH", "PATH", "REPO_TOKEN"):
        monkeypatch.delenv(f"RECONCILE_{name}", raising=False)
    monkeypatch.setenv("RECONCILE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "apps.yaml").write_text(SPEC)
    repo = GitRepo(tmp_path / "ops")
    repo.commit({"deploy/shop.yaml": TWO})
    return repo.url


def test_command_line_goes_before_the_environment(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["validate", "--repo", url, "--path", "deploy/shop.yaml"]) == 0
    assert capsys.readouterr().out == "deploy/shop.yaml is valid: 2 apps.\n"
    monkeypatch.setenv("RECONCILE_REPO", url)
    monkeypatch.setenv("RECONCILE_PATH", "deploy/shop.yaml")
    assert run(["validate"]) == 0
    assert "2 apps" in capsys.readouterr().out
    assert run(["validate", "-f", "apps.yaml"]) == 0
    assert "1 app." in capsys.readouterr().out
    monkeypatch.setenv("RECONCILE_FILE", "apps.yaml")
    assert run(["validate"]) == 64
    assert "not both" in capsys.readouterr().err
    assert run(["validate", "--repo", url]) == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--repo", "ext::sh -c id"], "spaces"),
        (["--repo", "--upload-pack=x"], "option"),
        (["--repo", "ops"], "https"),
        (["--repo", "/ops", "--branch", "-x"], "--branch"),
        (["--repo", "/ops", "--branch", "a*"], "--branch"),
        (["--repo", "/ops", "--path", "../apps.yaml"], "--path"),
        (["--repo", "/ops", "--path", "/apps.yaml"], "--path"),
        (["--repo", "/ops", "-f", "apps.yaml"], "not both"),
    ],
)
def test_place_that_cannot_be(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["validate", *arguments]) == 64
    assert word in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_state_directory_is_ours_alone(url: str, tmp_path: Path) -> None:
    run(["validate", "--repo", url, "--path", "deploy/shop.yaml"])
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
