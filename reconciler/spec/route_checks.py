"""What only shows between the routes of apps: claims on one domain and path, or on one port."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.spec.checks import Checkable, say_place
from reconciler.spec.reading import Node, Reading, entries
from reconciler.spec.routes import ProxySettings
from reconciler.spec.scalars import parse_port
from reconciler.values import frozen


@frozen
class _Claim:
    """What an app wants for itself: a domain with its path, or a TCP port of the host."""

    what: tuple[str, str] | int
    name: str
    node: Node
    at: str

    @property
    def said(self) -> str:
        return f"port {self.what}" if isinstance(self.what, int) else "".join(self.what)


def check_routes(apps: Mapping[str, Checkable], proxy: ProxySettings | None, to: Reading) -> None:
    """Report what two apps claim. `proxy` is None when it isn't known."""
    exposed = {name: one for name, one in apps.items() if one.app.expose}
    if not exposed:
        return
    first: dict[tuple[str, str] | int, _Claim] = {}
    for claim in (claim for name, one in exposed.items() for claim in _claims(name, one)):
        earlier = first.setdefault(claim.what, claim)
        if earlier is not claim:
            whose = "twice" if earlier.name == claim.name else f"claimed by app {earlier.name} too"
            place = say_place(earlier.node)
            to.wrong(claim.node, claim.at, f"{claim.said} is {whose}, at {place}")
    web = next((name for name, one in exposed.items() if _http(one)), "")
    own = (proxy.http, proxy.https) if proxy and web else ()
    for claim in [claim for claim in first.values() if claim.what in own]:
        hint = "choose another, or others under proxy"
        to.wrong(claim.node, claim.at, f"{claim.said} is the proxy's for HTTP", hint)
    for name, one in apps.items():
        _check_ports(name, one, first, dict.fromkeys(own, web), to)


def _check_ports(
    name: str,
    one: Checkable,
    claimed: Mapping[tuple[str, str] | int, _Claim],
    own: Mapping[int, str],
    to: Reading,
) -> None:
    """Published ports that the proxy listens on."""
    for index, port in enumerate(map(parse_port, one.app.ports)):
        if port.protocol != "tcp":
            continue
        node, at = _at(one, "ports").value[index], f"apps.{name}.ports[{index}]"
        if claim := claimed.get(port.host):
            place = say_place(claim.node)
            to.wrong(
                node,
                at,
                f"the proxy listens on port {port.host} for app {claim.name}, at {place}",
                "an exposed port isn't published",
            )
        elif port.host in own:
            hint = "choose another, or others under proxy"
            message = f"the proxy listens on port {port.host} for app {own[port.host]}"
            to.wrong(node, at, message, hint)


def _claims(name: str, one: Checkable) -> Iterator[_Claim]:
    expose = one.app.expose
    if expose and expose.http:
        nodes = _at(one, "expose", "http", "domains").value
        for index, domain in enumerate(expose.http.domains):
            at = f"apps.{name}.expose.http.domains[{index}]"
            yield _Claim((domain, expose.http.path), name, nodes[index], at)
    if expose and expose.tcp:
        node = _at(one, "expose", "tcp", "listen")
        yield _Claim(expose.tcp.listen, name, node, f"apps.{name}.expose.tcp.listen")


def _http(one: Checkable) -> bool:
    return one.app.expose is not None and one.app.expose.http is not None


def _at(one: Checkable, *way: str) -> Node:
    node = one.node
    for name in way:
        node = entries(node, "", Reading())[name][1]
    return node
