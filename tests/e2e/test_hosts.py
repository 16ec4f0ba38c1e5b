"""Apps on several machines: rolled out one after the other, moved, and with a machine cut off."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Daemon, Shop
from tests.support.engine import DockerFailed, PrivateEngine
from tests.support.sshd import SshHost

Wait = Callable[..., Any]
HEALTH = {"command": ["sh", "-c", "sleep ${PAUSE:-0}; wget -q -O - http://127.0.0.1:8000"]}
REFUSED = "$(cat /data/refused 2>/dev/null || echo bad)"
SERVE = f'! grep "{REFUSED}" /www/index.html && exec httpd -f -p 8000 -h /www'


@pytest.fixture
def other(shop: Shop, ssh_host: SshHost) -> Iterator[PrivateEngine]:
    """The engine of the host web2, on which nobody has a container of this project yet."""
    engine = ssh_host.engine
    shop.top = {"hosts": {"web2": {"docker": engine.url, "address": ssh_host.address}}}
    yield engine
    engine.discard(shop.project)


def _app(shop: Shop, *hosts: str, name: str = "api", **fields: Any) -> None:
    volumes = [f"{shop.project}-data:/data"]
    fields |= {"command": ["sh", "-c", SERVE], "restart": "no", "volumes": volumes}
    shop.app(name, host=list(hosts), health=HEALTH, **fields)


def _refuse(engine: PrivateEngine, shop: Shop, page: str) -> None:
    """From now on this page doesn't start there."""
    mount, script = f"{shop.project}-data:/data", f"echo {page} >/data/refused"
    engine.docker("run", "--rm", "-v", mount, "busybox:stable", "sh", "-c", script)


def _running(engine: PrivateEngine, shop: Shop, name: str = "api") -> list[str]:
    found = engine.containers(f"reconciler.app={shop.project}/{name}", running_only=True)
    return [one["Id"] for one in found]


def _all(engine: PrivateEngine, shop: Shop, name: str = "api") -> list[str]:
    return [one["Id"] for one in engine.containers(f"reconciler.app={shop.project}/{name}")]


def _page(engine: PrivateEngine, shop: Shop, name: str = "api") -> str:
    (one,) = _running(engine, shop, name)
    return engine.docker("exec", one, "cat", "/www/index.html").strip()


def _outcomes(shop: Shop, name: str = "api") -> list[str]:
    """Newest first."""
    return [row["outcome"] for row in shop.history(name)]


def test_hosts_are_rolled_one_after_the_other_and_the_first_failure_stops(
    shop: Shop, engine: PrivateEngine, other: PrivateEngine
) -> None:
    _app(shop, "local", "web2")
    shop.apply()
    assert _page(engine, shop) == _page(other, shop) == "one"
    assert shop.plan()["actions"] == []
    before = _running(engine, shop), _running(other, shop)

    shop.commit_page("bad")
    shop.apply(code=1)
    assert _outcomes(shop)[0] == "rolled_back"
    assert (_all(engine, shop), _all(other, shop)) == before
    assert (_running(engine, shop), _running(other, shop)) == before

    _refuse(other, shop, "two")
    shop.commit_page("two")
    shop.apply(code=1)
    assert _outcomes(shop)[0] == "rolled_back"
    assert (_running(engine, shop), _running(other, shop)) == before
    assert (_all(engine, shop), _all(other, shop)) == before
    assert shop.history()[0]["reason"].startswith("replica 1 on web2: ")


def test_app_moves_when_the_new_place_is_verified(
    shop: Shop, engine: PrivateEngine, other: PrivateEngine, wait_until: Wait
) -> None:
    _app(shop, "local", env={"PAUSE": "1"})
    shop.apply()
    old = _running(engine, shop)

    _app(shop, "web2", env={"PAUSE": "1"})
    (action,) = shop.plan()["actions"]
    assert (action["action"], action["cause"]) == ("move", "host: local → web2")
    assert f"{shop.project}-data stays on local" in action["todo"]

    # Killed in the middle: the old one goes on, and the next one brings it to its end.
    process = shop.start("apply")
    wait_until(lambda: _running(other, shop), timeout=30)
    process.kill()
    process.communicate()
    assert _running(engine, shop) == old
    process = shop.start("apply")
    served = []
    while process.poll() is None:
        served.append(_running(engine, shop) == old or len(_running(other, shop)) == 1)
    process.communicate()
    assert process.returncode == 0
    assert all(served)
    assert _page(other, shop) == "one"
    assert _all(engine, shop) == []
    assert _outcomes(shop) == ["succeeded", "succeeded"]

    # Back, and the host is gone from the spec with the app; it fails first.
    new = _all(other, shop)
    _refuse(engine, shop, "one")
    _app(shop, "local", env={"PAUSE": "1"})
    shop.top = {}
    shop.write()
    shop.apply(code=1)
    assert (_all(other, shop), _all(engine, shop)) == (new, [])
    assert _running(other, shop) == new
    engine.docker("volume", "rm", f"{shop.project}-data")
    assert shop.run("deploy", "api").code == 0
    assert (_all(other, shop), _page(engine, shop)) == ([], "one")


