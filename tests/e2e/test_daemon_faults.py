"""A daemon while engine, git host and registry are away for a while: one report, and recovery."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Daemon, Shop, serves
from tests.source.servers import GitHttp
from tests.support.engine import PrivateEngine
from tests.support.gitrepo import GitRepo
from tests.support.registry import PrivateRegistry

Wait = Callable[..., Any]


def _reports(daemon: Daemon, event: str) -> list[str]:
    return [line["level"] for line in daemon.lines(event)]


def test_daemon_brings_all_apps_back_after_the_engine_was_killed(
    own_engine: PrivateEngine,
    git_repo: Callable[[str], GitRepo],
    state_dir: Path,
    tmp_path: Path,
    wait_until: Wait,
) -> None:
    (tmp_path / "config").mkdir()
    repo = git_repo("app")
    shop = Shop(tmp_path / "config", "shop", own_engine, repo, state_dir)
    shop.commit_page("one")
    shop.app("api")
    shop.app("web", restart="no")
    with shop.daemon() as daemon:
        wait_until(lambda: serves(shop, "one", "api") and serves(shop, "one", "web"), timeout=30)
        own_engine.kill()
        wait_until(lambda: _reports(daemon, "engine") == ["warning"])
        daemon.signal(signal.SIGHUP)
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: _reports(daemon, "pass") == ["warning"])
        own_engine.start()
        wait_until(lambda: serves(shop, "one", "api") and serves(shop, "one", "web"), timeout=30)
        wait_until(lambda: _reports(daemon, "pass") == ["warning", "info"])
        assert _reports(daemon, "engine") == ["warning", "info"]
        for name in ("api", "web"):
            builds = [row for row in shop.history(name) if "build" in shop.stages(row)]
            assert len(builds) == 1
        assert shop.history("web")[0]["cause"].startswith("container exited with")


def test_daemon_goes_on_when_the_git_host_is_back(
    shop: Shop, tmp_path: Path, wait_until: Wait
) -> None:
    with GitHttp(shop.repo.path.parent) as server:
        server.wants_login = False
        shop.app(source={"git": server.url(shop.repo.path.name)})
        with shop.daemon("--interval", "0.2s") as daemon:
            wait_until(lambda: serves(shop, "one"), timeout=30)
            server.go_away()
            shop.repo.commit({"index.html": "two"})
            wait_until(lambda: daemon.lines("held back"))
            server.come_back()
            wait_until(lambda: serves(shop, "two"), timeout=30)
            (held, over) = daemon.lines("held back")
            assert (held["level"], over["text"]) == ("warning", "goes on")


def test_daemon_pushes_when_the_registry_is_back(
    shop: Shop,
    engine: PrivateEngine,
    make_registry: Callable[[PrivateEngine], PrivateRegistry],
    wait_until: Wait,
) -> None:
    registry = make_registry(engine)
    repository = f"{registry.address}/{shop.project}/api"
    shop.app(image={"repository": repository, "push": True})
    with shop.daemon() as daemon:
        wait_until(lambda: serves(shop, "one"), timeout=30)
        registry.stop()
        shop.repo.commit({"index.html": "two"})
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: shop.history()[0]["outcome"] == "failed", timeout=30)
        assert shop.answer() == "one"
        registry.start()
        wait_until(lambda: serves(shop, "two"), timeout=30)
        assert shop.history()[0]["cause"].endswith(shop.history()[1]["reason"])
