"""From a record to the files that HAProxy (2.6 and later) reads. Pure.

- Which app gets a request is looked up in a map of `host/path/` by the longest beginning; an exact
  host comes before a wildcard.
- A server that drains has the weight 0: it finishes what it has, and visitors that stick to it by
  their cookie may stay until it is dropped. A free slot is disabled.
- A server that refuses a connection, or a request without side effects that it breaks off, is
  tried once more elsewhere. There are no checks of its own: who takes traffic is told to it.
- Without SO_REUSEPORT, so that two proxies can't share a port by accident. Reloads and newer
  proxies get the listening sockets from the one that has them.
- `description` holds the hash of all that needs a reload, for the proxy to say what it runs with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

from reconciler.runtime.proxy_record import Record, Slot, dump_record
from reconciler.spec.routes import HttpRoute, TcpRoute
from reconciler.spec.scalars import seconds
from reconciler.values import frozen

CONFIG_FILE = "haproxy.cfg"
INSIDE = "/proxy"
"""Where the proxy's directory is in its container."""
WORKER_SOCKET, MASTER_SOCKET = "run/worker.sock", "run/master.sock"
RENDERING = 1
"""Counts up when the same record is rendered in another way, so that proxies reload."""
MOST_FILES = 65_536
"""Two a connection, where the engine allows as many; without it, tables for a billion are made
where it allows that."""
LAST_SESSIONS = "1h"
"""How long connections of before a reload, and of a proxy that was replaced, may go on."""
FREE = "127.0.0.1:1"


@frozen
class Host:
    """What the machine is like. `uid`: who has to reach the sockets. `ipv6`: it has addresses."""

    uid: int
    ipv6: bool


def structure_hash(record: Record) -> str:
    """Of everything but the servers: what needs a reload when it changes."""
    document = dump_record(record)
    parts = [document[key] for key in ("settings", "routes", "certificates", "room", "container")]
    text = json.dumps([RENDERING, *parts], sort_keys=True)
    return f"v1:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def render(record: Record, host: Host) -> dict[str, str]:
    """The text of each file by its path, without the certificates."""
    return {
        CONFIG_FILE: "\n".join([*_config(record, host), ""]),
        "routes.map": _map(record),
        "crt-list.txt": _certificates(record),
    }


def backends(record: Record, app: str) -> dict[str, int]:
    """An app's sections of the configuration, and the container's port that each goes to."""
    expose, name = record.routes.get(app), _name(app)
    found = {}
    if expose is not None and expose.http is not None:
        found[f"http-{name}"] = expose.http.port
    if expose is not None and expose.tcp is not None:
        found[f"tcp-{name}"] = expose.tcp.port
    return found


def certificate_file(app: str, digest: str) -> str:
    """Where the PEM of an app belongs; a newer one stands beside it until it is in use."""
    return f"certificates/{_name(app)}-{digest[:12]}.pem"


def _config(record: Record, host: Host) -> Iterator[str]:
    yield from (
        "global",
        f"    description {structure_hash(record)}",
        f"    fd-hard-limit {MOST_FILES}",
        "    noreuseport",
        f"    hard-stop-after {LAST_SESSIONS}",
        f"    stats socket {INSIDE}/{WORKER_SOCKET} mode 600 uid {host.uid} level admin"
        " expose-fd listeners",
        "    stats timeout 10s",
        "    tune.ssl.default-dh-param 2048",
        "    ssl-default-bind-options ssl-min-ver TLSv1.2",
        "",
        "defaults",
        "    timeout connect 5s",
        "    timeout client 60s",
        "    timeout client-fin 30s",
        "    timeout server 60s",
        "    timeout http-request 10s",
        "    timeout http-keep-alive 60s",
        "    retries 3",
        "    option redispatch 1",
    )
    web = [(app, one.http) for app, one in record.routes.items() if one.http]
    if web:
        yield from _frontend(record, host)
    for app, route in web:
        yield from _web_backend(record, app, route)
    for app, one in record.routes.items():
        if one.tcp:
            yield from _tcp(record, host, app, one.tcp)


def _binds(record: Record, host: Host, port: int, options: str = "") -> Iterator[str]:
    address = record.settings.address
    if address == "*":
        yield f"    bind *:{port}{options}"
        if host.ipv6:
            yield f"    bind :::{port} v6only{options}"
    else:
        yield f"    bind {'ipv6@' if ':' in address else ''}{address}:{port}{options}"


def _frontend(record: Record, host: Host) -> Iterator[str]:
    yield from ("", "frontend web", "    mode http", "    option idle-close-on-response")
    yield from _binds(record, host, record.settings.http)
    if record.certificates:
        tls = f" ssl crt-list {INSIDE}/crt-list.txt alpn h2,http/1.1"
        yield from _binds(record, host, record.settings.https, tls)
    lookup = f"var(txn.key),map_beg({INSIDE}/routes.map)"
    yield from (
        f"    acl trusted src {' '.join(record.settings.trusted) or '255.255.255.255'}",
        "    acl routed var(txn.backend) -m found",
        "    http-request set-var(txn.host) req.hdr(host),field(1,:),lower",
        "    http-request set-var-fmt(txn.key) %[var(txn.host)]%[path]/",
        f"    http-request set-var(txn.backend) {lookup}",
        "    http-request set-var-fmt(txn.key) *.%[var(txn.host),field(2,.,0)]%[path]/ if !routed",
        f"    http-request set-var(txn.backend) {lookup} if !routed",
        "    http-request return status 404 content-type text/plain"
        ' string "There is no app at this address.\\n" if !routed',
        *_forwarded(),
        "    use_backend %[var(txn.backend)]",
    )


