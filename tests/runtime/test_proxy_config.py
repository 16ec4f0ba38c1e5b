"""From a front to a record, and from a record to HAProxy's files: without an engine."""

from pathlib import Path

import pytest

from reconciler.errors import DeployError
from reconciler.runtime.haproxy_config import Host, render, structure_hash
from reconciler.runtime.haproxy_container import make_body, path_on_host
from reconciler.runtime.haproxy_control import Stat
from reconciler.runtime.haproxy_running import refusal
from reconciler.runtime.haproxy_servers import commands, counted
from reconciler.runtime.proxy import Counters, Front, Route, Server
from reconciler.runtime.proxy_record import (
    ROOM,
    Record,
    Slot,
    dump_record,
    load_record,
    with_front,
    with_servers,
    without,
)
from reconciler.spec.plain import from_plain
from reconciler.spec.routes import Expose, ProxySettings

WEB, DB = "shop/web", "shop/db"
HOST = Host(uid=0, ipv6=False)
ONE, TWO = Server("1" * 64, "172.18.0.2"), Server("2" * 64, "172.18.0.3", 20)
TLS = {"cert": {"file": "c"}, "key": {"file": "k"}}


def route(certificate: str | None = "", **expose: object) -> Route:
    return Route(from_plain(Expose, expose), certificate)


def front(routes: dict[str, Route], **fields: object) -> Front:
    settings = from_plain(ProxySettings, fields.pop("settings", {}))  # type: ignore[arg-type]
    return Front("shop", settings, routes, **fields)  # type: ignore[arg-type]


def record(routes: dict[str, Route], **fields: object) -> Record:
    digests = {app: "d" * 32 for app, one in routes.items() if one.certificate}
    return with_front(Record("shop"), front(routes, **fields), digests)


WEB_ROUTE = route(http={"domains": ["a.example.com", "*.example.org"], "path": "/api", "port": 80})
DB_ROUTE = route(tcp={"listen": 5432, "port": 5432})


def config(found: Record, host: Host = HOST) -> list[str]:
    return [line.strip() for line in render(found, host)["haproxy.cfg"].splitlines()]


def test_map_has_each_domain_with_its_path() -> None:
    found = render(record({WEB: WEB_ROUTE}), HOST)["routes.map"]
    assert found == "*.example.org/api/ http-web\na.example.com/api/ http-web\n"


def test_servers_in_use_draining_and_free() -> None:
    found = with_servers(with_servers(record({DB: DB_ROUTE}), DB, [ONE]), DB, [TWO])
    servers = [line for line in config(found) if line.startswith("server ")]
    assert servers[:3] == [
        "server s1 172.18.0.2:5432 weight 0",
        "server s2 172.18.0.3:5432 weight 20",
        "server s3 127.0.0.1:1 weight 0 disabled",
    ]
    assert len(servers) == ROOM


def test_listens_only_for_what_is_exposed() -> None:
    def binds(found: Record, host: Host = HOST) -> list[str]:
        return [line.split()[1] for line in config(found, host) if line.startswith("bind ")]

    secure = route("PEM", http={"domains": ["a"], "port": 80, "tls": TLS})
    assert binds(record({DB: DB_ROUTE})) == ["*:5432"]
    assert binds(record({WEB: WEB_ROUTE})) == ["*:80"]
    assert binds(record({WEB: secure}), Host(0, ipv6=True)) == ["*:80", ":::80", "*:443", ":::443"]
    settings = {"address": "192.0.2.1", "http": 8080}
    assert binds(record({WEB: WEB_ROUTE}, settings=settings)) == ["192.0.2.1:8080"]


def test_only_with_a_certificate_there_is_a_redirect() -> None:
    secure = {"domains": ["a"], "port": 80, "tls": TLS}

    def redirects(found: Record) -> bool:
        return any("redirect code 308" in line for line in config(found))

    assert redirects(record({WEB: route("PEM", http=secure)}))
    assert not redirects(record({WEB: route("PEM", http={**secure, "redirect_https": False})}))
    assert not redirects(record({WEB: route(None, http=secure)}))


def test_unreadable_certificate_keeps_the_one_in_use() -> None:
    secure = {"domains": ["a"], "port": 80, "tls": TLS}
    before = record({WEB: route("PEM", http=secure)})
    after = with_front(before, front({WEB: route(None, http=secure)}), {})
    assert after == before


def test_structure_is_all_but_the_servers() -> None:
    before = record({WEB: WEB_ROUTE, DB: DB_ROUTE})
    assert structure_hash(with_servers(before, WEB, [ONE, TWO])) == structure_hash(before)
    assert structure_hash(record({WEB: WEB_ROUTE})) != structure_hash(before)
    assert structure_hash(record({DB: DB_ROUTE, WEB: WEB_ROUTE})) == structure_hash(before)


