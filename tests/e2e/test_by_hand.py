"""What people do to one app by hand: deploy, redeploy, roll back, hold, and clean up."""

from __future__ import annotations

import os

from tests.e2e.conftest import DOCKERFILE, Shop


def test_deploy_always_runs_the_full_pipeline(shop: Shop) -> None:
    shop.app()
    shop.apply()
    container = shop.container_id()
    done = shop.run("deploy", "api", "--title", "Because", "--description", "I say so")
    assert done.code == 0, done.err
    assert "build" in done.err
    row = shop.history()[0]
    assert shop.stages(row) == ["clone", "build", "deploy", "health"]
    assert (row["title"], row["description"], row["trigger"]) == ("Because", "I say so", "manual")
    assert shop.container_id() != container


def test_deploy_tries_a_failed_version_again(shop: Shop) -> None:
    shop.app(build={"dockerfile": "Missing"})
    shop.apply(code=1)
    assert shop.run("deploy", "api").code == 1
    assert [row["outcome"] for row in shop.history()] == ["failed", "failed"]
    assert shop.history()[0]["title"] == "Manual deployment"


def test_deploy_another_revision_stays_there(shop: Shop) -> None:
    first = shop.repo.head
    shop.repo.commit({"index.html": "two"})
    shop.app()
    shop.apply()
    assert shop.run("deploy", "api", "--revision", first).code == 0
    assert shop.answer() == "one"
    assert [action["action"] for action in shop.plan()["actions"]] == ["hold"]
    shop.repo.commit({"index.html": "three"})
    shop.apply()
    assert shop.answer() == "three"


def test_redeploy_rebuilds_what_serves_and_not_the_failed_try(shop: Shop) -> None:
    shop.app(env={"A": "1"})
    shop.apply()
    served = shop.repo.head
    shop.repo.commit({"Dockerfile": "FROM busybox:stable\nRUN exit 1\n"})
    shop.app(env={"A": "2"})
    shop.apply(code=1)
    assert shop.run("redeploy", "api").code == 0
    row = shop.history()[0]
    assert (row["title"], row["resolved_revision"]) == ("Rebuild deployment", served)
    assert shop.stages(row) == ["clone", "build", "deploy", "health"]
    assert "A=2" in shop.engine.inspect(shop.container_id())["Config"]["Env"]
    assert shop.answer() == "one"


def test_redeploy_without_cache_builds_anew(shop: Shop) -> None:
    shop.repo.commit({"Dockerfile": DOCKERFILE + "RUN cat /proc/sys/kernel/random/uuid >/www/id\n"})
    shop.app()
    shop.apply()
    first = shop.answer(path="/id")
    shop.run("redeploy", "api")
    assert shop.answer(path="/id") == first
    shop.run("redeploy", "api", "--no-cache")
    assert shop.answer(path="/id") != first


def test_rollback_is_sticky_until_something_new(shop: Shop) -> None:
    shop.app(env={"PAGE": "1"})
    shop.apply()
    images = shop.images()
    shop.repo.commit({"index.html": "two"})
    shop.app(env={"PAGE": "2"})
    shop.apply()
    done = shop.run("rollback", "api")
    assert done.code == 0, done.err
    assert shop.answer() == "one"
    assert shop.status()["image"] in images
    assert "PAGE=1" in shop.engine.inspect(shop.container_id())["Config"]["Env"]
    row = shop.history()[0]
    assert (row["kind"], shop.stages(row)) == ("rollback", ["deploy", "health"])
    shop.apply()
    assert shop.answer() == "one"
    assert "rolled back" in shop.status()["hold"]
    assert "rolled back" in shop.run("resume", "api").out
    shop.apply()
    assert shop.answer() == "two"
    shop.run("rollback", "api")
    shop.repo.commit({"index.html": "three"})
    shop.apply()
    assert shop.answer() == "three"


def test_rolled_back_container_is_kept_alive(shop: Shop) -> None:
    shop.app()
    shop.apply()
    shop.repo.commit({"index.html": "two"})
    shop.apply()
    shop.run("rollback", "api")
    shop.engine.docker("rm", "-f", shop.container_id())
    shop.apply()
    assert shop.answer() == "one"


def test_suspended_app_is_left_alone_and_deploys_by_hand(shop: Shop) -> None:
    shop.app()
    shop.apply()
    shop.run("suspend", "api", "--reason", "moving the database", "--for", "2h")
    shop.repo.commit({"index.html": "two"})
    shop.apply()
    assert shop.answer() == "one"
    assert shop.status()["hold"] == "moving the database"
    assert shop.run("deploy", "api").code == 0
    assert shop.answer() == "two"
    assert shop.status()["hold"] == "moving the database"
    shop.run("resume", "api")
    assert shop.plan()["actions"] == []


def test_suspend_and_resume_answer_in_json(shop: Shop) -> None:
    shop.app()
    app = f"{shop.project}/api"
    suspended = shop.run("suspend", "api", "--reason", "moving", "-o", "json").json
    assert suspended == {"app": app, "hold": "moving", "hold_until": None}
    assert shop.run("suspend", "api", "--for", "2h", "-o", "json").json["hold_until"]
    resumed = shop.run("resume", "api", "-o", "json").json
    assert resumed == {"app": app, "was_held": "suspended by hand"}


def test_clear_keeps_what_serves_and_frees_the_rest(shop: Shop) -> None:
    shop.app()
    for page in ("one", "two", "three"):
        shop.repo.commit({"index.html": page, "big": os.urandom(1 << 16)})
        shop.apply()
    assert len(shop.images()) == 3
    planned = shop.run("clear", "api", "--dry-run", "-o", "json").json
    assert (len(planned["images"]), len(planned["deployments"])) == (2, 2)
    assert len(shop.images()) == 3
    freed = shop.run("clear", "api", "-o", "json").json
    assert freed["bytes"] == planned["bytes"] > 0
    assert len(shop.images()) == 1
    assert [row["outcome"] for row in shop.history()] == ["succeeded"]
    assert shop.answer() == "three"
    assert len(list((shop.state_dir / "logs").rglob("*.log"))) == 1


def test_gc_keeps_as_many_as_retention_says(shop: Shop) -> None:
    shop.app(retention={"images": 2, "deployments": 2})
    for page in ("one", "two", "three", "four"):
        shop.repo.commit({"index.html": page})
        shop.apply()
    assert len(shop.images()) == 2
    shop.app(retention={"images": 1, "deployments": 1})
    dry = shop.run("gc", "--dry-run", "-o", "json").json
    assert (len(dry["images"]), len(dry["deployments"])) == (1, 1)
    shop.app(retention={"images": 2, "deployments": 2})
    shop.run("gc")
    assert len(shop.images()) == 2
    assert len(shop.history()) == 2
    assert shop.run("rollback", "api").code == 0
    assert shop.answer() == "three"
