"""One request over one socket, on `http.client`: cancellable, and strict about broken answers.

An answer that breaks off in its middle is an error here, never taken for one that has ended.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from reconciler.values import frozen

_PIECE = 1 << 16


class BrokenOff(OSError):  # noqa: N818 - what happened
    """The other side hung up in the middle, or doesn't speak HTTP."""


@frozen
class Head:
    """The beginning of an answer. Names in `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]


class Wire:
    """One request and its answer. All of it raises `OSError`.

    Every socket call waits as long as the socket's timeout says. `shut_down` may be called from
    another thread, and ends whatever call waits here.
    """

    def __init__(self, own_socket: socket.socket) -> None:
        self._socket = own_socket
        self._connection = http.client.HTTPConnection("docker")
        self._connection.sock = own_socket
        self._connection.auto_open = 0
        self._response: http.client.HTTPResponse | None = None

    def close(self) -> None:
        """Hang up."""
        if self._response is not None:
            self._response.close()
        self._connection.close()
        self._socket.close()

    def shut_down(self) -> None:
        """Hang up from another thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it ended by itself

    def wait_forever(self) -> None:
        """From now on no silence is too long."""
        self.wait(None)

    def wait(self, seconds: float | None) -> None:
        """From now on a longer silence is an error; with None, none is."""
        self._socket.settimeout(seconds)

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Head:
        """Send a request and read the head of its answer. Pieces of a body go as chunks."""
        fields = {"Connection": "close", **(headers or {})}
        with _broken_off():
            try:
                self._connection.request(method, target, body, fields)
            except (BrokenPipeError, ConnectionResetError):
                pass  # an engine that refuses answers before it has read the whole body
            self._response = self._connection.getresponse()
        names = {name.lower(): value for name, value in self._response.getheaders()}
        return Head(self._response.status, names)

    def read_piece(self) -> bytes:
        """The next bytes of the body, as soon as there are any; empty at its end."""
        response = self._response
        if response is None or response.isclosed():
            return b""
        with _broken_off():
            piece = response.read1(_PIECE)
        if not piece and response.length:
            raise BrokenOff("it hung up in the middle of its answer")
        return piece

    def read(self) -> bytes:
        """The rest of the body."""
        return b"".join(iter(self.read_piece, b""))


@contextmanager
def _broken_off() -> Iterator[None]:
    try:
        yield
    except http.client.RemoteDisconnected:
        raise BrokenOff("it hung up") from None
    except http.client.IncompleteRead:
        raise BrokenOff("it hung up in the middle of its answer") from None
    except http.client.HTTPException as error:
        raise BrokenOff(f"it doesn't speak HTTP: {error!r}") from None
