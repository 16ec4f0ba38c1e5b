"""One Docker engine: a light GET for reading, the SDK for everything that writes.

The SDK costs a quarter of a second to import, so what runs on every pass (`list` of containers)
goes over the socket with `http.client`.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from reconciler.errors import DeployError, DiskFull, EngineUnavailable, ReconcilerError

if TYPE_CHECKING:
    from docker import DockerClient

DEFAULT_URL = "unix:///var/run/docker.sock"
TODO_UNAVAILABLE = "Start the engine or correct DOCKER_HOST; `reconcile doctor` tells more."


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """The engine at `url` (default: `DOCKER_HOST`, else the local socket)."""

    def __init__(self, url: str | None = None) -> None:
        self.url = url or os.environ.get("DOCKER_HOST") or DEFAULT_URL
        self._lock = threading.Lock()
        self._client: DockerClient | None = None

    def get(self, path: str, query: Mapping[str, str] | None = None, timeout: float = 10) -> Any:
        """GET a JSON document, e.g. `/containers/json`. Raises `EngineUnavailable`."""
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            connection = self._connect(timeout)
            try:
                connection.request("GET", target)
                response = connection.getresponse()
                body = response.read()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise self.unavailable(str(error)) from error
        if response.status != http.HTTPStatus.OK:
            raise self.unavailable(f"{path} was answered with {response.status}")
        return json.loads(body)

    def unavailable(self, reason: str) -> EngineUnavailable:
        """The error for an engine that doesn't answer."""
        return EngineUnavailable(
            f"the Docker engine at {self.url} doesn't answer: {reason}", todo=TODO_UNAVAILABLE
        )

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return _UnixConnection(parts.path, timeout)
        if parts.scheme in ("tcp", "http") and parts.hostname:
            return http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=timeout)
        raise EngineUnavailable(
            f"the engine's address {self.url} isn't supported",
            todo="Use unix:///path/to/docker.sock or tcp://host:port in DOCKER_HOST.",
        )

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
            problem = self.unavailable(str(error))
            problem.app = app
            raise problem from error
