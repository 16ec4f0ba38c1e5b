"""Every row of the table of the least work, counted on a real engine."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.conftest import DOCKERFILE, Shop
from tests.support.gitrepo import GitRepo
from tests.support.registry import PrivateRegistry


def test_apply_first_time_builds_and_deploys(shop: Shop) -> None:
    shop.app()
    shop.apply()
    assert shop.answer() == "one"
    (row,) = shop.history()
    assert (row["status"], row["outcome"], row["cause"]) == (
        "done",
        "succeeded",
        "not deployed yet",
    )
    assert shop.stages(row) == ["clone", "build", "deploy", "health"]
    assert shop.status()["status"] == "done"


def test_apply_again_changes_nothing(shop: Shop) -> None:
    shop.app()
    shop.app("web")
    shop.apply()
    before = [shop.container_id(), shop.container_id("web")]
    with shop.engine.recorder() as recorder:
        shop.environ["DOCKER_HOST"] = recorder.url
        done = shop.apply()
    assert recorder.writes == []
    assert [line.split("?")[0] for line in recorder.requests] == ["GET /containers/json"]
    assert "Nothing to do." in done.out
    del shop.environ["DOCKER_HOST"]
    assert [shop.container_id(), shop.container_id("web")] == before
    assert len(shop.history()) == 1


def test_commit_that_touches_nothing_of_the_app(shop: Shop) -> None:
    shop.repo.commit({"services/api/Dockerfile": DOCKERFILE, "services/api/index.html": "one"})
    shop.app(source={"git": shop.repo.url, "subdir": "services/api"})
    shop.apply()
    container = shop.container_id()
    newest = shop.repo.commit({"README": "other"})
    assert shop.plan()["changes"] is False
    shop.apply()
    assert shop.container_id() == container
    assert len(shop.history()) == 1
    assert shop.status()["resolved_revision"] == newest


def test_commit_that_touches_the_source(shop: Shop) -> None:
    shop.app()
    shop.apply()
    container = shop.container_id()
    first = shop.repo.head
    second = shop.repo.commit({"index.html": "two"})
    shop.apply()
    assert shop.answer() == "two"
    assert shop.container_id() != container
    row = shop.history()[0]
    assert row["cause"] == f"revision {first[:7]} → {second[:7]}"
    assert shop.stages(row) == ["clone", "build", "deploy", "health"]


def test_commit_that_touches_a_watched_path(shop: Shop) -> None:
    shop.repo.commit(
        {
            "services/api/Dockerfile": DOCKERFILE,
            "services/api/index.html": "one",
            "libs/common/x": "1",
        }
    )
    shop.app(source={"git": shop.repo.url, "subdir": "services/api", "watch": ["libs/common"]})
    shop.apply()
    shop.repo.commit({"libs/common/x": "2"})
    shop.apply()
    row = shop.history()[0]
    assert row["cause"].endswith("(touches libs/common)")
    assert "build" in shop.stages(row)


def test_build_section_changed(shop: Shop) -> None:
    shop.repo.commit({"Dockerfile": "FROM busybox:stable AS base\n" + DOCKERFILE + "ARG COLOUR\n"})
    shop.app()
    shop.apply()
    shop.app(build={"args": {"COLOUR": "blue"}})
    shop.apply()
    row = shop.history()[0]
    assert row["cause"] == "build.args.COLOUR added"
    assert shop.stages(row) == ["clone", "build", "deploy", "health"]


def test_back_to_a_revision_already_built_builds_nothing(shop: Shop) -> None:
    first = shop.repo.head
    shop.app()
    shop.apply()
    image = shop.status()["image"]
    shop.repo.commit({"index.html": "two"})
    shop.apply()
    images = shop.images()
    shop.app(revision=first)
    shop.apply()
    assert shop.answer() == "one"
    assert shop.status()["image"] == image
    assert shop.images() == images
    assert shop.stages(shop.history()[0]) == ["deploy", "health"]


def test_environment_changed_restarts_from_the_image(shop: Shop) -> None:
    shop.app(env={"LOG_LEVEL": "info"})
    shop.apply()
    container, images = shop.container_id(), shop.images()
    shop.app(env={"LOG_LEVEL": "debug"})
    shop.apply()
    assert shop.container_id() != container
    assert shop.images() == images
    row = shop.history()[0]
    assert row["cause"] == "env.LOG_LEVEL changed"
    assert shop.stages(row) == ["deploy", "health"]
    inspected = shop.engine.inspect(shop.container_id())
    assert "LOG_LEVEL=debug" in inspected["Config"]["Env"]


def test_ports_volumes_command_and_resources_restart_from_the_image(shop: Shop) -> None:
    shop.app()
    shop.apply()
    images = shop.images()
    changes = {
        "volumes": [f"{shop.project}-data:/data"],
        "command": ["httpd", "-f", "-p", "8000", "-h", "/www", "-v"],
        "resources": {"memory": "64m"},
    }
    for name, value in changes.items():
        shop.app(**{name: value})
        shop.apply()
        assert name in shop.history()[0]["cause"]
    assert shop.images() == images
    assert shop.engine.inspect(shop.container_id())["HostConfig"]["Memory"] == 64 << 20


def test_push_turned_on_only_pushes(shop: Shop, registry: PrivateRegistry) -> None:
    shop.app()
    shop.apply()
    container = shop.container_id()
    repository = f"{registry.address}/{shop.project}/api"
    shop.app(image={"repository": repository, "push": True})
    shop.apply()
    assert shop.container_id() == container
    row = shop.history()[0]
    assert shop.stages(row) == ["push"]
    (tag,) = registry.tags(f"{shop.project}/api")
    assert row["digest"] == registry.digest(f"{shop.project}/api", tag)
    assert shop.plan()["actions"] == []


def test_health_retention_and_title_are_only_recorded(shop: Shop) -> None:
    shop.app()
    shop.apply()
    container = shop.container_id()
    shop.app(title="Shop", retention={"images": 5}, health={"tcp": 8000})
    assert [a["action"] for a in shop.plan()["actions"]] == ["record"]
    shop.apply()
    assert shop.container_id() == container
    assert len(shop.history()) == 1
    assert shop.plan()["actions"] == []


def test_container_removed_is_healed_without_a_build(shop: Shop) -> None:
    shop.app()
    shop.apply()
    images = shop.images()
    shop.engine.docker("rm", "-f", shop.container_id())
    shop.apply()
    assert shop.answer() == "one"
    assert shop.images() == images
    row = shop.history()[0]
    assert (row["kind"], row["cause"]) == ("heal", "container was removed")
    assert shop.stages(row) == ["deploy", "health"]


def test_container_stopped_is_healed(shop: Shop) -> None:
    shop.app()
    shop.apply()
    shop.engine.docker("kill", shop.container_id())
    shop.apply()
    assert shop.history()[0]["cause"] == "container exited with 137 (killed)"
    assert shop.answer() == "one"


def test_container_unhealthy_is_healed_without_a_build(
    shop: Shop, wait_until: Callable[..., object]
) -> None:
    check = "HEALTHCHECK --interval=1s --retries=1 CMD test ! -e /tmp/sick\n"
    shop.repo.commit({"Dockerfile": DOCKERFILE + check})
    shop.app(health={"timeout": "20s"})
    shop.apply()
    images = shop.images()
    shop.engine.docker("exec", shop.container_id(), "touch", "/tmp/sick")
    wait_until(lambda: shop.status()["health"] == "unhealthy", timeout=20)
    shop.apply()
    row = shop.history()[0]
    assert (row["kind"], row["cause"]) == ("heal", "container is unhealthy")
    assert shop.stages(row) == ["deploy", "health"]
    assert shop.images() == images
    assert shop.answer() == "one"


def test_app_gone_from_the_spec_stays_without_pruning(shop: Shop) -> None:
    shop.app()
    shop.app("web")
    shop.apply()
    container = shop.container_id("web")
    del shop.apps["web"]
    shop.write()
    shop.apply()
    assert shop.container_id("web") == container
    shop.apply("--prune")
    assert shop.containers("web") == []
    assert shop.answer() == "one"


def test_state_lost_running_containers_are_adopted(shop: Shop) -> None:
    shop.app(env={"A": "1"})
    shop.apply()
    container = shop.container_id()
    for path in shop.state_dir.glob("state.db*"):
        path.unlink()
    shop.apply()
    assert shop.container_id() == container
    assert shop.status()["status"] == "done"
    assert shop.plan()["actions"] == []


def test_image_source_new_version_in_the_range(shop: Shop, registry: PrivateRegistry) -> None:
    name = f"{shop.project}/web"
    for tag, page in (("1.4.0", "old"), ("1.4.1", "new"), ("2.0.0", "next")):
        shop.engine.docker(
            "build", "-q", "-t", f"{shop.project}-{tag}", "-",
            stdin=f"FROM busybox:stable\nRUN mkdir /www && echo {page} >/www/index.html\n"
            'STOPSIGNAL SIGKILL\nCMD ["httpd","-f","-p","8000","-h","/www"]\n',
        )  # fmt: skip
    registry.put(name, "1.4.0", f"{shop.project}-1.4.0")
    shop.app("web", source={"image": f"{registry.address}/{name}"}, revision=">=1.4 <2")
    shop.apply()
    assert shop.answer("web").strip() == "old"
    digest = registry.put(name, "1.4.1", f"{shop.project}-1.4.1")
    registry.put(name, "2.0.0", f"{shop.project}-2.0.0")
    shop.apply()
    assert shop.answer("web").strip() == "new"
    assert shop.status("web")["resolved_revision"] == digest
    assert shop.stages(shop.history("web")[0]) == ["clone", "deploy", "health"]


def test_path_source_edited_directory(shop: Shop) -> None:
    (shop.directory / "site").mkdir()
    (shop.directory / "site" / "index.html").write_text("hello")
    shop.app("site", source={"path": "./site"}, build={"static": "."}, health={"tcp": 8080})
    shop.apply()
    assert shop.answer("site", port=8080) == "hello"
    (shop.directory / "site" / "index.html").write_text("bye")
    shop.apply()
    assert shop.answer("site", port=8080) == "bye"
    assert shop.plan()["actions"] == []


def test_monorepo_only_the_touched_app_is_deployed(
    shop: Shop, git_repo: Callable[[str], GitRepo]
) -> None:
    files = {f"{name}/Dockerfile": DOCKERFILE for name in ("api", "web")}
    shop.repo.commit({**files, "api/index.html": "api 1", "web/index.html": "web 1"})
    for name in ("api", "web"):
        shop.app(name, source={"git": shop.repo.url, "subdir": name})
    shop.apply()
    api = shop.container_id("api")
    shop.repo.commit({"web/index.html": "web 2"})
    shop.apply()
    assert (shop.answer("api"), shop.answer("web")) == ("api 1", "web 2")
    assert shop.container_id("api") == api


def test_renamed_app_takes_the_port_of_the_one_that_goes(shop: Shop) -> None:
    shop.app("zold", ports=["127.0.0.1:18199:8000"])
    shop.top["prune"] = True
    shop.top["concurrency"] = 1
    shop.write()
    shop.apply()
    del shop.apps["zold"]
    shop.app("anew", ports=["127.0.0.1:18199:8000"])
    shop.apply()
    assert shop.containers("zold") == []
    assert shop.answer("anew") == "one"
