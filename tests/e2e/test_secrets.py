"""A secret reaches the container and the build, and nothing else."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.e2e.conftest import DOCKERFILE, Shop, command_lines, files_below
from tests.source.servers import GitHttp

SECRET = "s3cr3t-value-42"
SLOW_BUILD = DOCKERFILE + "RUN --mount=type=secret,id=token test -s /run/secrets/token && sleep 1\n"


def test_secret_is_nowhere_but_in_the_container(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    shop.environ["SHOP_TOKEN"] = SECRET + "-env"
    shop.repo.commit({"Dockerfile": SLOW_BUILD})
    shop.app(
        env={"PASSWORD": {"file": str(file)}, "TOKEN": {"env": "SHOP_TOKEN"}},
        build={"secrets": {"token": {"env": "SHOP_TOKEN"}}},
        command=["sh", "-c", 'echo "password is $PASSWORD"; exec httpd -f -p 8000 -h /www'],
    )
    seen: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(command_lines())

    watcher = threading.Thread(target=watch)
    watcher.start()
    outputs = [shop.apply("-v")]
    done.set()
    watcher.join()
    assert any("docker" in text and "build" in text for text in seen)
    environment = shop.engine.inspect(shop.container_id())["Config"]["Env"]
    assert f"PASSWORD={SECRET}" in environment
    assert f"TOKEN={SECRET}-env" in environment
    outputs += [
        shop.run(*arguments)
        for arguments in (
            ("plan",), ("status", "-o", "json"), ("history", "-o", "json"),
            ("logs", "api"), ("explain", "api", "-o", "json"), ("plan", "-o", "json"),
        )
    ]  # fmt: skip
    assert not [one for one in outputs if SECRET in one.out + one.err]
    assert not [text for text in seen if SECRET in text]
    leaks = [path for path in files_below(shop.state_dir) if SECRET.encode() in path.read_bytes()]
    assert leaks == []
    assert SECRET not in shop.engine.docker("history", "--no-trunc", shop.status()["image"])


def test_secret_that_breaks_an_app_is_hidden_in_the_reason(shop: Shop) -> None:
    shop.environ["SHOP_TOKEN"] = SECRET
    shop.repo.commit(
        {"Dockerfile": 'FROM busybox:stable\nCMD echo "token $TOKEN refused"; exit 2\n'}
    )
    shop.app(env={"TOKEN": {"env": "SHOP_TOKEN"}})
    done = shop.apply("-v", code=1)
    log = shop.run("logs", "api").out
    assert "refused" in log
    assert SECRET not in done.out + done.err + log


def test_changed_secret_restarts_with_its_name_as_cause(shop: Shop) -> None:
    shop.environ["SHOP_TOKEN"] = "first-secret"
    shop.app(env={"TOKEN": {"env": "SHOP_TOKEN"}})
    shop.apply()
    shop.environ["SHOP_TOKEN"] = "second-secret"
    shop.apply()
    row = shop.history()[0]
    assert row["cause"] == "env.TOKEN changed"
    assert shop.stages(row) == ["deploy", "health"]


def test_credentials_inside_a_git_url_are_never_shown(shop: Shop) -> None:
    shop.app(source={"git": f"http://deployer:{SECRET}@127.0.0.1:9/shop.git"})
    outputs = [
        shop.run("apply"),
        shop.run("plan"),
        shop.run("explain", "api"),
        shop.run("validate"),
    ]
    assert not [one for one in outputs if SECRET in one.out + one.err]
    leaks = [path for path in files_below(shop.state_dir) if SECRET.encode() in path.read_bytes()]
    assert leaks == []


def test_credentials_inside_a_git_url_work_and_are_not_written_down(
    shop: Shop, tmp_path: Path
) -> None:
    with GitHttp(tmp_path / "git") as host:
        host.password = SECRET
        url = f"{host.scheme}://{host.user}:{SECRET}@{host.url('app').partition('://')[2]}"
        shop.repo.commit({"Dockerfile": DOCKERFILE, "index.html": "private"})
        shop.app(source={"git": url})
        outputs = [shop.apply("-v"), shop.run("deploy", "api"), shop.run("redeploy", "api")]
        assert [one.code for one in outputs] == [0, 0, 0]
    assert shop.answer() == "private"
    outputs += [shop.run("explain", "api"), shop.run("history", "-o", "json")]
    assert not [one for one in outputs if SECRET in one.out + one.err]
    leaks = [path for path in files_below(shop.state_dir) if SECRET.encode() in path.read_bytes()]
    assert leaks == []
