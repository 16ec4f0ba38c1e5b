"""A configuration repository for tests: a bare one that can be pushed to, and who commits to it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.engine.config_repo import ConfigRepo, RepoPlace
from reconciler.host.secrets import Redactor, Secrets
from tests.source.conftest import git_http, own_git_settings
from tests.support.gitrepo import GitRepo

__all__ = ["Ops", "git_http", "ops", "own_git_settings"]

SPEC = "version: 1\nproject: shop\napps:\n  api: {source: {path: web}, env: {A: 'one'}}\n"
BROKEN = SPEC + "  web: {sauce: {path: .}}\n"


def side_by_side(*works: Callable[[], object]) -> None:
    """Each in a thread; what any of them raises."""
    with ThreadPoolExecutor(len(works)) as pool:
        for one in [pool.submit(work) for work in works]:
            one.result()


class Ops:
    """`bare` is at `url`; `repo` is somebody's clone of it; `state_dir` is this program's."""

    def __init__(self, home: Path, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.repo = GitRepo(home / "clone")
        self.bare = home / "git/ops.git"
        self.bare.mkdir(parents=True)
        self.url = f"file://{self.bare}"
        self.repo.git("init", "-q", "--bare", "-b", "main", self.bare)
        self.repo.git("-C", self.bare, "config", "http.receivepack", "true")
        self.repo.git("remote", "add", "origin", self.bare)

    def commit(self, *flags: str, **files: str | None) -> str:
        """Commit the spec `apps`, and other files, and push them; the commit."""
        names = {"apps": "apps.yaml", "page": "web/index.html"}
        head = self.repo.commit({names.get(name, name): text for name, text in files.items()})
        self.repo.git("push", "-q", *flags, "origin", "HEAD")
        return head

    @property
    def head(self) -> str:
        return self.repo.git("-C", self.bare, "rev-parse", "main")

    def open(self, url: str = "", environ: dict[str, str] | None = None, **fields) -> ConfigRepo:
        secrets = Secrets(Path("/"), Redactor(), environ or {})
        return ConfigRepo(RepoPlace(url or self.url, **fields), self.state_dir, secrets)


@pytest.fixture
def ops(tmp_path: Path, state_dir: Path) -> Ops:
    made = Ops(tmp_path, state_dir)
    made.commit(apps=SPEC, page="one")
    return made
