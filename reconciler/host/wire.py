"""HTTP/1.1 over one socket, as much of it as the engine's API needs.

http.client brings email and ssl along, and their import takes a quarter of the time that a pass
without work may take. Unlike it, this one tells an answer that broke off from one that ended.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_LONGEST_LINE = 1 << 16
_PIECE = 1 << 16
_NO_BODY = (204, 304)


class BrokenOff(OSError):  # noqa: N818 - what happened
    """The other side hung up in the middle, or doesn't speak HTTP."""


@dataclass(frozen=True, slots=True)
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
        self._reader = own_socket.makefile("rb")
        self._chunked = False
        self._left: int | None = 0
        """Bytes of the body, or of its chunk, that are still to come; None: until the end."""

    def close(self) -> None:
        """Hang up."""
        self._reader.close()
        self._socket.close()

    def shut_down(self) -> None:
        """Hang up from another thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it ended by itself

    def wait_forever(self) -> None:
        """From now on no silence is too long."""
        self._socket.settimeout(None)

    # Asking

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
    ) -> Head:
        """Send a request and read the head of its answer."""
        if isinstance(body, bytes):
            headers = {**headers, "Content-Length": str(len(body))}
        elif body is not None:
            headers = {**headers, "Transfer-Encoding": "chunked"}
        fields = {"Host": "docker", "Connection": "close", **headers}
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        try:
            self._send("\r\n".join([*lines, "", ""]).encode("latin-1"), body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # an engine that refuses answers before it has read the whole body
        return self._read_head()

    def _send(self, head: bytes, body: bytes | Iterable[bytes] | None) -> None:
        if body is None or isinstance(body, bytes):
            self._socket.sendall(head + (body or b""))
            return
        self._socket.sendall(head)
        for piece in filter(None, body):
            self._socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        self._socket.sendall(b"0\r\n\r\n")

    # Reading

    def _read_head(self) -> Head:
        protocol, _, rest = self._line().partition(" ")
        status = rest[:3]
        if not protocol.startswith("HTTP/1.") or not status.isdecimal():
            raise BrokenOff("it doesn't speak HTTP")
        headers = {}
        while line := self._line():
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self._set_framing(int(status), headers)
        return Head(int(status), headers)

    def _set_framing(self, status: int, headers: Mapping[str, str]) -> None:
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length", "")
        if status in _NO_BODY or self._chunked:
            self._left = 0
        else:
            self._left = int(length) if length.isdecimal() else None

    def _line(self) -> str:
        line = self._reader.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise BrokenOff("it hung up" if len(line) < _LONGEST_LINE else "it speaks nonsense")
        return line.decode("latin-1").rstrip("\r\n")

    def read_piece(self) -> bytes:
        """The next bytes of the body, as soon as there are any; empty at its end."""
        if self._chunked and self._left == 0:
            self._next_chunk()
        if self._left == 0:
            return b""
        piece = self._reader.read1(_PIECE if self._left is None else min(self._left, _PIECE))
        if self._left is not None:
            if not piece:
                raise BrokenOff("it hung up in the middle of its answer")
            self._left -= len(piece)
            if self._chunked and self._left == 0:
                self._line()
        return piece

    def _next_chunk(self) -> None:
        size = self._line().partition(";")[0].strip()
        try:
            self._left = int(size, 16)
        except ValueError:
            raise BrokenOff("it speaks nonsense") from None
        if self._left == 0:
            self._chunked = False
            while self._line():
                pass

    def read(self) -> bytes:
        """The rest of the body."""
        return b"".join(iter(self.read_piece, b""))
