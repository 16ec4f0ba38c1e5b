"""What happens to containers behind the daemon's back: put right at once, without a build."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from reconciler.state.records import Deployment
from reconciler.state.store import Store
from tests.e2e.conftest import Shop, answers
from tests.support.engine import PrivateEngine

Wait = Callable[..., Any]

# Its first process ends as somebody says with `docker exec`: a shell's commands in /end.
FRAIL = """\
FROM busybox:stable
COPY index.html /www/
STOPSIGNAL SIGKILL
CMD ["sh", "-c", "httpd -p 8000 -h /www; until [ -f /end ]; do sleep 0.05; done; . /end"]
"""
SICKLY = FRAIL + 'HEALTHCHECK --interval=100ms --retries=1 CMD ["test", "!", "-f", "/sick"]\n'

SHELL = ("sh", "-c")
NEEDY = [*SHELL, "[ -f /data/up ] && exec httpd -f -p 8000 -h /www"]

DRIFTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "killed": (("kill",), (), "container exited with 137 (killed)"),
    "exits": (("exec",), (*SHELL, "echo exit 3 >/end"), "container exited with 3"),
    "greedy": (
        ("exec",),
        (*SHELL, "echo exec tail /dev/zero >/end"),
        "container exited with 137 (out of memory)",
    ),
    "sick": (("exec",), ("touch", "/sick"), "container is unhealthy"),
    "stopped": (("stop",), (), "container exited with 137 (killed)"),
    "paused": (("pause",), (), "container is paused"),
}
"""What is done to an app, `docker` … its container …, and the cause that its heal has to have."""

FIELDS: dict[str, dict[str, Any]] = {
    "exits": {"restart": "no"},
    "greedy": {"restart": "no", "resources": {"memory": "12m"}},
    "sick": {"build": {"dockerfile": "sickly"}},
}


@dataclass(frozen=True)
class Rows:
    """The deployments of each app."""

    project: str
    store: Store

    def of(self, name: str) -> list[Deployment]:
        """Newest first."""
        return self.store.list_deployments(f"{self.project}/{name}")

    def good(self, name: str, count: int = 1) -> bool:
        """Whether so many have ended well, and no other is there."""
        return [row.outcome for row in self.of(name)] == ["succeeded"] * count

    def status(self, name: str) -> str:
        app = self.store.find_app(f"{self.project}/{name}")
        return app.status if app else ""


@pytest.fixture
def rows(shop: Shop) -> Iterator[Rows]:
    """Of a shop whose containers end as they are told."""
    shop.repo.commit({"Dockerfile": FRAIL, "sickly": SICKLY, "index.html": "one"})
    shop.top["concurrency"] = 4
    store = Store(shop.state_dir)
    yield Rows(shop.project, store)
    store.close()


def test_daemon_heals_every_drift_from_the_recorded_image_and_says_why(
    shop: Shop, engine: PrivateEngine, rows: Rows, wait_until: Wait
) -> None:
    for name in (*DRIFTS, "held"):
        health = {} if name == "sick" else {"http": {"port": 8000, "path": "/"}}
        shop.app(name, health={"timeout": "20s", **health}, **FIELDS.get(name, {}))
    database = shop.directory / "data" / "up"
    database.parent.mkdir()
    database.touch()
    shop.app("needy", command=NEEDY, volumes=[f"{database.parent}:/data"], restart="no")
    with shop.daemon() as daemon:
        wait_until(lambda: all(rows.good(name) for name in shop.apps), timeout=40)
        images = {name: rows.of(name)[0].image_id for name in shop.apps}
        assert shop.run("suspend", "held").code == 0
        engine.docker("stop", shop.container_id("held"))
        database.unlink()
        engine.docker("kill", shop.container_id("needy"))
        containers = {name: shop.container_id(name) for name in DRIFTS}
        for name, (before, after, _) in DRIFTS.items():
            engine.docker(*before, containers[name], *after)
        wait_until(lambda: rows.of("needy")[0].status == "error", timeout=20)
        database.touch()
        wait_until(lambda: all(rows.good(name, 2) for name in DRIFTS), timeout=40)
        for name, (_, _, cause) in DRIFTS.items():
            heal = rows.of(name)[0]
            assert (name, heal.kind, heal.cause) == (name, "heal", cause)
            assert heal.image_id == images[name]
            assert "build" not in shop.stages(shop.history(name)[0])
            assert answers(shop, "one", name)
            assert shop.container_id(name) != containers[name]
        (held,) = shop.containers("held")
        assert (held["State"], len(rows.of("held"))) == ("exited", 1)
        hints = {line["app"]: line["text"] for line in daemon.lines("stopped")}
        assert hints.keys() == {f"{shop.project}/stopped"}
        assert "reconcile suspend stopped" in hints[f"{shop.project}/stopped"]

        # One that can't be healed now is tried again later.
        wait_until(lambda: answers(shop, "one", "needy"), timeout=20)

        # What a deployment does to containers, stopping and removing the old one, is no drift.
        shop.apps["killed"]["env"] = {"LEVEL": "2"}
        shop.write()
        wait_until(lambda: rows.good("killed", 3))
        engine.docker("kill", shop.container_id("paused"))
        wait_until(lambda: rows.good("paused", 3))
        assert [row.kind for row in rows.of("killed")] == ["restart", "heal", "deploy"]


def test_daemon_sees_what_happened_while_it_could_not_hear_and_leaves_a_flapping_app_alone(
    shop: Shop, engine: PrivateEngine, rows: Rows, wait_until: Wait
) -> None:
    shop.app("api")
    shop.app("web")
    with engine.recorder() as between:
        shop.environ["DOCKER_HOST"] = between.url
        with shop.daemon() as daemon:
            wait_until(lambda: rows.good("api") and rows.good("web"), timeout=30)
            with between.away():
                wait_until(lambda: daemon.lines("engine"))
                engine.docker("rm", "-f", shop.container_id("api"))
                engine.docker("kill", shop.container_id("web"))
            wait_until(lambda: rows.good("api", 2) and rows.good("web", 2), timeout=20)
            assert rows.of("api")[0].cause == "container was removed"

            for heals in range(1, 5):
                engine.docker("kill", shop.container_id("web"))
                wait_until(lambda heals=heals: rows.good("web", heals + 2))
            engine.docker("kill", shop.container_id("web"))
            wait_until(lambda: rows.status("web") == "error")
            engine.docker("kill", shop.container_id("api"))
            wait_until(lambda: rows.good("api", 3))
            assert [row.kind for row in rows.of("web")] == ["heal"] * 5 + ["deploy"]
            assert "healed 5 times" in shop.status("web")["held_back"]
