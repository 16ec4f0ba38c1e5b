"""Where the server listens, and that it starts and ends at once."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import httpx
import pytest

from reconciler.api.server import Address, open_socket, read_address, start_server
from reconciler.errors import UsageError
from reconciler.state.tokens import list_tokens, revoke_token
from tests.api.conftest import Api


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), True),
        ("127.1.2.3:0", Address("127.1.2.3", 0), True),
        ("localhost:8080", Address("localhost", 8080), True),
        ("[::1]:8080", Address("::1", 8080), True),
        ("0.0.0.0:8080", Address("0.0.0.0", 8080), False),
        (":8080", Address("0.0.0.0", 8080), False),
        ("[::]:80", Address("::", 80), False),
        ("host.example.com:80", Address("host.example.com", 80), False),
        ("127.evil.example.com:80", Address("127.evil.example.com", 80), False),
        ("unix:/run/x.sock", Address(path="/run/x.sock"), True),
        ("unix:///run/x.sock", Address(path="/run/x.sock"), True),
    ],
)
def test_address_is_read(text: str, address: Address, local: bool) -> None:
    assert read_address(text) == address
    assert address.is_local is local


@pytest.mark.parametrize("text", ["", "8080", "host", "host:", "::1:80", "h:99999", "unix:x.sock"])
def test_address_that_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        read_address(text)


def test_port_that_is_taken_is_an_error_at_once(api: Api) -> None:
    with pytest.raises(UsageError, match="can't listen"):
        start_server(api.backend, str(api.server.address))


def test_beyond_this_machine_needs_a_token(api: Api) -> None:
    for token in list_tokens(api.store):
        revoke_token(api.store, token.name, 1.0)
    with pytest.raises(UsageError, match="token"):
        start_server(api.backend, "0.0.0.0:0")
    api.token("new")
    server = start_server(api.backend, "0.0.0.0:0")
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 2
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.address.port), timeout=1)


def test_unix_socket_is_served_and_replaced(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    left = open_socket(Address(path=str(path)))
    left.close()  # as a process that was killed leaves it
    server = start_server(api.backend, f"unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o660
    with (
        httpx.HTTPTransport(uds=str(path)) as transport,
        httpx.Client(transport=transport, base_url="http://x", headers=api.headers) as client,
    ):
        assert client.get("/api/user.get").json()["id"] == "admin"
    with pytest.raises(UsageError, match="can't listen"):
        start_server(api.backend, f"unix:{path}")
    server.stop()
    assert not path.exists()


def test_stop_does_not_wait_for_what_hangs(
    api: Api, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.api.actions.ANSWER_SECONDS", 4.0)
    server = start_server(api.backend, "127.0.0.1:0")
    api.write(api={"source": {"git": f"http://127.0.0.1:{silent_port}/app.git"}})
    body = b'{"applicationId": "api"}'
    with socket.create_connection((server.address.host, server.address.port), timeout=5) as client:
        client.sendall(
            b"POST /application.deploy HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"x-api-key: {api.tokens['admin']}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        shell = server.app.state.shell
        deadline = time.monotonic() + 5
        while not shell.threads.waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 2.5
