"""What the tests of sources share: a workplace, jobs that remember their lines, real servers.

workplace     Workplace with an empty state directory and a directory for `apps.yaml`
lines         what was logged by `job`
job           a Job of the app shop/api
git_calls     git_calls() -> the argv of each git that this test started so far
git_http      GitHttp: a real `git http-backend` with basic auth; .url .user .password .seen
git_ssh       GitSsh: a real sshd; .url(path) .key .command (for GIT_SSH_COMMAND)
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.host.secrets import Secrets
from reconciler.source.base import Workplace
from tests.source.servers import GitHttp, GitSsh, record_calls


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    base_dir = tmp_path / "spec"
    base_dir.mkdir()
    root = tmp_path / "state"
    root.mkdir(mode=0o700)
    return Workplace(root, base_dir, Secrets(base_dir), Engine())


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def job(lines: list[str]) -> Job:
    return Job("shop/api", log=lines.append)


@pytest.fixture
def git_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    return record_calls("git", tmp_path, monkeypatch)


@pytest.fixture
def git_http(tmp_path: Path) -> Iterator[GitHttp]:
    with GitHttp(tmp_path / "git") as server:
        yield server


@pytest.fixture
def git_ssh(tmp_path: Path) -> Iterator[GitSsh]:
    with GitSsh(tmp_path / "ssh") as server:
        yield server


@pytest.fixture(autouse=True)
def own_git_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the user's git settings, but a file for settings of the test."""
    settings = tmp_path / "gitconfig"
    settings.touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    for name in ("SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_DIR", "GIT_ASKPASS", "GIT_SSL_CAINFO"):
        monkeypatch.delenv(name, raising=False)
    return settings


@pytest.fixture
def no_docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory as docker's configuration; `config.json` may be put there."""
    directory = tmp_path / "docker"
    directory.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    return directory