def _forwarded() -> Iterator[str]:
    """X-Forwarded-*: of anybody but a trusted proxy they are replaced."""
    for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port"):
        yield f"    http-request del-header {name} if !trusted"
    yield from (
        "    http-request del-header Proxy",
        "    http-request set-var(txn.for) src",
        "    http-request set-var-fmt(txn.for) %[req.fhdr(x-forwarded-for)],%[src]"
        " if { req.hdr(x-forwarded-for) -m found }",
        "    http-request set-header X-Forwarded-For %[var(txn.for)]",
    )
    for name, value in (
        ("Host", "%[req.hdr(host)]"),
        ("Port", "%[dst_port]"),
    ):
        header = f"X-Forwarded-{name}"
        missing = f"if !{{ req.hdr({header}) -m found }}"
        yield f"    http-request set-header {header} {value} {missing}"
    proto = "http-request set-header X-Forwarded-Proto"
    known = "trusted { req.hdr(x-forwarded-proto) -m found }"
    yield f"    {proto} %[ssl_fc,iif(https,http)] unless {known}"


def _web_backend(record: Record, app: str, route: HttpRoute) -> Iterator[str]:
    yield from (
        "",
        f"backend http-{_name(app)}",
        "    mode http",
        "    balance roundrobin",
        "    retry-on conn-failure empty-response",
        "    http-request disable-l7-retry if !{ method GET HEAD OPTIONS }",
        f"    timeout server {_milliseconds(route.timeout)}",
        "    timeout tunnel 1h",
    )
    if _redirects(record, app, route):
        port = "" if record.settings.https == 443 else f":{record.settings.https}"
        yield (
            f"    http-request redirect code 308 location https://%[var(txn.host)]{port}%[pathq]"
            " unless { req.hdr(x-forwarded-proto) https }"
        )
    if route.sticky:
        secure = " secure" if _redirects(record, app, route) else ""
        yield f"    cookie server-{_name(app)} insert indirect nocache httponly{secure}"
    yield from _servers(record, app, route.port, cookies=route.sticky)


def _redirects(record: Record, app: str, route: HttpRoute) -> bool:
    return route.redirect_https and app in record.certificates


def _tcp(record: Record, host: Host, app: str, route: TcpRoute) -> Iterator[str]:
    timeout = _milliseconds(route.timeout)
    yield from ("", f"listen tcp-{_name(app)}", "    mode tcp", "    balance leastconn")
    yield from ("    option clitcpka", "    option srvtcpka")
    yield from (f"    timeout {what} {timeout}" for what in ("client", "server", "tunnel"))
    yield from _binds(record, host, route.listen)
    yield from _servers(record, app, route.port)


def _servers(record: Record, app: str, port: int, *, cookies: bool = False) -> Iterator[str]:
    used = {slot.number: slot for slot in record.of(app)}
    for number in range(1, record.room[app] + 1):
        cookie = f" cookie s{number}" if cookies else ""
        yield f"    server s{number} {_server(used.get(number), port)}{cookie}"


def _server(slot: Slot | None, port: int) -> str:
    if slot is None:
        return f"{FREE} weight 0 disabled"
    sixth = "ipv6@" if ":" in slot.server.address else ""
    return f"{sixth}{slot.server.address}:{port} weight {slot.weight}"


def _map(record: Record) -> str:
    """`host/path/ backend` lines; the slash at the end keeps /api from taking /apis."""
    lines = [
        f"{domain}{one.http.path.rstrip('/')}/ http-{_name(app)}"
        for app, one in record.routes.items()
        if one.http
        for domain in one.http.domains
    ]
    return "".join(f"{line}\n" for line in sorted(lines))


def _certificates(record: Record) -> str:
    """One line a certificate with its domains; the first is for clients that name none."""
    lines = [
        f"{INSIDE}/{certificate_file(app, digest)} {' '.join(one.http.domains)}"
        for app, one in sorted(record.routes.items())
        if one.http and (digest := record.certificates.get(app))
    ]
    return "".join(f"{line}\n" for line in lines)


def _name(app: str) -> str:
    return app.partition("/")[2]


def _milliseconds(duration: str) -> str:
    return f"{round(seconds(duration) * 1000)}ms"


def describe_change(old: Record, new: Record) -> list[str]:
    """What differs, as causes for people."""
    causes = [
        (old.routes != new.routes, "routes changed"),
        (old.certificates != new.certificates, "certificates changed"),
        (old.settings.image != new.settings.image, "proxy.image changed"),
        (_without_image(old) != _without_image(new), "proxy settings changed"),
    ]
    return [cause for differs, cause in causes if differs]


def _without_image(record: Record) -> Sequence[object]:
    settings: Mapping[str, object] = vars(record.settings)
    return [value for name, value in settings.items() if name != "image"]
