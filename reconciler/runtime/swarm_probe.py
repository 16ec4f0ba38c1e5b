"""One question to a task from outside, at a port that its node publishes for it."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable

from reconciler.spec.models import Health

TIMEOUT_SECONDS = 5.0
Dial = Callable[[float], socket.socket]
"""From a timeout in seconds to a connection. Raises `OSError`."""


def ask_outside(dial: Dial, where: str, health: Health) -> str:
    """Empty when it answers well, else what it did, such as `GET :8080/ answered 500`."""
    try:
        with dial(TIMEOUT_SECONDS) as opened:
            return _get(opened, where, health.http.path) if health.http else ""
    except (OSError, http.client.HTTPException) as error:
        return f"{where} does not answer: {error}"


def _get(opened: socket.socket, where: str, path: str) -> str:
    connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT_SECONDS)
    connection.sock = opened
    connection.auto_open = 0
    connection.request("GET", path, headers={"Connection": "close"})
    status = connection.getresponse().status
    return "" if status < 400 else f"GET {where}{path} answered {status}"
