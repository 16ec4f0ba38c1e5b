"""Tells the service manager how we are: sd_notify(3), a datagram to the socket that it names.

Silent where nobody asked: without `NOTIFY_SOCKET` nothing is sent, and a manager that went away
never disturbs the daemon.

    notify(ready=1, status="3 apps")     watchdog_seconds()     notify(watchdog=1)
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


def notify(environ: Mapping[str, str] = os.environ, **fields: object) -> bool:
    """Send the fields, names in any case, as in `notify(ready=1, status="12 apps")`.

    Returns whether somebody was told. `reloading=1` is sent with the time that `Type=notify-reload`
    wants beside it; `ready=1` ends the reload.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if fields.get("reloading"):
        fields["monotonic_usec"] = time.monotonic_ns() // 1000
    lines = [f"{name.upper()}={_one_line(value)}" for name, value in fields.items()]
    if address.startswith("@"):  # an abstract socket, whose name begins with a zero byte
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often `notify(watchdog=1)` is due, half of what the manager allows; None for never."""
    limit = environ.get("WATCHDOG_USEC", "")
    if not limit.isdecimal() or int(limit) == 0:
        return None
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # it watches another process, which we inherited this from
    return int(limit) / 1e6 / 2
