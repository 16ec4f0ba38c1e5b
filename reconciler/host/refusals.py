"""What the engine's words about a registry or a disk mean. Pure text.

The engine has no codes for these: its API passes on what the registry, the resolver and the
kernel said. The fragments were collected from Docker 20.10 to 28 and from registries.
"""

from __future__ import annotations

from enum import Enum

from reconciler.errors import DiskFull, RegistryUnavailable


class Fault(Enum):
    """Why a registry didn't do what it was asked."""

    MISSING = "it has no such image"
    DENIED = "it refuses the account"
    CREDENTIALS = "it wants other credentials"
    DISTRUST = "the engine doesn't trust it"
    UNREACHABLE = "it doesn't answer"


_FRAGMENTS = (
    # docker.io says both at once for a private image and for one that doesn't exist.
    (Fault.MISSING, ("repository does not exist", "manifest unknown", "name unknown")),
    (Fault.DISTRUST, ("x509:", "http response to https client", "tls: ")),
    (Fault.CREDENTIALS, ("no basic auth credentials", "unauthorized", "incorrect username")),
    (Fault.CREDENTIALS, ("authentication required", "failed to fetch oauth token")),
    (Fault.DENIED, ("denied", "403 forbidden", "insufficient_scope")),
    (Fault.UNREACHABLE, ("connection refused", "connection reset", "broken pipe", ": eof")),
    (Fault.UNREACHABLE, ("no such host", "name resolution", "server misbehaving", "lookup ")),
    (Fault.UNREACHABLE, ("network is unreachable", "no route to host", "timeout", "deadline")),
    (Fault.UNREACHABLE, ("toomanyrequests", "too many requests", "500 internal server error")),
    (Fault.UNREACHABLE, ("502 bad gateway", "503 service", "504 gateway", "net/http: ")),
    (Fault.MISSING, ("not found", "404")),
)
_NO_SPACE = "no space left on device"

TODO_LOGIN = (
    "Correct the credentials: by reference in the spec, or with `docker login` on this host."
)
TODO_TRUST = (
    "Give the engine the registry's certificate, or name it in insecure-registries of daemon.json."
)
TODO_REACH = "Check its address, and that it is up and reachable from the engine."


def fault_of(text: str) -> Fault | None:
    """What the registry's fault was, or None when the text isn't about one."""
    lower = text.lower()
    for fault, fragments in _FRAGMENTS:
        if any(fragment in lower for fragment in fragments):
            return fault
    return None


def is_disk_full(text: str) -> bool:
    """Whether a disk had no room: the engine's, or one that a build step wrote to."""
    return _NO_SPACE in text.lower()


def disk_full(text: str, app: str) -> DiskFull:
    """The error for it."""
    return DiskFull(
        "the engine's disk is full",
        app=app,
        detail=text,
        todo="Free space on the host, for instance with `reconcile gc` or `docker system prune`.",
    )


def unavailable(what: str, text: str, app: str) -> RegistryUnavailable | None:
    """The error for a fault that passes, or that only credentials or settings cure; else None.

    `what` was tried, e.g. `shop/api:1 can't be pushed`.
    """
    todo = {
        Fault.CREDENTIALS: TODO_LOGIN,
        Fault.DISTRUST: TODO_TRUST,
        Fault.UNREACHABLE: TODO_REACH,
    }
    fault = fault_of(text)
    if fault is None or fault not in todo:
        return None
    return RegistryUnavailable(f"{what}: {text}", app=app, todo=todo[fault])