def test_slots_are_taken_in_turn_and_more_made_when_needed() -> None:
    found = record({WEB: WEB_ROUTE})
    for number in range(1, 12):
        server = Server(f"id{number}", f"172.18.0.{number}")
        found = with_servers(found, WEB, [server])
        assert [slot.server for slot in found.of(WEB) if not slot.draining] == [server]
        assert found.of(WEB)[-1].number == (number - 1) % ROOM + 1
        if number > 1:
            found = without(found, WEB, [f"id{number - 1}"])
    crew = [Server(f"new{number}", f"172.18.1.{number}") for number in range(ROOM)]
    grown = with_servers(found, WEB, crew)
    assert grown.room[WEB] == 2 * ROOM
    assert len({slot.number for slot in grown.of(WEB)}) == ROOM + 1


def test_container_keeps_its_slot_and_may_come_back() -> None:
    found = with_servers(record({WEB: WEB_ROUTE}), WEB, [ONE])
    away = with_servers(found, WEB, [TWO])
    assert [slot.draining for slot in away.of(WEB)] == [True, False]
    back = with_servers(away, WEB, [ONE])
    assert [slot.draining for slot in back.of(WEB)] == [False, True]
    assert with_servers(back, WEB, [ONE]) == back


def test_kept_route_gives_way_to_another_app() -> None:
    before = with_servers(record({WEB: WEB_ROUTE, DB: DB_ROUTE}), WEB, [ONE])
    kept = with_front(before, front({}, kept=[WEB, DB]), {})
    assert (kept.routes, kept.of(WEB)) == (before.routes, before.of(WEB))
    other = with_front(before, front({"shop/new": WEB_ROUTE}, kept=[WEB, DB]), {})
    assert other.routes.keys() == {"shop/new", DB}


def test_record_survives_being_written_down() -> None:
    secure = route("PEM", http={"domains": ["a"], "port": 80, "tls": TLS})
    found = with_servers(record({WEB: secure, DB: DB_ROUTE}), WEB, [ONE, TWO])
    assert load_record(dump_record(found)) == found


def stat(number: int, address: str, weight: int = 0, *, disabled: bool = False) -> Stat:
    return Stat("tcp-db", number, address, weight, disabled, 0, Counters())


def test_commands_first_for_what_comes_then_for_what_goes() -> None:
    found = with_servers(with_servers(record({DB: DB_ROUTE}), DB, [ONE]), DB, [TWO])
    free = [stat(number, "127.0.0.1:1", disabled=True) for number in range(2, ROOM + 1)]
    stats = [stat(1, "172.18.0.2:5432", 100), *free]
    assert commands(found, [DB], stats) == [
        "set server tcp-db/s2 addr 172.18.0.3 port 5432",
        "set server tcp-db/s2 weight 20",
        "set server tcp-db/s2 state ready",
        "set server tcp-db/s1 weight 0",
    ]
    done = [stat(1, "172.18.0.2:5432"), stat(2, "172.18.0.3:5432", 20), *free[1:]]
    assert commands(found, [DB], done) == []
    dropped = without(found, DB, [ONE.container])
    assert commands(dropped, [DB], done) == ["set server tcp-db/s1 state maint"]


def test_counters_begin_with_the_container_or_with_the_worker() -> None:
    counters = Counters(12, 3, 1)
    stats = [Stat("http-web", 1, "", 100, False, 0, counters)]
    slot = Slot(1, ONE, base=Counters(10, 3, 0), since=1000.0)
    assert counted(slot, stats, worker_since=500.0) == Counters(2, 0, 1)
    assert counted(slot, stats, worker_since=1010.0) == counters


def test_container_may_do_no_more_than_it_needs(tmp_path: Path) -> None:
    body = make_body(ProxySettings(), tmp_path, HOST, "shop")["HostConfig"]
    assert (body["CapDrop"], body["CapAdd"]) == (["ALL"], ["NET_BIND_SERVICE"])
    assert body["ReadonlyRootfs"]
    assert [mount["ReadOnly"] for mount in body["Mounts"]] == [True, False]


def test_path_of_a_process_in_a_container() -> None:
    mounts = [
        {"Source": "/srv", "Destination": "/var"},
        {"Source": "/var/lib/docker/volumes/x/_data", "Destination": "/var/lib/reconciler"},
    ]
    found = path_on_host(Path("/var/lib/reconciler/proxy/shop"), mounts)
    assert found == Path("/var/lib/docker/volumes/x/_data/proxy/shop")
    with pytest.raises(DeployError, match="is in no volume"):
        path_on_host(Path("/state"), mounts)


def test_refusal_names_the_port() -> None:
    said = "[NOTICE] x\n[ALERT] (1) : Starting frontend web: cannot bind socket [0.0.0.0:80]\n"
    assert "can't listen on 0.0.0.0:80" in refusal(said).what
    assert refusal("[ALERT] (1) : no memory").detail == "[ALERT] (1) : no memory"
