"""Everything at once and at random, for a while: in the end the host is what the spec says.

The first third of the time the daemon dies again and again, by SIGKILL or in order, and is
started at once. The rest of the time one daemon lives through all else, and must not grow.
"""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from reconciler.state.store import Store
from reconciler.state.tokens import Token, create_token
from tests.e2e.conftest import DOCKERFILE, Shop, answers
from tests.support.engine import DockerFailed
from tests.support.system import wait_until
from tests.support.vitals import Vitals, measure, typical

APPS = ("api", "web", "job", "cache")
SHORT, LONG = 15.0, 600.0
PAUSE = 0.12
"""Seconds between two blows, so that there is something to hit again."""

WAL_KIB = 4 << 10
"""What the state may have beside its data: SQLite's log, which is written back at that size."""

BROKEN_FILES = (
    {"Dockerfile": DOCKERFILE + "RUN false\n"},
    {"Dockerfile": DOCKERFILE + 'CMD ["false"]\n'},
)
QUERIES = ("/metrics", "/healthz", "/readyz", "/project.all", "/application.one?applicationId=api")


@dataclass
class Soak:
    """One project under fire. `done` counts what was done to it."""

    shop: Shop
    chance: random.Random
    client: httpx.Client
    listen: str
    done: Counter[str] = field(default_factory=Counter)
    samples: list[Vitals] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = (self.shop.directory / "daemon.log").open("ab")
        self.daemon = self.start()

    # -- the daemon --------------------------------------------------------------------------

    def start(self) -> subprocess.Popen[bytes]:
        flags = ("--interval", "1s", "--listen", self.listen, "--prune", "--log-format", "json")
        command = self.shop.command("daemon", *flags)
        return subprocess.Popen(
            command, env=self.shop.env(), cwd=self.shop.directory, stderr=self.log
        )

    def end(self, number: int) -> None:
        self.daemon.send_signal(number)
        code = self.daemon.wait(20)
        assert code in (0, 130, -number)  # 130, or by the signal, in its first moments

    def kill_daemon(self) -> None:
        self.end(self.chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
        self.daemon = self.start()

    def hurry(self) -> None:
        """Not right after its start, when a signal that it doesn't yet wait for ends it."""
        if self.listening():
            self.daemon.send_signal(signal.SIGHUP)

    # -- the source and the spec -------------------------------------------------------------

    def commit(self) -> None:
        page = f"page {self.chance.random()}"
        self.shop.repo.commit({"Dockerfile": DOCKERFILE, "index.html": page})

    def commit_broken(self) -> None:
        self.shop.repo.commit(dict(self.chance.choice(BROKEN_FILES)))

    def edit(self) -> None:
        name = self.chance.choice(APPS)
        self.declare(name, env={"LEVEL": str(self.chance.randrange(1000))})

    def edit_broken(self) -> None:
        text = self.shop.spec.read_text()
        self.shop.spec.write_text(text[: self.chance.randrange(len(text))])

    def drop(self) -> None:
        self.shop.apps.pop(self.chance.choice(APPS), None)
        self.shop.write()

    def declare(self, name: str, **fields: Any) -> None:
        health = {"http": {"port": 8000, "path": "/"}, "timeout": "8s"}
        self.shop.app(name, health=health, retention={"deployments": 5, "images": 2}, **fields)

    # -- the containers ----------------------------------------------------------------------

    def hit(self, *argv: str) -> None:
        """`docker` … a container of a random app, if it has one."""
        found = self.shop.containers(self.chance.choice(APPS))
        if found:
            with suppress(DockerFailed):  # it may be gone by now
                self.shop.engine.docker(*argv, self.chance.choice(found)["Id"])

    def hit_container(self) -> None:
        ways = (("kill",), ("rm", "-f"), ("stop", "-t", "0"), ("pause",))
        self.hit(*self.chance.choice(ways))

    # -- the API -----------------------------------------------------------------------------

    def ask(self, method: str, path: str, **more: Any) -> None:
        """While a daemon dies or starts, nobody answers."""
        try:
            answer = self.client.request(method, path, **more)
        except httpx.TransportError:
            self.done["unanswered"] += 1
            return
        assert answer.status_code < 500 or answer.status_code == 503, (path, answer.text)

    def listening(self) -> bool:
        with suppress(httpx.TransportError):
            return self.client.get("/healthz").status_code == 200
        return False

    def query(self) -> None:
        self.ask("GET", self.chance.choice(QUERIES))

    def deploy(self) -> None:
        way = self.chance.choice(("deploy", "redeploy", "cancelDeployment"))
        name = self.chance.choice(APPS)
        self.ask("POST", f"/application.{way}", json={"applicationId": name})

    # -- all of it ---------------------------------------------------------------------------

    def blow(self, blows: dict[Callable[[], None], int]) -> None:
        (chosen,) = self.chance.choices([*blows], [*blows.values()])
        chosen()
        self.done[chosen.__name__] += 1
        for name in APPS:
            running = [one for one in self.shop.containers(name) if one["State"] == "running"]
            assert len(running) <= 1, (name, [one["Names"] for one in running])

    def run(self, seconds: float) -> None:
        """The first third with deaths of the daemon."""
        blows = {
            self.commit: 5, self.commit_broken: 1, self.edit: 5, self.edit_broken: 1, self.drop: 1,
            self.hit_container: 6, self.query: 6, self.deploy: 2, self.hurry: 1,
        }  # fmt: skip
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            deadly = passed < seconds / 3
            self.blow({**blows, self.kill_daemon: 2} if deadly else blows)
            if not deadly and not self.samples:
                wait_until(self.listening, 30)  # the last daemon that is started lives from here on
            if not deadly:
                self.samples.append(measure(self.daemon.pid, self.shop.state_dir))
            time.sleep(PAUSE)

    def windows(self) -> list[Vitals]:
        """Start, middle and end of the life of the last daemon, each a fifth, after warming up."""
        fifth = len(self.samples) // 5
        parts = [self.samples[at * fifth : (at + 1) * fifth] for at in (1, 2, 4)]
        return [typical(part) for part in parts]


@pytest.fixture
def soak(shop: Shop, request: pytest.FixtureRequest) -> Iterator[Soak]:
    seed = request.config.getoption("--seed") or random.SystemRandom().randrange(1 << 32)
    print(f"repeat with --seed {seed}")
    shop.top["concurrency"] = 2
    store = Store(shop.state_dir)
    key = create_token(store, Token("soak", "admin"), time.time())
    store.close()
    with socket.create_server(("127.0.0.1", 0)) as found:
        listen = f"127.0.0.1:{found.getsockname()[1]}"
    headers = {"x-api-key": key}
    with httpx.Client(base_url=f"http://{listen}", timeout=30, headers=headers) as client:
        shop.write()
        made = Soak(shop, random.Random(seed), client, listen)
        try:
            yield made
        finally:
            made.daemon.kill()
            made.daemon.wait()
            made.log.close()


@pytest.mark.timeout(LONG + 300)
def test_host_under_fire_is_in_the_end_what_the_spec_says_and_nothing_has_grown(
    soak: Soak, request: pytest.FixtureRequest
) -> None:
    for name in APPS:
        soak.declare(name)
    soak.run(LONG if request.config.getoption("--long") else SHORT)
    first, middle, last = soak.windows()
    store = Store(soak.shop.state_dir)
    (count,) = store.connection.execute("SELECT max(seq) FROM deployments").fetchone()
    print(f"{count} deployments after {dict(soak.done)}", first, middle, last, sep="\n")

    for name in APPS:
        soak.declare(name, env={"LEVEL": "last"})
    soak.shop.repo.commit({"Dockerfile": DOCKERFILE, "index.html": "last"})
    wait_until(lambda: all(answers(soak.shop, "last", name) for name in APPS), timeout=60)
    wait_until(lambda: not store.unfinished() and not soak.shop.plan()["actions"], timeout=30)
    assert {app["status"] for app in soak.shop.status_document()["apps"]} == {"done"}
    soak.end(signal.SIGTERM)
    for name in APPS:
        identity = soak.shop.container_id(name)
        assert "LEVEL=last" in soak.shop.engine.inspect(identity)["Config"]["Env"]
    assert_no_leftovers(soak, store)
    store.close()
    assert_bounded(first, last)


def assert_no_leftovers(soak: Soak, store: Store) -> None:
    """Of what was killed, nothing is left; of what was done, only as much as is kept."""
    assert store.unfinished() == []
    assert list((soak.shop.state_dir / "checkouts").iterdir()) == []
    names = [path.name for path in soak.shop.state_dir.rglob("*")]
    assert [name for name in names if name.endswith((".new", ".old", ".tmp"))] == []
    assert [name for name in names if name.startswith("tmp_")] == []
    assert len(soak.shop.engine.containers(f"reconciler.project={soak.shop.project}")) == len(APPS)
    text = (soak.shop.directory / "daemon.log").read_text()
    for word in ("Traceback", "fault of this program", "internal error"):
        assert word not in text, text[text.index(word) - 500 :][:3000]


def assert_bounded(first: Vitals, last: Vitals) -> None:
    """What a daemon takes after some hundred deployments is what it took after some dozen."""
    assert last.resident < first.resident * 1.15 + 4096
    assert last.threads <= first.threads + 4
    assert last.files <= first.files + 12
    assert last.state < first.state * 1.5 + WAL_KIB
