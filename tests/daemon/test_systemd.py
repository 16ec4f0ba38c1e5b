"""What the service manager hears, on real datagram sockets."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.daemon.systemd import notify, watchdog_seconds


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = f"@reconciler-{secrets.token_hex(4)}"
    address = name if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5)
        channel.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        yield channel, address


def test_notify_socket_of_the_manager(manager: tuple[socket.socket, str]) -> None:
    channel, address = manager
    assert notify({"NOTIFY_SOCKET": address}, ready=1, status="3 apps\nall well")
    assert channel.recv(4096) == b"READY=1\nSTATUS=3 apps all well"


def test_notify_reloading_carries_the_time(manager: tuple[socket.socket, str]) -> None:
    channel, address = manager
    notify({"NOTIFY_SOCKET": address}, reloading=1)
    first, second = channel.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


@pytest.mark.parametrize("address", ["", "nonsense", "/nowhere/at/all", "@nobody-listens-here"])
def test_notify_nobody_listens(address: str) -> None:
    assert not notify({"NOTIFY_SOCKET": address}, ready=1)
    assert not notify({}, ready=1)


def test_watchdog_half_of_what_is_allowed() -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000"}) == 15.0
    mine = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    assert watchdog_seconds(mine) == 15.0


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"},
    ],
)
def test_watchdog_not_for_us(environ: dict[str, str]) -> None:
    assert watchdog_seconds(environ) is None
