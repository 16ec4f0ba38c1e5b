"""A real HAProxy on a real engine, in front of servers of this process."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.proxying import ProxyBench
from tests.support.engine import PrivateEngine
from tests.support.haproxy import make_haproxy_image
from tests.support.load import Load

HOST = "shop.example.com"


@pytest.fixture
def bench(engine: PrivateEngine, project: str, state_dir: Path) -> Iterator[ProxyBench]:
    make_haproxy_image(engine)
    bench = ProxyBench(engine, project, state_dir)
    yield bench
    bench.close()


def test_routes_domain_path_tcp(bench: ProxyBench) -> None:
    web, api = bench.backend("web"), bench.backend("api")
    bench.route("web", http={"domains": [HOST, "*.example.org"]}, tcp={})
    bench.route("api", http={"domains": [HOST], "path": "/api"})
    assert bench.settle({"web": [web.server()]}) == ("it isn't there yet",)
    bench.switch("api", api.server())
    assert bench.text(f"{HOST}/") == "web"
    assert bench.text(f"{HOST.upper()}:{bench.http}/x?y") == "web"
    assert bench.text(f"{HOST}/api") == "api"
    assert bench.text(f"{HOST}/api/v1") == "api"
    assert bench.text(f"{HOST}/apis") == "web"
    assert bench.text("a.example.org/") == "web"
    assert bench.text("a.b.example.org/") == "404"
    assert bench.text("other.example.com/") == "404"
    assert bench.settle({"web": [web.server()]}) == ()


def test_twenty_switches_three_reloads_one_upgrade(
    bench: ProxyBench, tmp_path: Path, wait_until: Any
) -> None:
    make_haproxy_image(bench.engine, "haproxy:newer")
    bench.route("web", http={"domains": [HOST]}, tcp={})
    old = bench.backend("web 0")
    bench.settle({"web": [old.server()]})
    times = []
    with Load(http=[f"http://{HOST}:{bench.http}/"], tcp=[bench.tcp], expect="web") as load:
        wait_until(lambda: load.report().answers > 100)
        for number in range(1, 21):
            new = bench.backend(f"web {number}")
            began = time.perf_counter()
            bench.switch("web", new.server())
            times.append(time.perf_counter() - began)
            wait_until(lambda: not bench.draining("web"))
            bench.drop("web", old)
            old.close()
            bench.backends.remove(old)
            old = new
            if number % 5 == 0 and number < 20:
                bench.route(f"more{number}", http={"domains": [f"{number}.example.com"]})
                assert bench.settle() == ("routes changed",)
            if number == 17:
                bench.image = "haproxy:newer"
                print(bench.settle())
    report = load.report()
    print(report, max(times), sorted(times)[10])
    assert report.failures == []
    assert len(report.seen) == 21
