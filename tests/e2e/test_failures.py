"""What breaks leaves the old container answering, and history says why."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.conftest import DOCKERFILE, HEALTH, Shop

EXITS = "FROM busybox:stable\nCMD echo cannot reach the database >&2; exit 3\n"
WRONG_PORT = DOCKERFILE.replace('"8000"', '"9000"')
BROKEN_BUILD = "FROM busybox:stable\nRUN echo about to fail && exit 7\n"


@pytest.fixture
def serving(shop: Shop) -> Shop:
    shop.app(health={**HEALTH, "timeout": "3s"})
    shop.apply()
    return shop


def test_build_that_breaks_leaves_the_old_container(serving: Shop) -> None:
    container = serving.container_id()
    serving.repo.commit({"Dockerfile": BROKEN_BUILD})
    serving.apply(code=1)
    assert serving.container_id() == container
    assert serving.answer() == "one"
    row = serving.history()[0]
    assert (row["status"], row["outcome"], row["stage"]) == ("error", "failed", "build")
    assert "7" in row["reason"]
    assert serving.status()["status"] == "error"


def test_image_that_exits_is_rolled_back(serving: Shop) -> None:
    container = serving.container_id()
    serving.repo.commit({"Dockerfile": EXITS})
    serving.apply(code=1)
    assert serving.container_id() == container
    assert serving.answer() == "one"
    row = serving.history()[0]
    assert (row["outcome"], row["stage"]) == ("rolled_back", "health")
    assert "3" in row["reason"]
    assert "cannot reach the database" in serving.run("logs", "api").out


def test_health_check_that_fails_is_rolled_back(serving: Shop) -> None:
    container = serving.container_id()
    serving.repo.commit({"Dockerfile": WRONG_PORT})
    serving.apply(code=1)
    assert serving.container_id() == container
    assert serving.answer() == "one"
    assert serving.history()[0]["outcome"] == "rolled_back"


def test_failed_revision_is_not_tried_again(serving: Shop) -> None:
    serving.repo.commit({"Dockerfile": BROKEN_BUILD})
    serving.apply(code=1)
    done = serving.apply(code=1)
    assert "failed before" in done.out
    assert serving.apply("-q", code=1).out == ""
    assert len(serving.history()) == 2
    (action,) = serving.plan()["actions"]
    assert action["action"] == "quarantine"
    serving.repo.commit({"Dockerfile": DOCKERFILE, "index.html": "fixed"})
    serving.apply()
    assert serving.answer() == "fixed"


def test_first_deployment_that_fails_leaves_nothing_behind(shop: Shop) -> None:
    shop.repo.commit({"Dockerfile": EXITS})
    shop.app()
    shop.apply(code=1)
    assert shop.containers() == []
    assert shop.history()[0]["outcome"] == "failed"
    assert list((shop.state_dir / "checkouts").glob("*")) == []


def test_failing_app_does_not_stop_the_others(shop: Shop) -> None:
    shop.app()
    shop.app("bad", build={"dockerfile": "Missing"})
    shop.apply(code=1)
    assert shop.answer() == "one"
    assert shop.history("bad")[0]["outcome"] == "failed"
    assert "Missing" in shop.history("bad")[0]["reason"]


def test_port_already_taken_leaves_the_old_container(serving: Shop) -> None:
    container = serving.container_id()
    other = f"{serving.project}-other"
    serving.engine.docker(
        "run", "-d", "--name", other, "-p", "127.0.0.1:18099:80", "busybox:stable", "httpd", "-f"
    )
    serving.app(ports=["127.0.0.1:18099:8000"])
    done = serving.apply(code=1)
    assert "18099" in done.out
    assert serving.container_id() == container
    assert serving.answer() == "one"
    serving.engine.docker("rm", "-f", other)


def test_missing_branch_is_reported_and_heals_nothing(serving: Shop) -> None:
    serving.app(revision="mian")
    done = serving.apply(code=1)
    assert "mian" in done.out
    assert "main" in done.out
    assert serving.answer() == "one"


def test_missing_secret_is_reported_by_name(serving: Shop) -> None:
    serving.app(env={"TOKEN": {"env": "SHOP_TOKEN_UNSET"}})
    done = serving.apply(code=1)
    assert "SHOP_TOKEN_UNSET" in done.out
    assert serving.answer() == "one"


def test_git_host_down_is_exit_69_and_everything_runs_on(serving: Shop) -> None:
    container = serving.container_id()
    serving.app(source={"git": "http://127.0.0.1:9/none.git"})
    done = serving.apply(code=69)
    assert "127.0.0.1:9" in done.out
    assert serving.container_id() == container


def test_engine_down_is_exit_69(serving: Shop) -> None:
    serving.environ["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    done = serving.run("apply")
    assert done.code == 69
    assert "/nowhere/docker.sock" in done.err
    assert serving.run("plan").code == 69
    assert serving.run("status").code == 69


def test_registry_down_fails_and_the_next_apply_pushes(serving: Shop) -> None:
    serving.app(image={"repository": f"127.0.0.1:9/{serving.project}", "push": True})
    serving.apply(code=1)
    assert serving.answer() == "one"
    assert "127.0.0.1:9" in serving.history()[0]["reason"]
    assert serving.plan()["actions"][0]["action"] == "wait"


def test_bug_in_the_end_of_one_app_stops_no_other(shop: Shop) -> None:
    shop.app(build={"dockerfile": "Missing"})
    shop.app("web")
    code = (
        "import sys\n"
        "from reconciler.pipeline import runner\n"
        "runner.describe_end = lambda *_, **__: {}['a bug']\n"
        "from reconciler.cli import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    command = shop.command("apply")
    command[1:3] = ["-c", code]
    done = subprocess.run(
        command, env=shop.env(), capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    row = shop.history()[0]
    assert (row["status"], row["outcome"]) == ("error", "failed")
    assert row["reason"] == "internal error: KeyError('a bug')"
    assert "please report it" in shop.run("logs", "api").out
    assert shop.history("web")[0]["outcome"] == "succeeded"
