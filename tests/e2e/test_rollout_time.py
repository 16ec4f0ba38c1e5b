"""Renames, scheduled rebuilds and the order of apps, on a real engine."""

from __future__ import annotations

import sqlite3

from tests.e2e.conftest import DOCKERFILE, Shop
from tests.support.registry import PrivateRegistry


def test_renamed_app_keeps_its_container_until_the_next_version(shop: Shop) -> None:
    shop.top["prune"] = True
    shop.app("old")
    shop.apply()
    container = shop.container_id("old")
    shop.apps = {"new": {**shop.apps["old"], "previously": "old"}}
    shop.write()
    assert [a["cause"] for a in shop.plan()["actions"]] == ["renamed from old"]
    shop.apply()
    assert shop.container_id("old") == container
    assert shop.engine.inspect(container)["Name"] == f"/{shop.project}-new"
    assert shop.run("logs", "new").out
    assert (shop.status("new")["health"], len(shop.history("new"))) == ("healthy", 1)
    assert shop.plan()["actions"] == []
    shop.repo.commit({"index.html": "two"})
    shop.apply()
    assert shop.containers("old") == []
    assert shop.answer("new") == "two"


def test_scheduled_rebuild_restarts_only_for_a_new_base_image(
    shop: Shop, registry: PrivateRegistry
) -> None:
    base = f"{shop.project}/base"
    _put_base(shop, registry, base, "first")
    dockerfile = DOCKERFILE.replace("busybox:stable", f"{registry.address}/{base}:1")
    shop.repo.commit({"Dockerfile": dockerfile})
    shop.app(schedule="* * * * *")
    shop.apply()
    container = shop.container_id()
    _age(shop)
    shop.apply()
    row = shop.history()[0]
    assert (row["kind"], row["trigger"], row["outcome"]) == ("redeploy", "schedule", "succeeded")
    assert row["reason"]
    assert shop.stages(row) == ["clone", "build"]
    assert shop.container_id() == container
    _put_base(shop, registry, base, "second")
    _age(shop)
    shop.apply()
    assert shop.stages(shop.history()[0]) == ["clone", "build", "deploy", "health"]
    assert shop.container_id() != container
    assert shop.answer(path="/base") == "second\n"


def _put_base(shop: Shop, registry: PrivateRegistry, name: str, text: str) -> None:
    dockerfile = f"FROM busybox:stable\nRUN mkdir -p /www && echo {text} >/www/base\n"
    shop.engine.docker("build", "-q", "-t", f"{shop.project}-{text}", "-", stdin=dockerfile)
    registry.put(name, "1", f"{shop.project}-{text}")


def _age(shop: Shop) -> None:
    """As if everything so far had been asked for two minutes ago."""
    connection = sqlite3.connect(shop.state_dir / "state.db")
    with connection:
        connection.execute("UPDATE deployments SET queued_at = queued_at - 120")
    connection.close()


def test_apply_deploys_a_dependency_first_and_its_dependant_goes_on_by_itself(shop: Shop) -> None:
    shop.app("api", depends_on=["zdb"])
    shop.app("zdb")
    shop.apply()
    api, database = shop.history("api")[0], shop.history("zdb")[0]
    assert database["finished_at"] <= api["started_at"]
    assert "Nothing to do." in shop.apply().out
    shop.app("api", depends_on=["zdb"], env={"A": "1"})
    shop.app("zdb", command=["no-such-program"])
    shop.apply(code=1)
    assert shop.status("api")["held_back"].startswith("waits for zdb, which failed")
    shop.app("zdb")
    shop.apply()
    assert "A=1" in shop.engine.inspect(shop.container_id("api"))["Config"]["Env"]
    assert shop.status("api")["held_back"] == ""


def test_apply_says_what_waits_for_a_window(shop: Shop) -> None:
    shop.app(windows=[{"deny": "* * * * *", "for": "1h"}])
    done = shop.apply()
    assert "Nothing to do." not in done.out
    assert shop.history() == []
    assert shop.apply("--quiet").out == ""
    assert shop.status()["held_back"]
    assert shop.run("deploy", "api").code == 0
    assert shop.history()[0]["cause"].endswith("outside its windows")
