"""The ways to an engine: its socket on this machine, TCP with TLS or without, and ssh.

`Engine` chooses one by the URL. What differs between engines here and elsewhere is behind `Way`.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from reconciler.host.access import Access
from reconciler.values import frozen

if TYPE_CHECKING:
    from reconciler.host.tls import Certificates

CONNECT_SECONDS = 10.0
"""The longest wait for a connection, also where an answer may take for ever."""
_SILENT_AFTER, _ASK_EVERY, _ASK_TIMES = 5, 5, 3
"""Seconds of silence before the other machine is asked whether it is there, as ssh does."""

TODO_UNAVAILABLE = "Start the engine, or correct DOCKER_HOST."
TODO_DENIED = "Add your user to the socket's group (often `docker`) and log in again, or be root."


class Unreachable(OSError):  # noqa: N818 - what happened
    """There is no way to the engine. The text is the reason; `todo` may be empty."""

    def __init__(self, reason: str, todo: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.todo = todo


@frozen
class Endpoint:
    """What other programs need: `url` is of kind unix or tcp; `certificates` a directory of files
    named as the docker client wants them, None without TLS."""

    url: str
    certificates: Path | None = None


class Way(Protocol):
    """How an engine is reached."""

    def open(self, timeout: float | None) -> socket.socket:
        """A connection to the engine. Raises `OSError`, also `Unreachable`."""

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """A TCP connection to what the engine's machine knows by `address`, or this one where
        the way can't do that. Raises `OSError`."""

    def endpoint(self) -> Endpoint:
        """For programs that open connections themselves. Raises `OSError`."""

    def explain(self, reason: str) -> Unreachable:
        """Why a connection broke off or an answer didn't come, when `reason` was seen here."""

    def close(self) -> None:
        """End what it holds open. It may be used again."""


def make_way(access: Access) -> Way:
    """The one for the URL. Raises nothing: an address that can't be used says so when it is."""
    if access.scheme == "ssh":
        from reconciler.host.tunnel import Tunnel

        return Tunnel(access)
    if access.scheme == "tcp":
        return Tcp(access)
    return Unix(access)


class NoWay:
    """None at all, for a reason that is known before anything is tried."""

    def __init__(self, why: Unreachable) -> None:
        self._why = why

    def _refuse(self) -> Unreachable:
        return Unreachable(self._why.reason, self._why.todo)

    def open(self, timeout: float | None) -> socket.socket:  # noqa: ARG002
        """See `Way`."""
        raise self._refuse()

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002
        """See `Way`."""
        raise self._refuse()

    def endpoint(self) -> Endpoint:
        """See `Way`."""
        raise self._refuse()

    def explain(self, reason: str) -> Unreachable:  # noqa: ARG002
        """See `Way`."""
        return self._refuse()

    def close(self) -> None:
        """Nothing is held."""


class Unix:
    """A socket of this machine."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def open(self, timeout: float | None) -> socket.socket:
        """See `Way`."""
        if self._access.scheme != "unix" or not self._access.socket_path:
            raise unsupported()
        return connect_unix(self._access.socket_path, timeout)

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """See `Way`."""
        return socket.create_connection((address, port), timeout)

    def endpoint(self) -> Endpoint:
        """See `Way`."""
        return Endpoint(self._access.url)

    def explain(self, reason: str) -> Unreachable:
        """See `Way`."""
        return Unreachable(reason, TODO_DENIED if "Permission denied" in reason else "")

    def close(self) -> None:
        """Nothing is held."""


class Tcp:
    """A port, with TLS where the access asks for it."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._certificates: Certificates | None = None

    def open(self, timeout: float | None) -> socket.socket:
        """See `Way`."""
        plain = self._connect(timeout)
        if not self._access.uses_tls:
            plain.settimeout(timeout)
            return plain
        try:
            secured = self._tls().wrap(plain)
        except BaseException:
            plain.close()
            raise
        secured.settimeout(timeout)
        return secured

    def _connect(self, timeout: float | None) -> socket.socket:
        try:
            host, port = self._access.hostname, self._access.port
        except ValueError:
            host = ""
        if not host:
            raise unsupported()
        limit = CONNECT_SECONDS if timeout is None else min(timeout, CONNECT_SECONDS)
        opened = socket.create_connection((host, port), limit)
        notice_silence(opened)
        return opened

    def _tls(self) -> Certificates:
        with self._lock:
            if self._certificates is None:
                from reconciler.host.tls import Certificates

                self._certificates = Certificates(self._access)
            return self._certificates

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """See `Way`: from here."""
        return socket.create_connection((address, port), timeout)

    def endpoint(self) -> Endpoint:
        """See `Way`."""
        if not self._access.uses_tls:
            return Endpoint(self._access.url)
        host = self._access.hostname
        host = f"[{host}]" if ":" in host else host
        return Endpoint(f"tcp://{host}:{self._access.port}", self._tls().directory)

    def explain(self, reason: str) -> Unreachable:
        """See `Way`."""
        if self._access.uses_tls:
            from reconciler.host.tls import explain_tls

            return explain_tls(reason, self._access)
        return Unreachable(reason)

    def close(self) -> None:
        """Remove the certificates' files."""
        with self._lock:
            if self._certificates is not None:
                self._certificates.close()
                self._certificates = None


def connect_unix(path: str, timeout: float | None) -> socket.socket:
    """A connection to a socket of this machine. Raises `OSError`."""
    opened = socket.socket(socket.AF_UNIX)
    try:
        opened.settimeout(timeout)
        opened.connect(path)
    except BaseException:
        opened.close()
        raise
    return opened


def notice_silence(connection: socket.socket) -> None:
    """Let the kernel end a connection whose other machine is gone, however long we wait here."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENT_AFTER),
        ("TCP_KEEPINTVL", _ASK_EVERY),
        ("TCP_KEEPCNT", _ASK_TIMES),
        ("TCP_USER_TIMEOUT", (_SILENT_AFTER + _ASK_EVERY * _ASK_TIMES) * 1000),
    ):
        if hasattr(socket, name):  # Linux has them all
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def unsupported() -> Unreachable:
    """For an address that can't be read."""
    return Unreachable(
        "its address isn't supported",
        "Use unix:///path/to/docker.sock, ssh://user@host or tcp://host:port in DOCKER_HOST.",
    )
