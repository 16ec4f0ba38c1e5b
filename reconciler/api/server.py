"""uvicorn in a thread of its own, beside everything else that the process does."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.api.app import create_app
from reconciler.api.backend import Backend
from reconciler.api.metrics import Metrics
from reconciler.errors import UsageError
from reconciler.state.tokens import has_active_token
from reconciler.values import frozen

if TYPE_CHECKING:
    from fastapi import FastAPI

HEAD_SECONDS = 10.0
"""How long the head of a request may take, so that nobody holds a connection with half of one."""
KEEP_ALIVE_SECONDS = 30
MOST_CONNECTIONS = 1024
STOP_SECONDS = 2.0


# -- where to listen -------------------------------------------------------------------------


@frozen
class Address:
    """`host` and `port`, or the `path` of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.path}" if self.path else f"{host}:{self.port}"


def read_address(text: str) -> Address:
    """`127.0.0.1:8080`, `[::1]:8080`, `:8080` (everywhere) or `unix:/run/reconciler.sock`.

    Raises `UsageError`.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise UsageError(f"{text!r} names no absolute path of a socket")
        return Address(path=path)
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host[:1] == "[" else host
    if not (colon and port.isdecimal() and int(port) < 65536) or (":" in host and text[0] != "["):
        raise UsageError(
            f"{text!r} is no address to listen on",
            todo="Write it like 127.0.0.1:8080, [::1]:8080 or unix:/run/reconciler.sock.",
        )
    return Address(host or "0.0.0.0", int(port))  # noqa: S104 - what `:8080` asks for


def open_socket(address: Address) -> socket.socket:
    """A socket that listens. Raises `UsageError` when it can't be had."""
    try:
        found = _unix_socket(Path(address.path)) if address.path else _tcp_socket(address)
        found.listen(1024)
    except OSError as error:
        raise UsageError(
            f"can't listen on {address}: {error.strerror or error}",
            todo="Choose another --listen, or end what listens there.",
        ) from None
    return found


def _tcp_socket(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # With the protocol named, asyncio switches off the delay that bundles small writes.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.host, address.port))
    except OSError:
        made.close()
        raise
    return made


def _unix_socket(path: Path) -> socket.socket:
    """For the owner and the group; one that nobody listens on any more is replaced."""
    made = socket.socket(socket.AF_UNIX)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and _is_stale(path):
            path.unlink()
        made.bind(str(path))
        path.chmod(0o660)
    except OSError:
        made.close()
        raise
    return made


def _is_stale(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as other:
        return other.connect_ex(str(path)) != 0


# -- the server ------------------------------------------------------------------------------


class Impatient(H11Protocol):
    """Closes a connection that doesn't finish the head of a request, and those past the limit."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.close()
        else:
            self._waiting = self.loop.call_later(HEAD_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._wait_no_longer()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_no_longer()  # between requests, keep-alive has its own limit

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_longer()
        super().connection_lost(exc)

    def _wait_no_longer(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class RunningServer:
    """A server that answers. `address`: where, with the port that was chosen for port 0."""

    def __init__(self, app: FastAPI, opened: socket.socket, address: Address) -> None:
        self.app = app
        self.address = address
        self._socket = opened
        config = uvicorn.Config(
            app,
            http=Impatient,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """For clients on this machine; empty for a unix socket."""
        return "" if self.address.path else f"http://{self.address}"

    def stop(self) -> None:
        """Answer what is under way, for a second at most, and end."""
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        self.app.state.shell.threads.close()
        self._socket.close()
        if self.address.path:
            Path(self.address.path).unlink(missing_ok=True)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))


def start_server(backend: Backend, listen: str, metrics: Metrics | None = None) -> RunningServer:
    """Listen on `listen` (see `read_address`) and answer from now on.

    Raises `UsageError` when it can't be had, and beyond this machine while no token exists.
    """
    address = read_address(listen)
    if not address.is_local and not _anybody_may_call(backend):
        raise UsageError(
            f"listening on {address} is refused while there is no token",
            todo="Create one with `reconcile token create NAME --scope deploy`, or listen on "
            "127.0.0.1.",
        )
    opened = open_socket(address)
    if not address.path:
        address = Address(address.host, opened.getsockname()[1])
    return RunningServer(create_app(backend, metrics), opened, address)


def _anybody_may_call(backend: Backend) -> bool:
    tools = backend.tools
    return has_active_token(tools.store, tools.clock())
