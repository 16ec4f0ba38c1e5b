"""A unix socket in front of an engine's that writes down each request that passes.

Bytes pass unchanged. Requests of a connection are told apart by their framing, until one asks
for an upgrade (attach, exec, BuildKit's session); from there on the connection is a pipe.
"""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from types import TracebackType

_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r?\n")


class Recorder:
    """Use as a context manager; `url` is a DOCKER_HOST.

    `requests` holds `GET /v1.41/containers/json?all=1` and the like, oldest first; `writes`
    those that aren't GET or HEAD.
    """

    def __init__(self, path: Path, upstream: Path) -> None:
        self.socket = path
        self.url = f"unix://{path}"
        self.requests: list[str] = []
        self._upstream = upstream
        self._listener = socket.socket(socket.AF_UNIX)
        self._open: set[socket.socket] = set()
        self._away = False
        self._threads: list[threading.Thread] = []

    @property
    def writes(self) -> list[str]:
        return [line for line in self.requests if not line.startswith(("GET ", "HEAD "))]

    def clear(self) -> None:
        self.requests.clear()

    @contextmanager
    def away(self) -> Iterator[None]:
        """For the block the engine is gone to whoever asks here: every connection ends at once."""
        self._away = True
        self._cut()
        try:
            yield
        finally:
            self._away = False

    def _cut(self) -> None:
        for each in list(self._open):
            _shut(each, socket.SHUT_RDWR)

    def __enter__(self) -> "Recorder":
        self._listener.bind(str(self.socket))
        self._listener.listen(64)
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        _shut(self._listener, socket.SHUT_RDWR)
        self._cut()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            self._open.update((client, server))
            if self._away:
                _shut(client, socket.SHUT_RDWR)
            try:
                server.connect(str(self._upstream))
                answers = self._start(_pump, server, client)
                self._forward(client, server)
                answers.join()
            except OSError:  # one of both sides is gone; so is the connection
                _shut(server, socket.SHUT_RDWR)
            finally:
                self._open.difference_update((client, server))

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with client.makefile("rb") as reader:
            while self._forward_request(reader, server):
                pass
            while chunk := reader.read1(65536):
                server.sendall(chunk)
        _shut(server, socket.SHUT_WR)

    def _forward_request(self, reader: BufferedReader, server: socket.socket) -> bool:
        """Pass one request on; False when what follows is no further request."""
        first = reader.readline()
        if match := _REQUEST.fullmatch(first):
            self.requests.append(b" ".join(match.groups()).decode())
        headers = _read_headers(reader) if match else []
        server.sendall(b"".join([first, *headers]))
        fields = {name.strip().lower(): value.strip().lower() for name, value in _pairs(headers)}
        if not match or b"upgrade" in fields:
            return False
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            _forward_chunks(reader, server)
        else:
            _forward_bytes(reader, server, int(fields.get(b"content-length", b"0")))
        return True


def _read_headers(reader: BufferedReader) -> list[bytes]:
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b"\n", b""):
        lines.append(line)
    return [*lines, line]


def _pairs(headers: list[bytes]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, _, value in (line.partition(b":") for line in headers)]


def _forward_bytes(reader: BufferedReader, server: socket.socket, count: int) -> None:
    while count and (chunk := reader.read1(min(count, 65536))):
        server.sendall(chunk)
        count -= len(chunk)


def _forward_chunks(reader: BufferedReader, server: socket.socket) -> None:
    """A chunked body: sizes, chunks, and after the last one its trailer and an empty line."""
    while size_line := reader.readline():
        server.sendall(size_line)
        size = int(size_line.split(b";")[0], 16)
        if size == 0:
            server.sendall(b"".join(_read_headers(reader)))
            return
        _forward_bytes(reader, server, size + 2)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
    except OSError:  # the reader is gone
        _shut(source, socket.SHUT_RDWR)
    # An engine that closes first must not leave its client waiting.
    _shut(target, socket.SHUT_WR)
    _shut(source, socket.SHUT_RD)


def _shut(each: socket.socket, how: int) -> None:
    try:
        each.shutdown(how)
    except OSError:
        return
