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
from urllib.parse import quote, urlencode

from reconciler.errors import DeployError, DiskFull, EngineUnavailable, ReconcilerError
from reconciler.host.access import Access, default_access
from reconciler.host.ways import TODO_UNAVAILABLE, Endpoint, NoWay, Unreachable, make_way
from reconciler.host.wire import Wire
from reconciler.values import frozen

if TYPE_CHECKING:
    from docker import DockerClient


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


def _words(error: OSError) -> str:
    return error.strerror or str(error)


class Engine:
    """The engine of `access`, or at this URL (default: `DOCKER_HOST`, else the local socket).

    `trouble`: why it can't be asked at all, where the keys to it can't be read.
    """

    def __init__(
        self, access: Access | str | None = None, trouble: Unreachable | None = None
    ) -> None:
        if not isinstance(access, Access):
            access = Access(access) if access else default_access()
        self.access = access
        self.url = access.url
        self.trouble = trouble
        self._way = NoWay(trouble) if trouble else make_way(access)
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
        """The error for an engine that doesn't answer, when `reason` is what was seen."""
        return self._unreachable(self._way.explain(reason), app)

    def _unreachable(self, error: OSError, app: str = "") -> EngineUnavailable:
        found = error if isinstance(error, Unreachable) else self._way.explain(_words(error))
        place = f"of host {self.access.name} ({self.url})" if self.access.name else f"at {self.url}"
        return EngineUnavailable(
            f"the Docker engine {place} doesn't answer: {found.reason}",
            app=app,
            todo=found.todo or self._todo(),
        )

    def _todo(self) -> str:
        if self.access.name:
            return f"Start it, or correct hosts.{self.access.name}."
        return TODO_UNAVAILABLE

    def connect(self, timeout: float | None) -> Wire:
        """An open connection for one request of the caller's. Raises `EngineUnavailable`."""
        try:
            return Wire(self._way.open(timeout))
        except OSError as error:
            raise self._unreachable(error) from error

    def cli_environment(self) -> Mapping[str, str | None]:
        """What leads the docker command line to this engine; None unsets a name.

        Holds while the engine isn't closed. Raises `EngineUnavailable`.
        """
        endpoint = self._endpoint()
        directory = endpoint.certificates
        return {
            "DOCKER_HOST": endpoint.url,
            "DOCKER_TLS_VERIFY": "1" if directory else None,
            "DOCKER_CERT_PATH": str(directory) if directory else None,
        }

    def _endpoint(self) -> Endpoint:
        try:
            return self._way.endpoint()
        except OSError as error:
            raise self._unreachable(error) from error

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """A TCP connection to what the engine's machine knows by `address`. Raises `OSError`.

        Only where `access.dials_there`; else it begins on this machine.
        """
        return self._way.dial(address, port, timeout)

    @property
    def client(self) -> DockerClient:
        """The SDK's client, made at first use; safe to use from several threads."""
        endpoint = self._endpoint()
        with self._lock:
            if self._client is None:
                self._client = self._make_client(endpoint)
            return self._client

    def _make_client(self, endpoint: Endpoint) -> DockerClient:
        import docker

        tls: docker.tls.TLSConfig | bool = False
        if directory := endpoint.certificates:
            ca, cert, key = (directory / name for name in ("ca.pem", "cert.pem", "key.pem"))
            tls = docker.tls.TLSConfig(
                client_cert=(str(cert), str(key)) if cert.exists() else None,
                ca_cert=str(ca) if ca.exists() else None,
                verify=True,
            )
        version = self.get("/version")["ApiVersion"]
        with self.errors():
            client = docker.DockerClient(
                base_url=endpoint.url, version=version, timeout=120, max_pool_size=32, tls=tls
            )
        # Else REQUESTS_CA_BUNDLE would win over the engine's own CA (requests does that).
        client.api.trust_env = False
        return client

    def close(self) -> None:
        """End all that is held open: the SDK's connections, an ssh, files with keys."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None
        self._way.close()

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
