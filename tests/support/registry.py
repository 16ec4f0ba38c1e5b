"""Private image registries: Debian's docker-registry (distribution 2.8).

A registry listens in its engine's network namespace, on 127.0.0.1 unless told otherwise, so that
the engine pushes to it without TLS, and test code that is in the namespace reaches it by the same
address.
"""

import base64
import ctypes
import http.client
import itertools
import json
import os
import secrets
import socket
from typing import Any

from tests.support import system
from tests.support.engine import PrivateEngine

_numbers = itertools.count()
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "oci.image.index.v1",
    )
)


class PrivateRegistry:
    """`address` is `HOST:PORT`, the first part of an image's name.

    With `user` set it wants that name and `password`; without, it's open. Deleting is allowed.
    """

    def __init__(self, engine: PrivateEngine, user: str = "", host: str = "127.0.0.1") -> None:
        self.engine = engine
        self.host = host
        self.user = user
        self.password = secrets.token_urlsafe(12) if user else ""
        self.home = engine.home / f"registry-{os.getpid()}-{next(_numbers)}"
        self.home.mkdir()
        with engine.inside():
            self.port = _free_port(host)
        self.address = f"{host}:{self.port}"
        self.url = f"http://{self.address}"
        self._write_settings()

    @classmethod
    def at(cls, engine: PrivateEngine, address: str) -> "PrivateRegistry":
        """A handle of an open one that runs already; it can't be stopped by it."""
        found = cls.__new__(cls)
        found.engine, found.user, found.password = engine, "", ""
        found.address, found.url = address, f"http://{address}"
        found.host, port = address.split(":")
        found.port = int(port)
        return found

    def _write_settings(self) -> None:
        settings: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.home / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.address},
        }
        if self.user:
            line = f"{self.user}:{_bcrypt(self.password)}\n"
            (self.home / "htpasswd").write_text(line)
            settings["auth"] = {
                "htpasswd": {"realm": "tests", "path": str(self.home / "htpasswd")},
            }
        # JSON is YAML.
        (self.home / "config.yml").write_text(json.dumps(settings))

    def start(self) -> "PrivateRegistry":
        argv = ["docker-registry", "serve", str(self.home / "config.yml")]
        self._pid = self.engine.spawn(argv, self.home / "log")
        system.wait_until(self._answers, 20, f"an answer of the registry; {self.home / 'log'}")
        return self

    def stop(self) -> None:
        """End the registry; `start` brings it back at the same address with what it held."""
        system.kill_all([self._pid])

    def _answers(self) -> bool:
        try:
            return self._call("GET", "/v2/")[0] in (200, 401)
        except OSError:
            return False

    def _call(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        headers = {"Accept": _MANIFESTS}
        if self.user:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        with self.engine.inside():
            connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
            try:
                connection.request(method, path, headers=headers)
                answer = connection.getresponse()
                return answer.status, dict(answer.headers), answer.read()
            finally:
                connection.close()

    def request(self, method: str, path: str) -> tuple[dict[str, str], bytes]:
        """One call with this registry's own credentials: headers and body. Raises OSError."""
        status, headers, body = self._call(method, path)
        if status >= 400:
            raise OSError(f"{method} {path}: {status} {body.decode(errors='replace')}")
        return headers, body

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, sorted; [] when the registry doesn't know it."""
        status, _, body = self._call("GET", f"/v2/{repository}/tags/list")
        return sorted(json.loads(body)["tags"] or []) if status == 200 else []

    def digest(self, repository: str, reference: str) -> str:
        """`sha256:…` of the manifest behind a tag. Raises OSError when there is none."""
        headers, _ = self.request("HEAD", f"/v2/{repository}/manifests/{reference}")
        return headers["Docker-Content-Digest"]

    def put(self, repository: str, tag: str, image: str) -> str:
        """Push a local image as `repository:tag`, through the engine; its digest."""
        name = f"{self.address}/{repository}:{tag}"
        if self.user:
            self.login()
        self.engine.docker("tag", image, name)
        self.engine.docker("push", name)
        self.engine.docker("rmi", name)
        return self.digest(repository, tag)

    def login(self, engine: PrivateEngine | None = None) -> None:
        """Put the credentials into the docker config of the registry's engine, or of another."""
        argv = ["login", "--username", self.user, "--password-stdin", self.address]
        (engine or self.engine).docker(*argv, stdin=self.password)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _bcrypt(password: str) -> str:
    """bcrypt from the libcrypt that Debian's login uses; what htpasswd -B would write."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    salt = "".join(secrets.choice(alphabet) for _ in range(21)) + "."
    hashed: bytes = crypt(password.encode(), f"$2b$05${salt}".encode())
    return hashed.decode()
