"""What the engine refuses, in words that say what to do. Pure: a text in, an error out.

The texts are those of engines 20.10 to 28; one that no rule knows is passed on as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from reconciler.errors import DeployError
from reconciler.runtime.base import Workload
from reconciler.spec.scalars import Port, parse_port
from reconciler.values import frozen

_PORT_TAKEN = re.compile(r"port is already allocated|address already in use")
_WRAPPERS = re.compile(
    r"^.*(?:OCI runtime create failed|runc create failed|unable to start container process): "
)


@frozen
class _Rule:
    """`what` and `todo` may use the pattern's groups as `{0}`, `{1}`."""

    pattern: re.Pattern[str]
    what: str
    todo: str

    def apply(self, text: str) -> tuple[str, str] | None:
        match = self.pattern.search(text)
        if match is None:
            return None
        groups = match.groups()
        return self.what.format(*groups), self.todo.format(*groups)


def _rule(pattern: str, what: str, todo: str) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), what, todo)


_RULES = (
    _rule(
        r'container name "/?([^"]+)" is already in use',
        "the name {0} belongs to another container",
        "Remove or rename that container (docker rename {0} NEW-NAME), then deploy again.",
    ),
    _rule(
        r"no such image",
        "the image is gone from the engine",
        "Deploy again; the image is built or pulled anew.",
    ),
    _rule(
        r"bind source path does not exist: (\S+)",
        "the directory {0} of `volumes` isn't there on the engine's host",
        "Create {0} with the owner that the app needs, or correct `volumes`.",
    ),
    _rule(
        r'error mounting "([^"]+)" to rootfs at "([^"]+)".*not a directory',
        "{0} can't be mounted at {1}: one is a file and the other a directory",
        "Correct `volumes`.",
    ),
    _rule(
        r"duplicate mount point: (\S+)",
        "`volumes` mounts two things at {0}",
        "Correct `volumes`.",
    ),
    _rule(
        r"invalid mount config for type \"\w+\": (?:invalid specification: )?(.+)",
        "the engine refuses a mount of `volumes`: {0}",
        "Correct `volumes`.",
    ),
    _rule(
        r"(?:volume plugin|looking up volume).*?\"?([\w./-]+)\"?(?:: plugin)? not found",
        "the volume driver {0} isn't installed on the engine",
        "Install the driver, or use another volume.",
    ),
    _rule(
        r'exec: "([^"]*)": (?:executable file not found|stat .*no such file or directory)',
        "there is no program {0!r} in the image",
        "Correct `command` or `entrypoint`, or the image's own.",
    ),
    _rule(
        r'exec: "?([^":]*)"?: (?:no such file or directory)',
        "there is no program {0!r} in the image, or what it needs to run is missing",
        "Correct `command` or `entrypoint`, or the image's own.",
    ),
    _rule(
        r'exec: "([^"]*)": permission denied',
        "{0!r} in the image can't be executed",
        "Make it executable (chmod +x) in the image, or correct `command` or `entrypoint`.",
    ),
    _rule(
        r"exec format error",
        "the image's program isn't made for this machine",
        "Build the image for the engine's architecture, or start scripts with a #! line.",
    ),
    _rule(
        r"unable to find (user|group) ([^:\s]+): no matching entries",
        "the image knows no {0} {1!r}",
        "Correct `user`, or use a number.",
    ),
    _rule(
        r"working directory '([^']*)' is invalid",
        "the working directory {0!r} isn't an absolute path",
        "Correct `workdir`.",
    ),
    _rule(
        r"(minimum memory limit allowed is \S+|range of cpus is from .*)",
        "the engine refuses the limits: {0}",
        "Correct `resources`.",
    ),
    _rule(
        r"cannot assign requested address",
        "an address of `ports` isn't one of the engine's host",
        "Correct the address in `ports`.",
    ),
    _rule(
        r"network (\S+) is ambiguous",
        "the engine has more than one network named {0}",
        "Remove those that nothing uses: docker network ls --no-trunc, docker network rm ID.",
    ),
    _rule(
        r"network (\S+) not found",
        "the network {0} is gone from the engine",
        "Deploy again; it is made anew.",
    ),
    _rule(
        r"non-overlapping ipv4 address pool|all predefined address pools",
        "the engine has no addresses left for another network",
        "Remove networks that nothing uses (docker network prune), or give it more "
        "(default-address-pools in daemon.json).",
    ),
)


def explain_refusal(text: str, workload: Workload, holder: str = "") -> DeployError:
    """The error for what the engine answered to a create or start call.

    `holder` says who has the port, where that is known.
    """
    if port := taken_port(text, workload):
        return port_taken(port, workload.app, holder)
    for rule in _RULES:
        if found := rule.apply(text):
            return DeployError(found[0], app=workload.app, todo=found[1])
    reason = _WRAPPERS.sub("", text).removesuffix(": unknown")
    return DeployError(f"the engine refused the container: {reason}", app=workload.app)


def taken_port(text: str, workload: Workload) -> Port | None:
    """The workload's port that is taken on the host, if that is what the engine says."""
    if not _PORT_TAKEN.search(text):
        return None
    ports = [parse_port(port) for port in workload.spec.ports]
    named = (port for port in ports if re.search(rf":{port.host}\b", text))
    return next(named, ports[0] if ports else None)


def port_taken(port: Port, app: str, holder: str) -> DeployError:
    """The error for a host port that somebody else has."""
    who = holder or "a process on the engine's host"
    find = "" if holder else f" (ss -ltnp 'sport = :{port.host}' tells which)"
    return DeployError(
        f"port {port.host}/{port.protocol} of the host is taken by {who}",
        app=app,
        todo=f"Stop it{find}, or choose another host port in `ports`.",
    )


def port_holder(ports: Iterable[tuple[str, int, str, str]], wanted: Port) -> str:
    """The container that has `wanted`, as `the container NAME`; empty when none has.

    `ports`: `(container name, host port, protocol, address)` of everything that is published.
    """
    for name, host, protocol, address in ports:
        other = Port("" if address in ("::", "0.0.0.0") else address, host, 0, protocol)  # noqa: S104
        if wanted.clashes(other):
            return f"the container {name}"
    return ""
