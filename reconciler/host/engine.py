"""One Docker engine: light requests over its socket, and the SDK.

The SDK costs a quarter of a second to import, so what runs on every pass (`list` of containers)
and in every deployment goes over the socket with `http.client` (`host.wire`); long answers that
have to be cancelled are read by `host.stream`.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from reconciler.errors import DeployError, DiskFull, EngineUnavailable, ReconcilerError
from reconciler.host.access import Access, default_access
from reconciler.host.wire import Wire
from reconciler.values import frozen

if TYPE_CHECKING:
    from docker import DockerClient

TODO_UNAVAILABLE = "Start the engine, or correct DOCKER_HOST."
TODO_DENIED = "Add your user to the socket's group (often `docker`) and log in again, or be root."


@frozen
class Request:
    """One call of the engine's API. `path` has no version, so the engine's own one is used.

    A sequence as a query's value repeats its name. A body that isn't bytes is sent in chunks.
    """

    method: str
    path: str
    query: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] | None = None

    @property
    def target(self) -> str:
        """What stands in the request's first line."""
        path = quote(self.path, safe="/:@")
        return f"{path}?{urlencode(self.query, doseq=True)}" if self.query else path


@frozen
class Answer:
    """What the engine said. Names in `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def message(self) -> str:
        """The engine's own words for why it refused."""
        return read_message(self.body)

    def json(self) -> Any:
        """The document in the body."""
        return json.loads(self.body)


def read_message(body: bytes) -> str:
    """The text of an error's body: `{"message": …}`, or whatever it is."""
    try:
        return str(json.loads(body)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip()


class Engine:
    """The engine of `access`, or at this URL (default: `DOCKER_HOST`, else the local socket)."""

    def __init__(self, access: Access | str | None = None) -> None:
        if not isinstance(access, Access):
            access = Access(access) if access else default_access()
        self.access = access
        self.url = access.url
        self._lock = threading.Lock()
        self._client: DockerClient | None = None

    def get(self, path: str, query: Mapping[str, str] | None = None, timeout: float = 10) -> Any:
        """GET a JSON document, e.g. `/containers/json`. Raises `EngineUnavailable`."""
        answer = self.send(Request("GET", path, query or {}), timeout)
        if not answer.ok:
            raise self.unavailable(f"{path} was answered with {answer.status}: {answer.message}")
        return answer.json()

    def send(self, request: Request, timeout: float | None = 30) -> Answer:
        """One call; the caller judges the status. Without a timeout no silence is too long.

        Raises `EngineUnavailable`.
        """
        wire = self.connect(timeout)
        try:
            head = wire.ask(request.method, request.target, request.headers, request.body)
            body = wire.read()
        except OSError as error:
            raise self.unavailable(str(error)) from error
        finally:
            wire.close()
        return Answer(head.status, head.headers, body)

    def unavailable(self, reason: str, app: str = "") -> EngineUnavailable:
        """The error for an engine that doesn't answer."""
        return EngineUnavailable(
            f"the Docker engine at {self.url} doesn't answer: {reason}",
            app=app,
            todo=TODO_DENIED if "Permission denied" in reason else TODO_UNAVAILABLE,
        )

    def connect(self, timeout: float | None) -> Wire:
        """An open connection for one request of the caller's. Raises `EngineUnavailable`."""
        try:
            return Wire(self._open(timeout))
        except OSError as error:
            raise self.unavailable(error.strerror or str(error)) from error

    def _open(self, timeout: float | None) -> socket.socket:
        parts = urlsplit(self.url)
        if parts.scheme in ("tcp", "http") and parts.hostname:
            return socket.create_connection((parts.hostname, parts.port or 2375), timeout)
        if parts.scheme != "unix":
            raise EngineUnavailable(
                f"the engine's address {self.url} isn't supported",
                todo="Use unix:///path/to/docker.sock or tcp://host:port in DOCKER_HOST.",
            )
        opened = socket.socket(socket.AF_UNIX)
        try:
            opened.settimeout(timeout)
            opened.connect(parts.path)
        except BaseException:
            opened.close()
            raise
        return opened

    def cli_environment(self) -> Mapping[str, str | None]:
        """What leads the docker command line to this engine; None unsets a name."""
        return {"DOCKER_HOST": self.url, "DOCKER_TLS_VERIFY": None, "DOCKER_CERT_PATH": None}

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """A TCP connection to what the engine's machine knows by `address`. Raises `OSError`."""
        return socket.create_connection((address, port), timeout)

    @property
    def client(self) -> DockerClient:
        """The SDK's client, made at first use; safe to use from several threads."""
        with self._lock:
            if self._client is None:
                import docker

                with self.errors():
                    self._client = docker.DockerClient(
                        base_url=self.url, version="auto", timeout=120, max_pool_size=32
                    )
            return self._client

    def close(self) -> None:
        """Close the SDK's connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    @contextmanager
    def errors(
        self, app: str = "", otherwise: type[ReconcilerError] = DeployError
    ) -> Iterator[None]:
        """Turn what the SDK raises into our tree: unreachable, disk full, or `otherwise`."""
        import docker.errors
        import requests.exceptions

        try:
            yield
        except docker.errors.APIError as error:
            text = str(error.explanation or error)
            if "no space left on device" in text:
                raise DiskFull(
                    f"the engine's disk is full: {text}", app=app, todo="Free space on the host."
                ) from error
            raise otherwise(f"the engine refused: {text}", app=app) from error
        except (requests.exceptions.RequestException, docker.errors.DockerException) as error:
            raise self.unavailable(str(error), app) from error
