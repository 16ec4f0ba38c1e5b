"""How requests reach an app: routes through the project's proxy, and the proxy itself."""

# No `from __future__ import annotations`: annotations are read when the class is made.

from collections.abc import Iterator

from reconciler.spec.declare import Rule, Section, about, section
from reconciler.spec.fields import (
    Address,
    Domain,
    Duration,
    ImageReference,
    Network,
    PortNumber,
    RoutePath,
    Switch,
)
from reconciler.spec.sources import Ref

DEFAULT_IMAGE = "haproxy:2.8-alpine"


@section
class Certificate(Section):
    """A TLS certificate. Changed files are taken up without a dropped request."""

    cert: Ref = about(
        "The certificate with its chain, PEM.", {"file": "/etc/letsencrypt/live/shop/fullchain.pem"}
    )
    key: Ref = about("Its private key, PEM.", {"file": "/etc/letsencrypt/live/shop/privkey.pem"})


@section
class HttpRoute(Section):
    """Requests for some domains, below a path."""

    domains: tuple[Domain, ...] = about(
        "Domains of this app; *.example.com stands for one more label.",
        ["shop.example.com"],
    )
    path: RoutePath = about(
        "Requests for this path and all below it; of several apps the longest path wins.",
        "/api",
        default="/",
    )
    port: PortNumber = about("Port inside the container that answers HTTP.", 8000)
    tls: Certificate | None = about(
        "Answer https with this certificate.",
        {"cert": {"file": "tls/shop.pem"}, "key": {"file": "tls/shop.key"}},
        default=None,
    )
    redirect_https: Switch = about("With tls: send plain HTTP to https (308).", False, default=True)
    sticky: Switch = about(
        "Keep each visitor, by a cookie, on the container that answered first.",
        True,
        default=False,
    )
    timeout: Duration = about(
        "The longest silence of the app before the proxy gives its answer up.",
        "5m",
        default="60s",
    )

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        if not self.domains:
            yield "domains", "expected at least one domain"


@section
class TcpRoute(Section):
    """Connections to a port of the host."""

    listen: PortNumber = about("Port of the host that the proxy listens on.", 5432)
    port: PortNumber = about("Port inside the container.", 5432)
    timeout: Duration = about(
        "The longest silence of both sides before the proxy closes a connection.",
        "1h",
        default="1d",
    )


@section
class Expose(Section):
    """How requests reach the app through the project's proxy: http, tcp or both."""

    http: HttpRoute | None = about(
        "By domain and path.",
        {"domains": ["shop.example.com"], "port": 8000},
        default=None,
    )
    tcp: TcpRoute | None = about(
        "By a port of the host.", {"listen": 5432, "port": 5432}, default=None
    )

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        if self.http is None and self.tcp is None:
            yield "http", "one of http and tcp says how the app is reached"


@section
class ProxySettings(Section):
    """The project's proxy, HAProxy in a container. It runs once an app has `expose`."""

    image: ImageReference = about(
        "Image of HAProxy 2.6 or later.", "haproxy:3.0-alpine", default=DEFAULT_IMAGE
    )
    http: PortNumber = about("Port for plain HTTP.", 8080, default=80)
    https: PortNumber = about("Port for TLS.", 8443, default=443)
    address: Address = about(
        "Address of the host to listen on; * for all.", "192.0.2.10", default="*"
    )
    trusted: tuple[Network, ...] = about(
        "Proxies in front of this one, whose X-Forwarded-* headers are believed.",
        ["10.0.0.0/8"],
        default=(),
    )

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        if self.http == self.https:
            yield "https", "plain HTTP and TLS need a port each"
