"""The spec comes from a repository, together with the directories that its apps are built from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import DOCKERFILE, HEALTH, Shop, serves


@pytest.fixture
def ops(shop: Shop) -> Shop:
    """The spec is in the repository, beside the directory `web` that its app is built from."""
    shop.directory = shop.repo.path
    shop.place = ["--repo", shop.repo.url, "--branch", "main"]
    shop.repo.write({".gitignore": "*.log", "web/Dockerfile": DOCKERFILE, "web/index.html": "one"})
    shop.app("web", source={"path": "web"}, health=HEALTH, volumes=["./conf:/www/conf:ro"])
    return shop


def test_repository_with_spec_and_source(ops: Shop) -> None:
    first = ops.repo.commit({"conf/motto": "hello"})
    ops.apply("--protect-history")
    assert ops.answer("web") == "one"
    assert ops.answer("web", "/conf/motto") == "hello"
    container = ops.container_id("web")
    (row,) = ops.history("web")
    assert (row["spec_revision"], row["resolved_revision"]) == (first, first)

    ops.repo.commit({"README": "touches nothing", "conf/motto": "good bye"})
    ops.apply()
    assert ops.container_id("web") == container
    assert ops.answer("web", "/conf/motto") == "good bye"

    second = ops.repo.commit({"web/index.html": "two"})
    assert ops.plan()["changes"]
    assert ops.run("status", "-o", "json").json["configuration"]["revision"] != second
    ops.apply()
    assert ops.answer("web") == "two"
    assert [row["spec_revision"] for row in ops.history("web")] == [second, first]
    assert "revision" in ops.history("web")[0]["cause"]

    bad = ops.repo.commit({"apps.yaml": "version: 1\nproject: shop\nxapps: {}\n"})
    done = ops.run("apply", "--quiet")
    assert done.code == 78
    assert f"at commit {bad[:12]}" in done.err
    assert "apps.yaml:3:1" in done.err
    document = ops.run("status", "-o", "json").json["configuration"]
    assert (document["revision"], document["problem_revision"]) == (second, bad)
    assert "not up to date" in ops.run("status").out
    assert ops.answer("web") == "two"

    ops.write()
    third = ops.repo.commit({"web/index.html": "three"})
    row = ops.run("deploy", "web", "-o", "json").json
    assert (row["spec_revision"], row["outcome"]) == (third, "succeeded")
    assert f"spec:   {third[:7]}" in ops.run("explain", "web").out


def test_daemon_follows_a_repository(ops: Shop, wait_until: Callable[..., Any]) -> None:
    ops.repo.commit({"conf/motto": "hello"})
    with ops.daemon("--interval", "1s", "--protect-history") as daemon:
        wait_until(lambda: serves(ops, "one", "web"), timeout=30)
        ops.repo.commit({"web/index.html": "two"})
        wait_until(lambda: serves(ops, "two", "web"), timeout=30)
        good = ops.repo.head
        ops.repo.commit({"apps.yaml": "", "web/index.html": "three"})
        wait_until(lambda: daemon.lines("refused"))
        ops.engine.docker("rm", "-f", ops.container_id("web"))
        wait_until(lambda: serves(ops, "two", "web"), timeout=30)
        assert ops.status_document()["configuration"]["revision"] == good
        ops.repo.git("reset", "-q", "--hard", f"{good}^")
        ops.repo.commit({"web/index.html": "another past"})
        wait_until(lambda: len(daemon.lines("refused")) == 2)
        assert "rewritten" in daemon.lines("refused")[1]["text"]
        ops.apply()
        assert ops.answer("web") == "another past"
        wait_until(lambda: not ops.status_document()["configuration"]["problem"])
        assert len(daemon.lines("refused")) == 2
