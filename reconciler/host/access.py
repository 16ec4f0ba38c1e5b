"""How an engine is reached: its URL, and the keys to it.

    unix:///path/of/docker.sock            on this machine
    ssh://[user@]host[:port][/path/of/docker.sock]
    tcp://host[:port]                      with TLS where a CA or a certificate is given

The values of keys and certificates are in memory here. They reach ssh and the docker client as
private files only (`host.private`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from reconciler.values import frozen

DEFAULT_URL = "unix:///var/run/docker.sock"
PLAIN_PORT, TLS_PORT = 2375, 2376


@frozen
class Access:
    """One engine. `name` is its host's in the spec, for messages; empty for the default engine.

    `address`: where ports that it publishes are reached, when that isn't the URL's host.
    `tls_…`: PEM texts. `ssh_key`: a private key, `known_hosts`: lines of that file (sshd(8));
    where they are empty, ssh uses its own.
    """

    url: str
    name: str = ""
    address: str = ""
    tls_ca: str = field(default="", repr=False)
    tls_cert: str = field(default="", repr=False)
    tls_key: str = field(default="", repr=False)
    ssh_key: str = field(default="", repr=False)
    known_hosts: str = field(default="", repr=False)

    @property
    def scheme(self) -> str:
        """`unix`, `tcp` or `ssh`, or what else the URL begins with."""
        scheme = urlsplit(self.url).scheme
        return "tcp" if scheme in ("http", "https") else scheme

    @property
    def is_here(self) -> bool:
        """Whether the engine is on this machine."""
        return self.scheme == "unix"

    @property
    def dials_there(self) -> bool:
        """Whether `Engine.dial` begins on the engine's machine, and so reaches its containers.

        One that is here and yet has an `address` is in a network of its own.
        """
        if self.scheme == "unix":
            return not self.address and sys.platform == "linux"
        return self.scheme == "ssh"

    @property
    def uses_tls(self) -> bool:
        """Whether a TCP connection is encrypted."""
        given = self.tls_ca or self.tls_cert or self.tls_key
        return self.scheme == "tcp" and bool(given or self.url.startswith("https:"))

    @property
    def user(self) -> str:
        """Who logs in; empty for ssh's own choice."""
        return unquote(urlsplit(self.url).username or "")

    @property
    def hostname(self) -> str:
        """The URL's host as it is written, without brackets; empty for a socket."""
        place = urlsplit(self.url).netloc.rpartition("@")[2]
        if place.startswith("["):
            return place[1:].partition("]")[0]
        return place.partition(":")[0]

    @property
    def port(self) -> int:
        """The URL's port, else TCP's usual one; 0 for ssh's own choice. Raises `ValueError`."""
        given = urlsplit(self.url).port
        if given is None and self.scheme == "tcp":
            return TLS_PORT if self.uses_tls else PLAIN_PORT
        return given or 0

    @property
    def socket_path(self) -> str:
        """The engine's socket, here or on the other side of ssh; empty for TCP."""
        path = unquote(urlsplit(self.url).path)
        if self.scheme == "ssh":
            return path.rstrip("/") or urlsplit(DEFAULT_URL).path
        return path if self.scheme == "unix" else ""

    @property
    def reached_at(self) -> str:
        """Where ports that it publishes are reached; empty for this machine."""
        return self.address or self.hostname


def default_access(environ: Mapping[str, str] = os.environ) -> Access:
    """What `DOCKER_HOST` says, as the docker client reads it; else this machine's engine.

    `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` are read with it. A file that isn't there counts as
    empty, which the engine then refuses.
    """
    access = Access(environ.get("DOCKER_HOST") or DEFAULT_URL)
    if access.scheme != "tcp" or not environ.get("DOCKER_TLS_VERIFY"):
        return access
    directory = Path(environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    texts = [_read(directory / name) for name in ("ca.pem", "cert.pem", "key.pem")]
    return Access(access.url, "", "", *texts)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
