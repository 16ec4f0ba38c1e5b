"""Answers as servers frame them, over a pair of real sockets."""

import socket
import threading
from collections.abc import Iterator

import pytest

from reconciler.host.wire import BrokenOff, Head, Wire


class Pair:
    """A wire, and the other side of it."""

    def __init__(self) -> None:
        near, self.far = socket.socketpair()
        near.settimeout(10)
        self.wire = Wire(near)

    def ask(self, answer: bytes, body: "bytes | Iterator[bytes] | None" = None) -> Head:
        self.far.sendall(answer)
        self.far.shutdown(socket.SHUT_WR)
        return self.wire.ask("POST", "/x?a=b", {"X-Own": "1"}, body)

    def asked(self) -> bytes:
        self.wire.shut_down()
        return b"".join(iter(lambda: self.far.recv(65536), b""))

    def close(self) -> None:
        self.wire.close()
        self.far.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    both = Pair()
    yield both
    both.close()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello, and more", b"hello"),
        (OK + b"content-length:5\r\n\r\nhello", b"hello"),
        (OK + b"\r\nuntil the end", b"until the end"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\nrest", b"ok"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\nnot this", b""),
        (b"HTTP/1.0 304\r\n\r\n", b""),
    ],
)
def test_wire_framing(pair: Pair, answer: bytes, body: bytes) -> None:
    pair.ask(answer)
    assert pair.wire.read() == body
    assert pair.wire.read_piece() == b""


def test_wire_head(pair: Pair) -> None:
    head = pair.ask(b"HTTP/1.1 404 Not Found\r\nApi-Version: 1.41\r\nA:b:c\r\n\r\n")
    assert head == Head(404, {"api-version": "1.41", "a": "b:c"})


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 nothing\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_wire_no_head(pair: Pair, answer: bytes) -> None:
    with pytest.raises(BrokenOff):
        pair.ask(answer)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\n\r\nhel",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nok",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
)
def test_wire_body_that_breaks_off(pair: Pair, rest: bytes) -> None:
    pair.ask(OK + rest)
    with pytest.raises(BrokenOff):
        pair.wire.read()


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (None, b"\r\n\r\n"),
        (b"{}", b"\r\n\r\n{}"),
        (iter([b"one", b"", b"two"]), b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
    ],
)
def test_wire_request(pair: Pair, body: "bytes | Iterator[bytes] | None", sent: bytes) -> None:
    pair.ask(OK + b"Content-Length: 0\r\n\r\n", body)
    asked = pair.asked()
    assert asked.startswith(b"POST /x?a=b HTTP/1.1\r\nHost: docker\r\n")
    assert b"\r\nX-Own: 1\r\n" in asked
    assert asked.endswith(sent)


def test_wire_shut_down_from_another_thread(pair: Pair) -> None:
    pair.far.sendall(OK + b"Content-Length: 9\r\n\r\n1")
    pair.wire.ask("GET", "/", {}, None)
    assert pair.wire.read_piece() == b"1"
    timer = threading.Timer(0.05, pair.wire.shut_down)
    timer.start()
    with pytest.raises(BrokenOff):
        pair.wire.read_piece()
    timer.join()
    pair.wire.shut_down()


def test_wire_patience(pair: Pair) -> None:
    with socket.socket() as near:
        near.settimeout(0.05)
        wire = Wire(near)
        wire.wait_forever()
        assert near.gettimeout() is None
        wire.close()
