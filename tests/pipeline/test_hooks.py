"""Hooks of a deployment, on a real engine: in order, once, and what a failing one means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.spec.plain import from_plain, to_plain
from reconciler.spec.sections import Hooks
from tests.e2e.conftest import Shop, shop

__all__ = ["shop"]

WaitUntil = Callable[..., Any]

NOTE = 'echo "$0 $MODE" >>/shared/notes; '


@pytest.fixture
def notes(shop: Shop) -> Path:
    """What the hooks have written, one line each."""
    directory = shop.directory / "shared"
    directory.mkdir()
    return directory / "notes"


def hook(name: str, then: str = "") -> list[str]:
    return ["sh", "-c", NOTE + then, name]


def declare(shop: Shop, page: str, **hooks: Any) -> None:
    shop.repo.commit({"index.html": page})
    shop.app(env={"MODE": page}, volumes=["./shared:/shared"], hooks=hooks)


def test_hooks_in_short_and_in_full() -> None:
    data = {"pre_deploy": [{"command": ["a", "b"]}], "post_deploy": [{"command": ["c"]}]}
    hooks = from_plain(Hooks, data)
    assert hooks.pre_deploy[0].command == ("a", "b")
    assert hooks.post_deploy[0].timeout == "5m"
    assert to_plain(hooks) == data


def test_hooks_run_in_order_and_only_with_something_new(shop: Shop, notes: Path) -> None:
    pre = [hook("first"), {"command": hook("second", "echo migrated"), "timeout": "1m"}]
    declare(shop, "one", pre_deploy=pre, post_deploy=[hook("last")])
    assert shop.plan()["actions"][0]["stages"][-4:] == [
        "pre_deploy", "deploy", "health", "post_deploy",
    ]  # fmt: skip
    shop.apply()
    assert notes.read_text().splitlines() == ["first one", "second one", "last one"]
    assert shop.stages(shop.history()[0])[-4:] == ["pre_deploy", "deploy", "health", "post_deploy"]
    assert "pre_deploy | migrated" in shop.run("logs", "api").out
    container = shop.container_id()
    shop.engine.docker("kill", container)
    shop.apply()
    assert shop.history()[0]["kind"] == "heal"
    assert len(notes.read_text().splitlines()) == 3
    assert len(shop.containers()) == 1


def test_failing_hooks(shop: Shop, notes: Path) -> None:
    declare(shop, "one")
    shop.apply()
    container = shop.container_id()

    declare(shop, "two", pre_deploy=[hook("broken", "echo no such table; exit 7"), hook("never")])
    shop.apply(code=1)
    newest = shop.history()[0]
    assert (newest["status"], newest["outcome"]) == ("error", "failed")
    assert newest["reason"] == "the pre_deploy hook sh exited with 7: no such table"
    assert shop.stages(newest)[-1] == "build"
    assert notes.read_text().splitlines() == ["broken two"]
    assert shop.container_id() == container

    shop.app(env={"MODE": "three"}, volumes=["./shared:/shared"],
             hooks={"post_deploy": [hook("smoke", "exit 1")]})  # fmt: skip
    shop.apply(code=1)
    newest = shop.history()[0]
    assert (newest["status"], newest["outcome"]) == ("error", "rolled_back")
    assert "post_deploy hook" in newest["reason"]
    assert shop.container_id() == container
    assert shop.answer() == "one"
    assert shop.plan()["actions"][0]["action"] == "quarantine"

    shop.app(env={"MODE": "three"}, volumes=["./shared:/shared"],
             hooks={"post_deploy": [hook("smoke")]})  # fmt: skip
    shop.apply()
    assert notes.read_text().splitlines()[-1] == "smoke three"


def test_hook_survives_the_death_of_its_process(
    shop: Shop, notes: Path, wait_until: WaitUntil
) -> None:
    wait = "until [ -e /shared/go ]; do sleep 0.1; done; echo gone on"
    declare(shop, "one", pre_deploy=[hook("done"), hook("slow", wait)])
    applying = shop.start("apply")
    wait_until(lambda: notes.exists() and "slow" in notes.read_text(), timeout=20)
    applying.kill()
    applying.communicate()
    again = shop.start("apply")
    wait_until(lambda: shop.history()[0]["attempt"] == 2, timeout=20)
    (notes.parent / "go").touch()
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, out + err
    assert notes.read_text().splitlines() == ["done one", "slow one"]
    shop.container_id()


def test_hook_that_hangs_is_cancelled_within_a_second(
    shop: Shop, notes: Path, wait_until: WaitUntil
) -> None:
    declare(shop, "one", pre_deploy=[hook("hangs", "sleep 60")])
    applying = shop.start("apply")
    wait_until(notes.exists, timeout=20)
    assert shop.run("cancel", "api").code == 0
    assert applying.wait(timeout=10) != 0
    applying.communicate()
    assert shop.history()[0]["outcome"] == "cancelled"
    assert shop.containers() == []
