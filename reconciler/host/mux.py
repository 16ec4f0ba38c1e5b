"""A TCP connection from the other side of a running ssh, asked for at its control socket.

This is what `ssh -S control -W address:port host` does, without a process for each connection:
https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.mux, version 4, which every ssh
since 5.4 speaks.
"""

from __future__ import annotations

import socket
import struct
import weakref

from reconciler.host.ways import connect_unix

_VERSION = 4
_HELLO, _NEW_STDIO_FORWARD = 0x00000001, 0x10000008
_SESSION_OPENED = 0x80000006
_REQUEST = 1
_LONGEST = 1 << 18


class NotOpened(OSError):  # noqa: N818 - what happened
    """The other side didn't connect; ssh says why on its stderr."""


def open_through(control: str, address: str, port: int, timeout: float) -> socket.socket:
    """Connect from the other side. Raises `NotOpened`, and `OSError` for ssh that is gone."""
    asking = connect_unix(control, timeout)
    try:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                _ask(asking, theirs, address, port)
            except BaseException:
                ours.close()
                raise
    except BaseException:
        asking.close()
        raise
    ours.settimeout(timeout)
    # ssh hangs up when the request ends, and a reader may be left when `close` was called.
    weakref.finalize(ours, asking.close)
    return ours


def _ask(asking: socket.socket, theirs: socket.socket, address: str, port: int) -> None:
    _send(asking, struct.pack(">II", _HELLO, _VERSION))
    if _receive(asking)[0] != _HELLO:
        raise NotOpened("ssh doesn't say hello")
    host = address.encode()
    _send(
        asking,
        struct.pack(">III", _NEW_STDIO_FORWARD, _REQUEST, 0)  # the 0: an empty reserved string
        + struct.pack(">I", len(host))
        + host
        + struct.pack(">I", port),
    )
    for _input_and_output in range(2):
        socket.send_fds(asking, [b"\0"], [theirs.fileno()])
    kind, rest = _receive(asking)
    if kind != _SESSION_OPENED:
        raise NotOpened(rest[8:].decode("utf-8", "replace") or "ssh refused")


def _send(asking: socket.socket, message: bytes) -> None:
    asking.sendall(struct.pack(">I", len(message)) + message)


def _receive(asking: socket.socket) -> tuple[int, bytes]:
    """A message's type, and what follows it."""
    (length,) = struct.unpack(">I", _read(asking, 4))
    if not 4 <= length <= _LONGEST:
        raise NotOpened("ssh speaks another protocol")
    message = _read(asking, length)
    (kind,) = struct.unpack(">I", message[:4])
    return kind, message[4:]


def _read(asking: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = asking.recv(count - len(data))
        if not piece:
            raise ConnectionResetError("ssh hung up")
        data += piece
    return data
