"""Control by hand, from another process than the one that deploys."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine import control
from reconciler.engine.wiring import open_tools
from reconciler.host.job import Job
from reconciler.host.lock import locked
from tests.e2e.conftest import DOCKERFILE, Shop, command_lines
from tests.support.gate import Gate

WaitUntil = Callable[..., Any]
IGNORES_TERM = DOCKERFILE.replace("STOPSIGNAL SIGKILL\n", "").replace(
    'CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]',
    "CMD trap '' TERM; httpd -f -p 8000 -h /www & while true; do sleep 1; done",
)


def slow(marker: int) -> str:
    """A command that no other run of the tests on this machine has."""
    return f"sleep {marker} {os.getpid()}"


def slow_build(marker: int) -> str:
    return f"FROM busybox:stable\nRUN {slow(marker)}\n"


def unfinished(shop: Shop, name: str = "api") -> dict[str, Any] | None:
    rows = [row for row in shop.history(name) if row["status"] in ("queued", "running")]
    return rows[0] if rows else None


def wait_for_stage(shop: Shop, stage: str, wait_until: WaitUntil, name: str = "api") -> None:
    def reached() -> bool:
        row = unfinished(shop, name)
        return row is not None and (row["status"], row["stage"]) == ("running", stage)

    wait_until(reached, timeout=30, message=f"{name} never reached the stage {stage}")


@contextmanager
def silent_server() -> Iterator[int]:
    """Accepts connections and never says a word; its port."""
    server = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                accepted.append(server.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for one in accepted:
            one.close()


def stop_in_process(shop: Shop, how: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, float]:
    """What `cancel` and `kill` do, from this process, and how many seconds it took."""
    for name, value in shop.engine.env().items():
        monkeypatch.setenv(name, value)
    with open_tools(shop.state_dir) as tools:
        started = time.monotonic()
        stop = getattr(control, how)(tools, f"{shop.project}/api")
        return stop, time.monotonic() - started


def assert_nothing_is_left(shop: Shop, container: str) -> None:
    assert shop.container_id() == container
    assert shop.answer() == "one"
    assert list((shop.state_dir / "checkouts").glob("*")) == []
    for lock in [shop.state_dir / "pass.lock", *shop.state_dir.glob("mirrors/*.lock")]:
        with locked(lock, Job(), 0.5):
            pass


@pytest.mark.alone
@pytest.mark.parametrize("stage", ["clone", "build", "push", "deploy", "health"])
def test_cancel_in_each_stage(
    shop: Shop, stage: str, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stage == "deploy":
        shop.repo.commit({"Dockerfile": IGNORES_TERM})
    shop.app(stop_grace_period="60s")
    shop.apply()
    container = shop.container_id()
    with silent_server() as port:
        if stage == "clone":
            submodule = f'[submodule "x"]\n\tpath = x\n\turl = http://127.0.0.1:{port}/x.git\n'
            shop.repo.write({".gitmodules": submodule})
            shop.repo.git("add", ".gitmodules")
            shop.repo.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},x")
            shop.repo.git("commit", "-m", "a submodule that never answers")
        elif stage == "build":
            shop.repo.commit({"Dockerfile": slow_build(7101)})
        elif stage == "push":
            shop.app(image={"repository": f"127.0.0.1:{port}/x", "push": True}, env={"A": "2"})
        elif stage == "health":
            shop.repo.commit({"Dockerfile": DOCKERFILE.replace("8000", "9000")})
        else:
            shop.app(stop_grace_period="60s", env={"A": "2"})
        applying = shop.start("apply")
        wait_for_stage(shop, stage, wait_until)
        stop, seconds = stop_in_process(shop, "cancel", monkeypatch)
        assert seconds < 1.0
        assert (stop.row.status, stop.row.outcome, stop.row.stage) == ("done", "cancelled", stage)
        assert applying.wait(10) == 1
        applying.communicate()
    assert slow(7101) not in command_lines()
    assert_nothing_is_left(shop, container)
    assert shop.status()["status"] == "idle"


def test_cancel_nothing_in_progress(shop: Shop) -> None:
    shop.app()
    done = shop.run("cancel", "api")
    assert done.code == 0
    assert "nothing is in progress" in done.out


def test_cancelled_version_is_left_alone_until_asked(shop: Shop, wait_until: WaitUntil) -> None:
    shop.app()
    shop.apply()
    shop.repo.commit({"Dockerfile": slow_build(7102)})
    applying = shop.start("apply")
    wait_for_stage(shop, "build", wait_until)
    assert shop.run("cancel", "api").code == 0
    applying.communicate()
    assert [action["action"] for action in shop.plan()["actions"]] == ["quarantine"]
    assert shop.answer() == "one"


def test_kill_one_of_two_builds(shop: Shop, wait_until: WaitUntil) -> None:
    gate = Gate()
    for name, step in (("api", f"RUN {slow(7103)}\n"), ("web", gate.step)):
        shop.repo.commit({f"{name}/Dockerfile": DOCKERFILE + step})
        shop.app(name, source={"git": shop.repo.url, "subdir": name}, health={"tcp": 8000})
    applying = shop.start("apply")
    wait_for_stage(shop, "build", wait_until, "api")
    wait_for_stage(shop, "build", wait_until, "web")
    done = shop.run("kill", "api")
    assert "killed" in done.out
    gate.open()
    assert applying.wait(60) == 1
    applying.communicate()
    assert (shop.history("api")[0]["outcome"], shop.status("api")["status"]) == ("killed", "error")
    assert shop.history("web")[0]["outcome"] == "succeeded"
    assert shop.containers("api") == []
    assert shop.containers("web")[0]["State"] == "running"
    assert slow(7103) not in command_lines()


def test_kill_owner_that_does_not_react(
    shop: Shop, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.app()
    shop.apply()
    container = shop.container_id()
    shop.repo.commit({"Dockerfile": slow_build(7104)})
    applying = shop.start("apply")
    wait_until(lambda: slow(7104) in command_lines(), timeout=20)
    os.kill(applying.pid, signal.SIGSTOP)
    stop, _ = stop_in_process(shop, "kill", monkeypatch)
    assert (stop.row.status, stop.row.outcome) == ("error", "killed")
    assert "process group" in stop.killed
    os.kill(applying.pid, signal.SIGCONT)
    applying.communicate(timeout=20)
    assert shop.history()[0]["outcome"] == "killed"
    wait_until(lambda: slow(7104) not in command_lines(), timeout=5)
    assert_nothing_is_left(shop, container)


def test_cancel_deployment_whose_owner_died(shop: Shop, wait_until: WaitUntil) -> None:
    shop.app()
    shop.apply()
    container = shop.container_id()
    shop.repo.commit({"Dockerfile": slow_build(7105)})
    applying = shop.start("apply")
    wait_for_stage(shop, "build", wait_until)
    applying.kill()
    applying.communicate()
    done = shop.run("cancel", "api")
    assert "cancelled" in done.out
    wait_until(lambda: slow(7105) not in command_lines(), timeout=5)
    assert_nothing_is_left(shop, container)


def test_fifty_commits_and_deploys_build_twice_at_most(shop: Shop, wait_until: WaitUntil) -> None:
    gate = Gate()
    shop.repo.commit({"Dockerfile": DOCKERFILE + gate.step})
    shop.app()
    applying = shop.start("apply")
    wait_for_stage(shop, "build", wait_until)
    from reconciler.spec.loader import load_spec

    loaded = load_spec(shop.spec)
    os.environ.update(shop.engine.env())
    with open_tools(shop.state_dir) as tools:
        for number in range(50):
            shop.repo.commit({"Dockerfile": DOCKERFILE, "index.html": f"page {number}"})
            control.deploy(tools, loaded, f"{shop.project}/api", control.Words())
    assert applying.poll() is None
    gate.open()
    applying.communicate(timeout=60)
    shop.apply()
    assert shop.answer() == "page 49"
    rows = shop.run("history", "api", "-n", "100", "-o", "json").json["deployments"]
    outcomes = [row["outcome"] for row in rows]
    assert outcomes.count("superseded") == 49
    assert sum("build" in shop.stages(row) for row in rows) <= 2


def test_clean_queues_takes_only_what_waits(shop: Shop, wait_until: WaitUntil) -> None:
    gate = Gate()
    shop.repo.commit({"Dockerfile": DOCKERFILE + gate.step})
    shop.app()
    applying = shop.start("apply")
    wait_for_stage(shop, "build", wait_until)
    shop.run("deploy", "api", "--no-wait")
    done = shop.run("clean-queues", "api")
    assert "Took 1 waiting deployment" in done.out
    gate.open()
    assert applying.wait(60) == 0
    applying.communicate()
    outcomes = [row["outcome"] for row in shop.history()]
    assert outcomes == ["cancelled", "succeeded"]
    assert shop.run("clean-queues", "--all").out.startswith("Took 0")


def test_worker_killed_while_its_deployment_waits(shop: Shop, wait_until: WaitUntil) -> None:
    gate = Gate()
    shop.repo.commit({"Dockerfile": DOCKERFILE + gate.step})
    shop.app()
    applying = shop.start("apply")
    wait_for_stage(shop, "build", wait_until)
    waiting = shop.start("deploy", "api")

    def worker() -> int:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"work" in words and str(shop.state_dir).encode() in words:
                return int(path.parent.name)
        return 0

    os.kill(wait_until(worker, timeout=10), signal.SIGKILL)
    gate.open()
    applying.communicate(timeout=30)
    _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, err
    assert [row["outcome"] for row in shop.history()] == ["succeeded", "succeeded"]


def test_no_wait_keeps_to_the_concurrency(shop: Shop, wait_until: WaitUntil) -> None:
    shop.repo.commit({"Dockerfile": DOCKERFILE + "RUN sleep 1\n"})
    shop.top["concurrency"] = 1
    for name in ("api", "web"):
        shop.app(name, build={"args": {"NAME": name}})
    shop.apply("--no-wait")
    wait_until(lambda: not unfinished(shop, "api") and not unfinished(shop, "web"), timeout=60)
    api, web = sorted((shop.history(n)[0] for n in ("api", "web")), key=lambda r: r["started_at"])
    assert api["finished_at"] <= web["started_at"]


def test_stage_over_its_time_fails_with_the_reason(shop: Shop) -> None:
    shop.app()
    shop.apply()
    container = shop.container_id()
    shop.repo.commit({"Dockerfile": slow_build(7106)})
    shop.app(timeouts={"build": "2s"})
    shop.apply(code=1)
    row = shop.history()[0]
    assert (row["outcome"], row["stage"]) == ("failed", "build")
    assert "longer than 2s" in row["reason"]
    assert slow(7106) not in command_lines()
    assert_nothing_is_left(shop, container)


def test_ctrl_c_while_waiting_lets_the_deployment_go_on(shop: Shop, wait_until: WaitUntil) -> None:
    gate = Gate()
    shop.repo.commit({"Dockerfile": DOCKERFILE + gate.step})
    shop.app()
    waiting = shop.start("deploy", "api")
    wait_for_stage(shop, "build", wait_until)
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=10)
    assert waiting.returncode == 130
    assert "reconcile cancel api" in err
    gate.open()
    wait_until(lambda: unfinished(shop) is None, timeout=30)
    assert shop.history()[0]["outcome"] == "succeeded"
    assert shop.answer() == "one"


def test_ctrl_c_of_apply_ends_what_it_runs(shop: Shop, wait_until: WaitUntil) -> None:
    shop.app()
    shop.apply()
    container = shop.container_id()
    shop.repo.commit({"Dockerfile": slow_build(7107)})
    applying = shop.start("apply")
    wait_for_stage(shop, "build", wait_until)
    applying.send_signal(signal.SIGINT)
    applying.communicate(timeout=10)
    assert applying.returncode == 130
    assert shop.history()[0]["outcome"] == "interrupted"
    assert slow(7107) not in command_lines()
    assert_nothing_is_left(shop, container)
    shop.repo.commit({"Dockerfile": DOCKERFILE})
    shop.apply()


def test_sigterm_of_apply_ends_what_it_runs(shop: Shop, wait_until: WaitUntil) -> None:
    shop.app()
    shop.apply()
    container = shop.container_id()
    shop.repo.commit({"Dockerfile": slow_build(7109)})
    applying = shop.start("apply")
    wait_for_stage(shop, "build", wait_until)
    applying.terminate()
    applying.communicate(timeout=10)
    assert applying.returncode == 130
    assert shop.history()[0]["outcome"] == "interrupted"
    assert slow(7109) not in command_lines()
    assert_nothing_is_left(shop, container)


@pytest.mark.parametrize("spec", ["without it", "broken"])
def test_cancel_whatever_the_spec_says_now(shop: Shop, spec: str, wait_until: WaitUntil) -> None:
    shop.app()
    shop.app("web")
    shop.apply()
    container = shop.container_id()
    shop.repo.commit({"Dockerfile": slow_build(7110)})
    del shop.apps["web"]
    shop.write()
    applying = shop.start("apply")
    wait_for_stage(shop, "build", wait_until)
    if spec == "broken":
        shop.spec.write_text("apps: [")
    else:
        shop.app("web")
        del shop.apps["api"]
        shop.write()
    done = shop.run("cancel", "api")
    assert done.code == 0, done.err
    assert "cancelled" in done.out
    applying.communicate(timeout=10)
    shop.app()
    assert_nothing_is_left(shop, container)
    assert shop.history()[0]["outcome"] == "cancelled"


def test_twenty_applies_at_once_deploy_each_app_once(shop: Shop) -> None:
    for name in ("api", "web", "job"):
        shop.app(name)
    applying = [shop.start("apply") for _ in range(20)]
    ends = [(one.communicate(timeout=120), one.returncode) for one in applying]
    assert {code for _, code in ends} <= {0, 75}, ends
    for name in ("api", "web", "job"):
        assert [row["outcome"] for row in shop.history(name)] == ["succeeded"]
        shop.container_id(name)


def test_clear_keeps_the_image_that_a_deployment_found(shop: Shop, wait_until: WaitUntil) -> None:
    shop.app()
    shop.apply()
    (found,) = shop.images()
    shop.repo.commit({"index.html": "two"})
    shop.apply()
    shop.state_dir = shop.state_dir.with_name("another")  # which knows of no build
    shop.apply()
    with silent_server() as port:
        shop.app(image={"repository": f"127.0.0.1:{port}/x", "push": True})
        shop.repo.commit({"index.html": "one"})
        applying = shop.start("apply")
        wait_for_stage(shop, "push", wait_until)
        shop.run("clear", "api")
        assert found in shop.images()
        shop.run("cancel", "api")
        applying.communicate(timeout=20)


def test_another_terminal_follows_cancels_and_explains(shop: Shop, wait_until: WaitUntil) -> None:
    shop.app()
    shop.apply()
    shop.repo.commit({"Dockerfile": "FROM busybox:stable\nRUN echo working hard && sleep 7108\n"})
    applying = shop.start("apply")
    wait_for_stage(shop, "build", wait_until)
    following = shop.start("logs", "api", "-f")
    explained = shop.run("explain", "api").out
    assert "running" in explained
    wait_until(lambda: "working hard" in shop.run("logs", "api").out, timeout=20)
    shop.run("cancel", "api")
    out, _ = following.communicate(timeout=10)
    assert "working hard" in out
    assert "cancelled" in out
    applying.communicate(timeout=10)


def test_commands_without_a_spec_say_what_to_do(shop: Shop) -> None:
    done = subprocess.run(
        shop.command("apply"), env=shop.env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "reconcile init" in done.stderr


def test_apply_behind_a_deployment_by_hand_still_gets_to_the_spec(
    shop: Shop, wait_until: WaitUntil
) -> None:
    first = shop.repo.commit({"Dockerfile": DOCKERFILE + "RUN sleep 2\n", "index.html": "slow"})
    shop.app()
    shop.run("deploy", "api", "--revision", first, "--no-wait")
    wait_for_stage(shop, "build", wait_until)
    shop.repo.commit({"Dockerfile": DOCKERFILE, "index.html": "newest"})
    shop.apply()
    assert shop.answer() == "newest"
