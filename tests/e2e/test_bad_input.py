"""Broken input is refused with its place, and nothing changes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Shop
from tests.support.registry import PrivateRegistry

HEAD = (
    "version: 1\nproject: shop\napps:\n  api:\n    source: {git: https://git.example.com/api.git}\n"
)

BROKEN = {
    "unknown field": (HEAD + "    healht: {tcp: 80}\n", "apps.yaml:6:", "health"),
    "duplicate key": (
        HEAD + "    restart: always\n    restart: always\n",
        "apps.yaml:7:",
        "restart",
    ),
    "mistyped field": (HEAD + "    ports: 8080\n", "apps.yaml:6:", "ports"),
    "tab": (HEAD + "\tports: []\n", "apps.yaml:6:", "tab"),
    "empty": ("", "apps.yaml", "empty"),
    "bad range": (HEAD + '    revision: ">=1.x.y <"\n', "apps.yaml:6:", "range"),
    "ext transport": (HEAD.replace("https://", "ext::sh -c "), "apps.yaml:5:", "git"),
    "option as a URL": (HEAD.replace("https://", "--upload-pack="), "apps.yaml:5:", "git"),
    "subdir outside": (HEAD.replace("git}", "git, subdir: ../up}"), "apps.yaml:5:", "subdir"),
    "include outside": ("include: [../*.yaml]\n" + HEAD, "apps.yaml:1:", "include"),
    "no replicas": (HEAD + "    replicas: 0\n", "apps.yaml:6:", "replicas"),
    "one port twice": (
        HEAD
        + '    ports: ["8080:80"]\n  web:\n    source: {image: nginx}\n    ports: ["8080:80"]\n',
        "apps.yaml:9:",
        "8080",
    ),
}


@pytest.fixture
def serving(shop: Shop) -> Shop:
    shop.app()
    shop.apply()
    return shop


@pytest.mark.parametrize("name", BROKEN)
def test_broken_spec_is_refused_with_its_place(shop: Shop, name: str) -> None:
    text, place, word = BROKEN[name]
    shop.spec.write_text(text)
    for command in ("validate", "plan", "apply", "status"):
        assert not (shop.state_dir / "state.db").exists()
        done = shop.run(command)
        assert done.code == 78, done.out + done.err
        assert place in done.err
        assert word in done.err


def test_broken_spec_leaves_everything_running(serving: Shop) -> None:
    container = serving.container_id()
    for text in ("", "apps: [", "a: &a [*a]\n", HEAD + "    x: 1\n", "\0", "version: 2\n"):
        serving.spec.write_text(text)
        assert serving.run("apply", "--prune").code == 78
    serving.spec.write_bytes("project: caf\xe9\n".encode("latin-1"))
    assert serving.run("apply", "--prune").code == 78
    serving.spec.unlink()
    done = serving.run("apply", "--prune")
    assert done.code == 78
    assert "reconcile init" in done.err
    assert serving.container_id() == container
    assert serving.answer() == "one"


def test_spec_without_apps_removes_nothing(serving: Shop) -> None:
    container = serving.container_id()
    serving.apps.clear()
    serving.write()
    done = serving.run("apply", "--prune")
    assert done.code == 0
    assert serving.container_id() == container


def test_subdir_that_leaves_through_a_symlink(serving: Shop) -> None:
    (serving.repo.path / "link").symlink_to("/etc")
    serving.repo.git("add", "link")
    serving.repo.git("commit", "-m", "a link that leaves")
    serving.app(source={"git": serving.repo.url, "subdir": "link"})
    serving.apply(code=1)
    assert serving.answer() == "one"


def test_image_that_is_not_in_the_registry(shop: Shop, registry: PrivateRegistry) -> None:
    shop.app(source={"image": f"{registry.address}/{shop.project}/none"}, revision="1.0")
    done = shop.apply(code=1)
    assert f"{shop.project}/none" in done.out
    assert shop.containers() == []


def test_registry_that_refuses_the_credentials(
    shop: Shop, registry_auth: PrivateRegistry, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-password")
    credentials = {"username": registry_auth.user, "password": {"file": str(wrong)}}
    shop.app(
        image={
            "repository": f"{registry_auth.address}/{shop.project}",
            "push": True,
            "credentials": credentials,
        }
    )
    done = shop.apply(code=1)
    assert registry_auth.address in done.out
    assert "not-the-password" not in done.out + done.err
    right = tmp_path / "wrong"
    right.write_text(registry_auth.password + "\n")
    shop.apply()
    assert shop.answer() == "one"
    assert registry_auth.tags(shop.project)


def test_unknown_app_and_command_name_the_nearest(serving: Shop) -> None:
    done = serving.run("explain", "apy")
    assert done.code == 64
    assert "'api'" in done.err
    done = subprocess.run(
        [*serving.command("status")[:3], "stauts"], env=serving.env(), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 64
    assert "'status'" in done.stderr


def test_init_never_overwrites(shop: Shop) -> None:
    assert shop.run("init").code == 0
    assert shop.run("validate").code == 0
    text = shop.spec.read_text()
    assert shop.run("init").code == 64
    assert shop.spec.read_text() == text


def test_plan_detailed_exitcode(shop: Shop) -> None:
    shop.app()
    assert shop.run("plan", "--detailed-exitcode").code == 2
    assert shop.run("plan").code == 0
    shop.apply()
    assert shop.run("plan", "--detailed-exitcode").code == 0


def test_plan_writes_nothing(shop: Shop) -> None:
    shop.app()
    with shop.engine.recorder() as recorder:
        shop.environ["DOCKER_HOST"] = recorder.url
        assert shop.plan()["changes"] is True
        shop.run("explain", "api")
    assert recorder.writes == []
    del shop.environ["DOCKER_HOST"]
    assert shop.run("history", "-o", "json").json == {"deployments": []}


def test_doctor_tells_what_works(shop: Shop, registry: PrivateRegistry) -> None:
    shop.app(image={"repository": f"{registry.address}/x", "push": True})
    done = shop.run("doctor", "-o", "json")
    assert done.code == 0, done.out
    subjects = {finding["subject"] for finding in done.json["findings"]}
    assert subjects == {"spec", "engine", "builder", "git", "state", "registry"}
    shop.environ["DOCKER_HOST"] = "unix:///nowhere.sock"
    done = shop.run("doctor")
    assert done.code == 69
    assert "/nowhere.sock" in done.out


def test_apply_quiet_prints_only_what_happened(shop: Shop) -> None:
    shop.app()
    assert "succeeded" in shop.apply("-q").out
    done = shop.apply("-q")
    assert (done.out, done.err) == ("", "")


def test_json_goes_to_stdout_alone(shop: Shop) -> None:
    shop.app()
    done = shop.apply("-o", "json")
    assert done.json["deployments"][0]["outcome"] == "succeeded"
    again = shop.apply("-o", "json").json
    assert (again["changes"], again["actions"], again["deployments"]) == (False, [], [])


def test_secret_that_is_no_text_blocks_its_app_alone(shop: Shop) -> None:
    shop.environ["TOKEN"] = "\udcff\udcfe"  # bytes that aren't UTF-8
    shop.app(env={"TOKEN": {"env": "TOKEN"}})
    shop.app("web")
    done = shop.apply(code=1)
    assert "env.TOKEN refers to the environment variable TOKEN, which isn't UTF-8 text" in done.out
    assert "Traceback" not in done.err
    assert shop.answer("web") == "one"


def test_title_that_is_no_text(shop: Shop) -> None:
    shop.app()
    done = shop.run("deploy", "api", "--title", "caf\udce9", "--description", "\udcff")
    assert done.code == 0, done.err
    assert (shop.history()[0]["title"], shop.history()[0]["description"]) == ("caf?", "?")
    done = shop.run("rollback", "api", "--to", "\udce9")
    assert (done.code, "Traceback" in done.err) == (64, False)
