"""What a service manager sees of a real daemon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(30)
        yield channel


def until(manager: socket.socket, field: str) -> None:
    while field not in manager.recv(4096).decode().splitlines():
        pass


def test_daemon_is_ready_alive_and_stopping(manager: socket.socket, tmp_path: Path) -> None:
    """Also while its engine is away."""
    (tmp_path / "apps.yaml").write_text("version: 1\nproject: shop\napps: {}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "daemon", "--state-dir", "state"],
        env={
            **os.environ,
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "5000000",
            "DOCKER_HOST": f"unix://{tmp_path}/none",
        },
        cwd=tmp_path, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(manager, "READY=1")
        until(manager, "WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        until(manager, "STOPPING=1")
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
