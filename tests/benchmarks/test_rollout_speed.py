"""From a commit to traffic on the new version, beside the same by hand behind the same proxy."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.engine.desired import Policy
from reconciler.engine.reconcile import run_pass
from reconciler.engine.wiring import open_tools
from reconciler.engine.worker import Workers
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.pipeline.tools import Tools
from reconciler.runtime.haproxy import HaProxy
from reconciler.runtime.proxy import Front, Route, Server
from reconciler.spec.loader import load_spec
from reconciler.spec.models import Expose
from reconciler.spec.plain import from_plain
from reconciler.spec.routes import ProxySettings
from tests.benchmarks.conftest import Compare, Sides
from tests.benchmarks.test_speed import ByHand, wait_for
from tests.e2e.conftest import Shop
from tests.runtime.proxying import free_ports
from tests.support.haproxy import make_haproxy_image

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

EXPOSE = {"http": {"domains": ["127.0.0.1"], "port": 8000}}


class BehindProxy(ByHand):
    """docker build, create, start, the first good answer, and the switch."""

    def __init__(self, shop: Shop, directory: Path, port: int) -> None:
        super().__init__(shop, directory)
        self.app, self.port, self.shop = f"{shop.project}hand/web", port, shop
        self.proxy = HaProxy(Engine(shop.engine.url), directory / "by-hand-state")
        settings = ProxySettings(http=port, address="127.0.0.1")
        route = Route(from_plain(Expose, EXPOSE))
        self.proxy.settle(Front(f"{shop.project}hand", settings, {self.app: route}), Job())

    def roll_out(self, page: str) -> float:
        began = time.perf_counter()
        self.build()
        new, old = f"{self.name}-{next(self.numbers)}", self.serving
        self.call(self.docker, "create", "--name", new, "--network", self.name, self.name)
        self.call(self.docker, "start", new)
        document = self.shop.engine.inspect(new)
        address = document["NetworkSettings"]["Networks"][self.name]["IPAddress"]
        wait_for(f"http://{address}:8000/", page)
        self.proxy.switch(self.app, [Server(document["Id"], address)], Job())
        wait_for(f"http://127.0.0.1:{self.port}/", page)
        seconds = time.perf_counter() - began
        if old:
            self.call(self.docker, "rm", "-f", old)
        self.serving = new
        return seconds


def roll_out(shop: Shop, tools: Tools, port: int, page: str) -> float:
    """Seconds from the commit until the new version answers through the proxy, for a process that
    runs already, as the daemon does: its pass, and its workers."""
    began = time.perf_counter()

    def work() -> None:
        (row,) = run_pass(tools, load_spec(shop.spec), Policy(), "benchmark").queued
        Workers(tools, 1, [row.id]).run_to_end()

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        time.sleep(0.2)  # nothing is as fast as that, and asking takes a share of a core
        wait_for(f"http://127.0.0.1:{port}/", page)
        seconds = time.perf_counter() - began
        working.result()
    return seconds


@pytest.fixture
def ports(shop: Shop) -> Iterator[list[int]]:
    make_haproxy_image(shop.engine)
    ports = free_ports(2)
    shop.top = {"proxy": {"http": ports[0], "address": "127.0.0.1"}}
    shop.app("web", expose=EXPOSE, rollout={"watch": "100ms"})
    shop.apply()
    yield ports
    shop.engine.discard(f"{shop.project}hand")


def test_commit_to_traffic(
    shop: Shop, ports: list[int], docker_env: None, tmp_path: Path, compare: Compare
) -> None:
    by_hand = BehindProxy(shop, tmp_path, ports[1])
    numbers = itertools.count()

    def commit() -> str:
        page = f"page {next(numbers)}"
        shop.repo.commit({"index.html": page})
        return page

    with open_tools(shop.state_dir) as tools:
        sides = Sides(
            lambda: roll_out(shop, tools, ports[0], commit()),
            lambda: by_hand.roll_out(commit()),
        )
        compare("commit to traffic", sides, lambda found: found.ratio < 1.2)