def test_app_leaves_a_host_that_is_dead(
    shop: Shop, engine: PrivateEngine, other: PrivateEngine
) -> None:
    """And what is left over there is removed if it comes back after all."""
    hosts = dict(shop.top["hosts"])
    with engine.recorder() as dead:
        shop.top["hosts"] = {**hosts, "web1": {"docker": dead.url}}
        _app(shop, "web1")
        shop.apply()
        left = _running(engine, shop)
        with dead.away():
            _app(shop, "web1", env={"A": "b"})
            (action,) = shop.plan()["actions"]
            assert (action["action"], "web1" in action["cause"]) == ("block", True)
            _app(shop, "web2")
            shop.apply()
            assert _page(other, shop) == "one"
        assert _running(engine, shop) == left
        shop.apply()
        assert _all(engine, shop) == []
        assert _page(other, shop) == "one"

        _app(shop, "web1")
        shop.apply()
        assert (len(_running(engine, shop)), _all(other, shop)) == (1, [])
        with dead.away():  # for good
            shop.top["hosts"] = hosts
            _app(shop, "web2")
            shop.apply()
            assert _page(other, shop) == "one"
            assert shop.plan()["actions"] == []


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _has_env(engine: PrivateEngine, shop: Shop, line: str) -> bool:
    """Whether the app has just one container, with this in its environment."""
    found = _all(engine, shop)
    with suppress(DockerFailed):  # it may be gone by now
        return len(found) == 1 and line in engine.docker("inspect", found[0])
    return False


def _said_of_web1(daemon: Daemon) -> list[str]:
    return [line["level"] for line in daemon.lines("engine") if line.get("host") == "web1"]


def test_host_is_cut_off_in_the_middle_of_a_deployment(
    shop: Shop,
    engine: PrivateEngine,
    other: PrivateEngine,
    make_ssh_host: Callable[[], SshHost],
    wait_until: Wait,
) -> None:
    host = make_ssh_host()
    (shop.directory / "key").write_text(host.access.ssh_key)
    (shop.directory / "known").write_text(host.access.known_hosts)
    keys = {"ssh_key": {"file": "key"}, "known_hosts": {"file": "known"}}
    shop.top["hosts"]["web1"] = {"docker": host.access.url, **keys}
    _app(shop, "web1", env={"PAUSE": "1"})
    _app(shop, "web2", name="web")
    with shop.daemon() as daemon:
        wait_until(lambda: _outcomes(shop) == _outcomes(shop, "web") == ["succeeded"], timeout=40)
        old = _running(engine, shop)
        web = _running(other, shop, "web")

        _app(shop, "web1", env={"PAUSE": "2"})
        wait_until(lambda: set(_running(engine, shop)) - set(old), timeout=20)
        with host.cut_off():
            _app(shop, "web2", name="web", env={"SAYS": "hello"})
            wait_until(lambda: len(_outcomes(shop, "web")) == 2, timeout=40)
            wait_until(lambda: _outcomes(shop, "web")[0] == "succeeded", timeout=40)
            assert _running(other, shop, "web") != web
            wait_until(lambda: _said_of_web1(daemon) == ["warning"], timeout=40)
            spent = _cpu_seconds(daemon.process.pid)
            assert shop.run("deploy", "api", "--no-wait").code == 0
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: "failed" in _outcomes(shop), timeout=60)
            wait_until(lambda: any("block" in line["text"] for line in daemon.lines("held back")))
            assert _cpu_seconds(daemon.process.pid) - spent < 2.0
            assert len(_all(engine, shop)) == 2  # the old one is set aside, and nobody touches it
        wait_until(lambda: _has_env(engine, shop, "PAUSE=2"), timeout=60)
        wait_until(lambda: shop.status()["status"] == "done")
        assert _said_of_web1(daemon) == ["warning", "info"]
        rows = [row for row in shop.history() if row["kind"] != "heal"]
        assert [row["outcome"] for row in rows].count("succeeded") == 2
        assert len(_running(other, shop, "web")) == 1
