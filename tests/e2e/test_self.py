"""A daemon in a container that deploys its own container."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import reconciler
from tests.e2e.conftest import Shop

DOCKERFILE = 'FROM busybox:stable\nENTRYPOINT ["env"]\n'
"""Everything that the program needs is mounted from this machine."""


def add_daemon(shop: Shop, **env: str) -> None:
    """The daemon as an app of the spec that it works on."""
    (shop.directory / "self").mkdir(exist_ok=True)
    (shop.directory / "self" / "Dockerfile").write_text(DOCKERFILE)
    tree = Path(reconciler.__file__).parents[1]
    places = {"/usr", "/lib", "/lib64", sys.prefix, sys.base_prefix, str(tree)}
    mounts = [f"{place}:{place}:ro" for place in sorted(places)]
    mounts += [f"{place}:{place}" for place in (shop.directory.parent, shop.engine.home)]
    shop.app(
        "daemon",
        source={"path": "./self"},
        networks=["host"],
        command=shop.command("daemon", "--interval", "1h"),
        env={
            "DOCKER_HOST": shop.engine.url,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(tree),
            "RECONCILE_READY_FILE": "/ready",
            **env,
        },
        volumes=mounts,
        stop_grace_period="15s",
        health={"command": shop.command("doctor", "--quick"), "timeout": "20s"},
    )


def test_daemon_in_a_container_replaces_itself(shop: Shop, wait_until: Callable[..., Any]) -> None:
    def only_daemon() -> str:
        """The id of the one that there is, once there is one that runs."""
        found = shop.containers("daemon")
        names = [f"/{shop.project}-daemon"]
        settled = len(found) == 1 and found[0]["State"] == "running" and found[0]["Names"] == names
        return str(found[0]["Id"]) if settled else ""

    def newest(status: str) -> Any:
        row = shop.history("daemon")[0]
        return row if row["status"] == status else None

    add_daemon(shop)
    shop.apply()
    first = only_daemon()

    add_daemon(shop, LEVEL="2")
    wait_until(lambda: only_daemon() not in ("", first), timeout=40)
    second = only_daemon()
    row = wait_until(lambda: newest("done"))
    assert (row["trigger"], row["cause"]) == ("daemon", "env.LEVEL added")

    shop.app("daemon", **{**shop.apps["daemon"], "command": ["sh", "-c", "sleep 1; exit 3"]})
    wait_until(lambda: newest("error"), timeout=40)
    assert only_daemon() == second
