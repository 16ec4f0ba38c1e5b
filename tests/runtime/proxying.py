"""A real proxy in front of small servers of this process, at addresses of the loopback network."""

import itertools
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.host.labels import LABEL_PROXY
from reconciler.runtime.haproxy import HaProxy
from reconciler.runtime.proxy import Front, Route, Server, ServerState
from reconciler.spec.models import Expose
from reconciler.spec.plain import from_plain
from reconciler.spec.routes import ProxySettings
from tests.support.engine import PrivateEngine
from tests.support.haproxy import HAPROXY_IMAGE

_octets = itertools.count(2)


class _Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_HttpServer"

    def do_GET(self) -> None:
        self.server.headers.append({k.lower(): v for k, v in self.headers.items()})
        if self.path.startswith("/broken"):
            self._answer(500, "broken")
        elif self.path.startswith("/upgrade"):
            self._talk()
        else:
            self._answer(200, self.server.name)

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _talk(self) -> None:
        """As a WebSocket: after the first answer each line is answered."""
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "lines")
        self.end_headers()
        for line in self.rfile:
            self.wfile.write(f"{self.server.name} ".encode() + line)
        self.close_connection = True

    def log_message(self, *_args: Any) -> None:
        """Nothing."""


class _Lines(socketserver.StreamRequestHandler):
    server: "_LineServer"

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(f"{self.server.name} ".encode() + line)


class _HttpServer(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], name: str) -> None:
        self.name = name
        self.headers: list[dict[str, str]] = []
        super().__init__(address, _Pages)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The proxy may close idle connections."""


class _LineServer(socketserver.ThreadingTCPServer):
    request_queue_size = 128
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], name: str) -> None:
        self.name = name
        super().__init__(address, _Lines)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The proxy may close connections."""


