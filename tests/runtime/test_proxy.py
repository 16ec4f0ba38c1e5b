"""A real HAProxy on a real engine, in front of servers of this process."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import DeployError
from reconciler.host.engine import Engine
from reconciler.runtime.haproxy import HaProxy
from reconciler.runtime.haproxy_running import Running, this_host
from reconciler.runtime.haproxy_settle import find_step
from tests.runtime.proxying import ProxyBench, make_certificate
from tests.support.engine import BASE_IMAGE, PrivateEngine
from tests.support.haproxy import HAPROXY_IMAGE, make_haproxy_image
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
    assert bench.examine() == ("it isn't there yet",)
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
    assert bench.line() == "web"
    with bench.engine.recorder() as recorder:
        proxy = HaProxy(Engine(recorder.url), bench.state_dir)
        assert bench.settle({"web": [web.server()], "api": [api.server()]}, proxy) == ()
    assert recorder.requests == []


def test_forwarded_headers_say_who_asked(bench: ProxyBench) -> None:
    web = bench.backend("web")
    bench.route("web", http={"domains": [HOST]})
    bench.settle({"web": [web.server()]})
    bench.text(f"{HOST}/", **{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"})
    bench.trusted = ("127.0.0.0/8",)
    assert bench.settle() == ("proxy settings changed",)
    bench.text(f"{HOST}/", **{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"})
    forged, believed = web.http.headers
    assert (forged["x-forwarded-for"], forged["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert (forged["x-forwarded-host"], forged["x-forwarded-port"]) == (HOST, str(bench.http))
    assert believed["x-forwarded-for"] == "192.0.2.1,127.0.0.1"
    assert believed["x-forwarded-proto"] == "https"


def test_tls_redirect_and_renewal(bench: ProxyBench, tmp_path: Path) -> None:
    web, other = bench.backend("web"), bench.backend("other")
    first = make_certificate(tmp_path, "first")
    bench.route("web", first, http={"domains": [HOST]})
    bench.route("other", make_certificate(tmp_path, "other"), http={"domains": ["example.org"]})
    bench.settle({"web": [web.server()], "other": [other.server()]})
    assert bench.certificate_of(HOST) == "first"
    assert bench.certificate_of("example.org") == "other"
    status, _, headers = bench.get(f"{HOST}/a?b=c")
    assert (status, headers["location"]) == (308, f"https://{HOST}:{bench.https}/a?b=c")
    assert bench.text(f"{HOST}/", https=True) == "web"
    bench.route("web", make_certificate(tmp_path, "second"), http={"domains": [HOST]})
    assert bench.settle() == ("certificates changed",)
    assert bench.certificate_of(HOST) == "second"
    files = [*bench.state_dir.rglob("*")]
    assert [path for path in files if path.stat().st_mode & 0o077 and path.is_file()] == []
    assert len([path for path in files if path.suffix == ".pem"]) == 2
    secret = first.partition("PRIVATE KEY-----")[2][:60].strip()
    assert secret not in str([bench.engine.inspect(c["Id"]) for c in bench.containers()])


def test_useless_certificate_keeps_the_old_one(bench: ProxyBench, tmp_path: Path) -> None:
    web = bench.backend("web")
    good, other = make_certificate(tmp_path, "good"), make_certificate(tmp_path, "other")
    bench.route("web", good, http={"domains": [HOST]})
    bench.settle({"web": [web.server()]})
    mixed = good.partition("-----BEGIN PRIVATE")[0] + "".join(other.partition("-----BEGIN PRI")[1:])
    bench.route("web", mixed, http={"domains": [HOST]})
    bench.route("more", http={"domains": ["more.example.com"]})
    with pytest.raises(DeployError, match="certificate can't be used: key values mismatch"):
        bench.settle()
    assert bench.certificate_of(HOST) == "good"
    assert bench.text("more.example.com/") == "503"


def test_sticky_visitor_stays_until_the_drain_ends(bench: ProxyBench) -> None:
    old, new = bench.backend("old"), bench.backend("new")
    bench.route("web", http={"domains": [HOST], "sticky": True})
    bench.settle({"web": [old.server()]})
    _, _, headers = bench.get(f"{HOST}/")
    cookie = headers["set-cookie"].partition(";")[0]
    bench.switch("web", new.server())
    assert bench.text(f"{HOST}/") == "new"
    assert bench.text(f"{HOST}/", Cookie=cookie) == "old"
    bench.drop("web", old)
    assert bench.text(f"{HOST}/", Cookie=cookie) == "new"


def test_long_connection_lives_until_the_drain_ends(bench: ProxyBench) -> None:
    """Over a switch and a reload: the workers of before are counted, too."""
    old, new = bench.backend("old"), bench.backend("new")
    bench.route("web", http={"domains": [HOST]})
    bench.settle({"web": [old.server()]})
    with bench.talk(HOST) as lines:
        bench.switch("web", new.server())
        bench.route("more", http={"domains": ["more.example.com"]})
        bench.settle()
        assert lines.say("hello") == "old hello"
        assert bench.text(f"{HOST}/") == "new"
        assert bench.draining("web") == 1
        bench.drop("web", old)
        assert lines.say("hello") == ""
        assert bench.draining("web") == 0


def test_canary_weights_and_counters(bench: ProxyBench) -> None:
    old, new = bench.backend("old"), bench.backend("new")
    bench.route("web", http={"domains": [HOST]})
    bench.settle({"web": [old.server()]})
    bench.text(f"{HOST}/")
    bench.switch("web", old.server(90), new.server(10))
    seen = Counter(bench.text(f"{HOST}/") for _ in range(50))
    assert seen == {"old": 45, "new": 5}
    bench.switch("web", new.server(), old.server(0))
    bench.text(f"{HOST}/broken")
    bench.switch("web", new.server(), old.server())
    new.close()
    assert [bench.text(f"{HOST}/") for _ in range(4)] == ["old"] * 4
    states = {one.server.container: one.counters for one in bench.look("web")}
    assert (states["id-old"].requests, states["id-old"].errors) == (50, 0)
    assert (states["id-new"].requests, states["id-new"].errors) == (6, 1)
    assert states["id-new"].connect_errors > 0


def test_killed_proxy_is_back_within_a_second(bench: ProxyBench, wait_until: Any) -> None:
    old, new = bench.backend("old"), bench.backend("new")
    bench.route("web", http={"domains": [HOST]}, tcp={})
    bench.settle({"web": [old.server()]})
    bench.switch("web", new.server())
    bench.drop("web", old)
    (container,) = bench.containers()
    os.kill(bench.engine.inspect(container["Id"])["State"]["Pid"], signal.SIGKILL)
    began = time.monotonic()
    assert [one.server.container for one in bench.look("web")] == ["id-new"]
    bench.switch("web", new.server())
    wait_until(lambda: bench.text(f"{HOST}/") == "new")
    assert time.monotonic() - began < 1
    assert bench.line() == "new"
    assert bench.settle({"web": [new.server()]}) == ()


def test_drift_is_corrected(bench: ProxyBench) -> None:
    web, other = bench.backend("web"), bench.backend("other")
    bench.route("web", http={"domains": [HOST]})
    bench.settle({"web": [web.server()]})
    bench.engine.docker("rm", "-f", bench.containers()[0]["Id"])
    assert bench.examine() == ("its container is missing",)
    assert bench.settle({"web": [web.server()]}) == ("its container is missing",)
    assert bench.text(f"{HOST}/") == "web"
    bench.engine.docker("rm", "-f", bench.containers()[0]["Id"])
    bench.switch("web", web.server())
    assert bench.text(f"{HOST}/") == "web"
    assert bench.settle({"web": [other.server()]}) == ("its servers changed",)
    assert bench.text(f"{HOST}/") == "other"
    bench.settle({"web": [other.server()]})
    assert [one.server.container for one in bench.look("web")] == ["id-other"]
    for file in (bench.state_dir / "proxy" / bench.project).glob("*.*"):
        file.unlink()
    bench.settle({"web": [web.server()]})
    assert bench.text(f"{HOST}/") == "web"
    assert len(bench.containers()) == 1
    bench.routes.clear()
    assert bench.settle() == ("no app is exposed any more",)
    assert bench.containers() == []
    assert not (bench.state_dir / "proxy" / bench.project).exists()


def test_port_of_somebody_else_changes_nothing(bench: ProxyBench) -> None:
    web = bench.backend("web")
    bench.route("web", http={"domains": [HOST]})
    bench.settle({"web": [web.server()]})
    bench.route("db", tcp={"listen": bench.taken()})
    with pytest.raises(DeployError, match="can't listen on") as caught:
        bench.settle()
    assert str(bench.taken()) in caught.value.what
    assert bench.text(f"{HOST}/") == "web"
    del bench.routes[bench.app("db")]
    assert bench.settle() == ()


def test_more_new_containers_than_slots(bench: ProxyBench) -> None:
    bench.route("web", tcp={})
    bench.settle()
    crew = [bench.backend(f"web{number}") for number in range(9)]
    bench.switch("web", *(one.server() for one in crew))
    assert {bench.line() for _ in range(30)} == {one.name for one in crew}


def test_no_request_fails_in_switches_reloads_and_an_upgrade(
    bench: ProxyBench, wait_until: Any
) -> None:
    """Keep-alive clients without retries, HTTP and TCP; 20 switches, 3 reloads, an upgrade."""
    make_haproxy_image(bench.engine, "haproxy:newer")
    bench.route("web", http={"domains": [HOST]}, tcp={})
    old = bench.backend("web 0")
    bench.settle({"web": [old.server()]})
    with Load(http=[f"http://{HOST}:{bench.http}/"], tcp=[bench.tcp], expect="web") as load:
        wait_until(lambda: load.report().answers > 100)
        for number in range(1, 21):
            new = bench.backend(f"web {number}")
            bench.switch("web", new.server())
            wait_until(lambda: not bench.draining("web"))
            bench.drop("web", old)
            old.close()
            old = new
            if number in (5, 10, 15):
                bench.route(f"more{number}", http={"domains": [f"{number}.example.com"]})
                assert bench.settle() == ("routes changed",)
            if number == 17:
                bench.image = "haproxy:newer"
                assert bench.settle() == ("proxy.image changed",)
    report = load.report()
    assert report.failures == []
    assert len(report.seen) == 21
    assert report.answers > 1000
    assert bench.settle() == ()
    assert len(bench.containers()) == 1


def test_failed_upgrade_changes_nothing(bench: ProxyBench) -> None:
    web, other = bench.backend("web"), bench.backend("other")
    bench.route("web", http={"domains": [HOST]})
    bench.settle({"web": [web.server()]})
    bench.image = BASE_IMAGE  # there is no haproxy in it
    for _ in range(2):
        with pytest.raises(DeployError, match=r"refused the proxy: .*haproxy"):
            bench.settle()
    bench.switch("web", other.server())
    assert bench.text(f"{HOST}/") == "other"
    assert len(bench.containers()) == 1
    bench.image = HAPROXY_IMAGE
    assert bench.settle() == ()


def test_upgrade_that_a_crash_ended_is_finished(bench: ProxyBench) -> None:
    web = bench.backend("web")
    bench.route("web", http={"domains": [HOST]})
    bench.settle({"web": [web.server()]})
    bench.image = make_haproxy_image(bench.engine, "haproxy:newer")
    running, front = (
        Running(Engine(bench.engine.url), bench.state_dir, bench.project),
        bench.front(),
    )
    wanted = find_step(running, running.files.load(), front).wanted
    running.files.save(replace(wanted, unsettled=True), this_host())
    running.containers.start(front.settings, running.mounted, this_host(), bench.job)
    assert len(bench.containers()) == 2
    assert bench.settle({"web": [web.server()]}) != ()
    assert [container["Image"] for container in bench.containers()] == ["haproxy:newer"]
    assert bench.text(f"{HOST}/") == "web"


def test_state_directory_was_moved(bench: ProxyBench, tmp_path: Path) -> None:
    web = bench.backend("web")
    bench.route("web", http={"domains": [HOST]})
    bench.settle({"web": [web.server()]})
    proxy = HaProxy(Engine(bench.engine.url), tmp_path / "elsewhere")
    assert bench.settle({"web": [web.server()]}, proxy) == ("it isn't there yet",)
    assert bench.text(f"{HOST}/") == "web"
    assert len(bench.containers()) == 1
