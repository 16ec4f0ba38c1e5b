"""Images are made on one engine and run on another: how they get there, and what for."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.e2e.conftest import Shop
from tests.support.engine import PrivateEngine
from tests.support.recorder import Recorder
from tests.support.registry import PrivateRegistry
from tests.support.sshd import SshHost
from tests.support.system import wait_until

HEALTH = {"command": ["sh", "-c", "wget -q -O - http://127.0.0.1:8000 | grep ."], "timeout": "20s"}


@pytest.fixture
def builder(engine: PrivateEngine) -> Iterator[Recorder]:
    """What leads to the engine that builds, and can be away."""
    with engine.recorder() as recorder:
        yield recorder


@pytest.fixture
def remote(shop: Shop, ssh_host: SshHost, builder: Recorder) -> Iterator[PrivateEngine]:
    """The engine of host `web1`, on which all apps are; `builder` builds."""
    keys = shop.directory / "keys"
    keys.mkdir()
    (keys / "web1").write_text(ssh_host.access.ssh_key)
    (keys / "web1").chmod(0o600)
    (keys / "known_hosts").write_text(ssh_host.access.known_hosts)
    web1 = {
        "docker": ssh_host.access.url,
        "ssh_key": {"file": "keys/web1"},
        "known_hosts": {"file": "keys/known_hosts"},
    }
    shop.top = {"hosts": {"web1": web1, "builder": {"docker": builder.url}}}
    shop.top["build_host"] = "builder"
    yield ssh_host.engine
    ssh_host.engine.discard(shop.project)


def deploy(shop: Shop, **fields: Any) -> dict[str, Any]:
    """The newest deployment of `api` on web1, which went well."""
    shop.app(host="web1", health=HEALTH, **fields)
    shop.apply()
    return shop.history()[0]


def running_on(remote: PrivateEngine, shop: Shop) -> list[Any]:
    return remote.containers(f"reconciler.app={shop.project}/api", running_only=True)


def running(remote: PrivateEngine, shop: Shop) -> Any:
    (one,) = running_on(remote, shop)
    return one


def images(remote: PrivateEngine, shop: Shop) -> list[str]:
    """Names of what was built for the app, as the host has it."""
    label = f"label=reconciler.image.app={shop.project}/api"
    listed = remote.docker("images", "--filter", label, "--format", "{{.Repository}}:{{.Tag}}")
    return listed.split()


def carried(builder: Recorder) -> list[str]:
    return [line for line in builder.requests if line.endswith("/get")]


def open_there(registry: PrivateRegistry, remote: PrivateEngine, name: str) -> None:
    """The registry at the same address on the other machine, too."""
    argv = ["docker-registry", "serve", str(registry.home / "config.yml")]
    remote.spawn(argv, remote.home / f"{name}-registry.log")
    wait_until(lambda: _answers(registry, remote))


def _answers(registry: PrivateRegistry, remote: PrivateEngine) -> bool:
    with remote.inside(), suppress(OSError):
        socket.create_connection((registry.host, registry.port), 1).close()
        return True
    return False


def test_without_a_registry_it_is_sent_once_and_then_needs_no_builder(
    shop: Shop, remote: PrivateEngine, builder: Recorder
) -> None:
    shop.app(host="web1", health=HEALTH)
    (action,) = shop.plan()["actions"]
    assert action["stages"] == ["clone", "build", "distribute", "deploy", "health"]
    shop.apply()
    (row,) = shop.history()
    assert shop.stages(row) == action["stages"]
    assert images(remote, shop) == [row["image"]]
    assert len(carried(builder)) == 1
    assert shop.containers() == []
    log = shop.run("logs", "api").out
    assert "MB from builder to web1" in log

    with builder.away():
        row = deploy(shop, env={"COLOUR": "blue"})
        assert shop.stages(row) == ["deploy", "health"]
        named = images(remote, shop)
        remote.docker("rm", "-f", running(remote, shop)["Id"])
        remote.docker("tag", *named, f"{shop.project}:kept")
        remote.docker("rmi", *named)
        row = deploy(shop, env={"COLOUR": "blue"})
        assert (row["kind"], shop.stages(row)) == ("heal", ["deploy", "health"])
        remote.docker("rmi", f"{shop.project}:kept")
        assert images(remote, shop) == named  # it got its name again
        shop.commit_page("two")
        (action,) = shop.plan()["actions"]
        assert action["action"] == "block"
        assert "build host builder is away" in action["cause"]
        (told,) = shop.ask("gc")["kept"]
        assert told.startswith("what is on builder: ")
    assert len(carried(builder)) == 1

    # Back where it is built, nothing of it stays behind.
    shop.app()
    shop.apply()
    assert shop.answer() == "two"
    assert running_on(remote, shop) == images(remote, shop) == []
    before = shop.images()
    assert shop.ask("gc")["images"] == []  # `builder` and `local` are one
    assert shop.images() == before
    assert len(carried(builder)) == 1


def test_by_the_registry_it_is_pinned_by_digest_and_the_host_keeps_to_retention(
    shop: Shop, remote: PrivateEngine, builder: Recorder, registry: PrivateRegistry
) -> None:
    open_there(registry, remote, shop.project)
    repository = f"{registry.address}/{shop.project}/api"
    fields = {
        "image": {"repository": repository, "push": True},
        "retention": {"images": 1, "deployments": 20},
    }
    row = deploy(shop, **fields)
    assert shop.stages(row) == ["clone", "build", "push", "distribute", "deploy", "health"]
    first = running(remote, shop)["ImageID"]
    (reference,) = remote.request("GET", f"/images/{first}/json")["RepoDigests"]
    tag = row["image"].rpartition(":")[2]
    assert reference == f"{repository}@{registry.digest(f'{shop.project}/api', tag)}"
    assert images(remote, shop) == [row["image"]]

    shop.commit_page("two")
    row = deploy(shop, **fields)
    assert images(remote, shop) == [row["image"]]
    assert carried(builder) == []

    # Gone from every engine, it still is where the digest leads.
    remote.docker("rm", "-f", running(remote, shop)["Id"])
    for one in (remote, shop.engine):
        one.docker("rmi", row["image"])
    row = deploy(shop, **fields)
    assert row["kind"] == "heal"
    assert "build" not in shop.stages(row)
    assert carried(builder) == []


def test_a_registry_that_the_host_does_not_reach_is_done_without(
    shop: Shop,
    remote: PrivateEngine,
    builder: Recorder,
    make_registry: Callable[..., PrivateRegistry],
) -> None:
    registry = make_registry(shop.engine)
    repository = f"{registry.address}/{shop.project}/api"
    row = deploy(shop, image={"repository": repository, "push": True})
    assert images(remote, shop) == [row["image"]]
    assert len(carried(builder)) == 1
    assert "web1 can't pull it, so it is sent" in shop.run("logs", "api").out