class Backend:
    """An app's copy: it answers HTTP at `bench.app_http` and lines at `bench.app_tcp`."""

    def __init__(self, name: str, http: int, tcp: int) -> None:
        self.name = name
        number = next(_octets)
        self.address = f"127.1.{number // 250}.{number % 250 + 2}"
        self.http = _HttpServer((self.address, http), name)
        self.tcp = _LineServer((self.address, tcp), name)
        for server in (self.http, self.tcp):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def server(self, weight: int = 100) -> Server:
        return Server(f"id-{self.name}", self.address, weight)

    def close(self) -> None:
        """Refuse connections from now on; may be called twice."""
        for server in (self.http, self.tcp):
            server.shutdown()
            server.server_close()


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now; below those that the kernel gives to clients."""
    found: list[int] = []
    for port in itertools.chain(range(10_000 + time.time_ns() // 1000 % 15_000, 32_000)):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found


class Talk:
    """Lines to and fro."""

    def __init__(self, connection: socket.socket, lines: Any) -> None:
        self._connection, self._lines = connection, lines

    def say(self, line: str) -> str:
        """What is answered; empty when the connection has ended."""
        try:
            self._connection.sendall(f"{line}\n".encode())
            return str(self._lines.readline()).strip()
        except ConnectionError:
            return ""


class ProxyBench:
    """One project with its proxy."""

    def __init__(self, engine: PrivateEngine, project: str, state_dir: Path) -> None:
        self.engine = engine
        self.project = project
        self.state_dir = state_dir
        self.http, self.https, self.tcp, self.app_http, self.app_tcp = free_ports(5)
        self.proxy = HaProxy(Engine(engine.url), state_dir)
        self._taken = socket.create_server(("0.0.0.0", 0))
        self.lines: list[str] = []
        self.job = Job(log=self.lines.append)
        self.image = HAPROXY_IMAGE
        self.trusted: tuple[str, ...] = ()
        self.routes: dict[str, Route] = {}
        self.backends: list[Backend] = []

    def backend(self, name: str) -> Backend:
        self.backends.append(Backend(name, self.app_http, self.app_tcp))
        return self.backends[-1]

    def app(self, name: str) -> str:
        return f"{self.project}/{name}"

    def route(self, name: str, certificate: str = "", **expose: Any) -> None:
        """`http` and `tcp` as in the spec, without the app's port."""
        if "http" in expose:
            expose["http"] = {"port": self.app_http, **expose["http"]}
            if certificate:
                expose["http"]["tls"] = {"cert": {"file": "c"}, "key": {"file": "k"}}
        if "tcp" in expose:
            expose["tcp"] = {"listen": self.tcp, "port": self.app_tcp, **expose["tcp"]}
        self.routes[self.app(name)] = Route(from_plain(Expose, expose), certificate)

    def front(self, servers: dict[str, list[Server]] | None = None) -> Front:
        settings = ProxySettings(
            image=self.image, http=self.http, https=self.https, trusted=self.trusted
        )
        named = {self.app(name): tuple(found) for name, found in (servers or {}).items()}
        return Front(self.project, settings, self.routes, named)

    def settle(
        self, servers: dict[str, list[Server]] | None = None, proxy: HaProxy | None = None
    ) -> tuple[str, ...]:
        """`servers` by app; other apps are left as they are."""
        return (proxy or self.proxy).settle(self.front(servers), self.job)

    def examine(self) -> tuple[str, ...]:
        return self.proxy.examine(self.front())

    def look(self, name: str) -> tuple[ServerState, ...]:
        return self.proxy.look(self.app(name))

    def switch(self, name: str, *servers: Server) -> None:
        self.proxy.switch(self.app(name), servers, self.job)

    def draining(self, name: str) -> int:
        """Sessions of servers that drain."""
        return sum(one.sessions for one in self.look(name) if one.draining)

    def drop(self, name: str, *backends: Backend) -> None:
        ids = [one.server().container for one in backends]
        self.proxy.drop(self.app(name), ids, self.job)

    def containers(self) -> list[Any]:
        return self.engine.containers(f"{LABEL_PROXY}={self.project}")

    def get(
        self, url: str, *, https: bool = False, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers of one request to the proxy: `host/path`."""
        connection = HTTPConnection("127.0.0.1", self.http, timeout=5)
        if https:
            connection = HTTPSConnection("127.0.0.1", self.https, context=_trusting(), timeout=5)
        try:
            host, _, path = url.partition("/")
            connection.request("GET", f"/{path}", headers={"Host": host, **headers})
            return _read(connection.getresponse())
        finally:
            connection.close()

    def text(self, url: str, *, https: bool = False, **headers: str) -> str:
        """The body, or the status when it isn't 200, or why there is no answer."""
        try:
            status, body, _ = self.get(url, https=https, **headers)
        except (OSError, HTTPException) as error:
            return str(error)
        return body if status == 200 else f"{status}"

    def line(self) -> str:
        """Who answers a line over TCP."""
        with socket.create_connection(("127.0.0.1", self.tcp), 5) as connection:
            connection.sendall(b"hello\n")
            return connection.makefile().readline().removesuffix(" hello\n")

    def taken(self) -> int:
        """A port that this process listens on."""
        return int(self._taken.getsockname()[1])

    def certificate_of(self, domain: str) -> str:
        """The common name of the certificate that is shown for a domain."""
        with (
            socket.create_connection(("127.0.0.1", self.https), 5) as plain,
            _trusting().wrap_socket(plain, server_hostname=domain) as wrapped,
        ):
            der = wrapped.getpeercert(binary_form=True)
            assert der is not None
            pem = ssl.DER_cert_to_PEM_cert(der)
        argv = ["openssl", "x509", "-noout", "-subject", "-nameopt", "multiline"]
        told = subprocess.run(argv, input=pem, capture_output=True, text=True, check=True).stdout
        return told.rpartition("= ")[2].strip()

    @contextmanager
    def talk(self, host: str) -> Iterator["Talk"]:
        """An upgraded connection."""
        with socket.create_connection(("127.0.0.1", self.http), 5) as connection:
            request = f"GET /upgrade HTTP/1.1\r\nHost: {host}\r\n"
            request += "Connection: Upgrade\r\nUpgrade: lines\r\n\r\n"
            connection.sendall(request.encode())
            with connection.makefile("r") as lines:
                while lines.readline().strip():
                    pass
                yield Talk(connection, lines)

    def close(self) -> None:
        self._taken.close()
        for backend in self.backends:
            backend.close()


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _read(answer: HTTPResponse) -> tuple[int, str, dict[str, str]]:
    return answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()}


def make_certificate(directory: Path, name: str) -> str:
    """A self-signed certificate for a domain, with its key, as one PEM text."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    argv += ["-nodes", "-subj", f"/CN={name}", "-days", "2", "-keyout", key, "-out", certificate]
    subprocess.run(argv, check=True, capture_output=True)
    return certificate.read_text() + key.read_text()
