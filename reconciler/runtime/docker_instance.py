"""One container, as the health check sees it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.errors import EngineUnavailable, HealthError
from reconciler.host.access import Access
from reconciler.host.job import Cancellation
from reconciler.runtime.background import Background
from reconciler.runtime.base import InstanceState
from reconciler.runtime.docker_api import DockerApi, Document, Refused
from reconciler.runtime.proc_net import PROC_FILES, is_loopback, parse_listening

OUTPUT_LINES = 10
TIMED_OUT, NOT_RUNNABLE = 124, 126
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound
_LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1"})


class DockerInstance:
    """The container `id` of `app` on the engine of `api`."""

    def __init__(self, api: DockerApi, app: str, id: str) -> None:  # noqa: A002
        self._api = api
        self._app = app
        self.id = id

    def inspect(self) -> InstanceState:
        """Its state now, with one call."""
        return parse_state(self._inspect(), self._api.engine.access)

    def _inspect(self) -> Document:
        try:
            document = self._api.inspect(self.id)
        except Refused as error:
            raise HealthError(f"the engine refused: {error.text}", app=self._app) from error
        if document is None:
            raise HealthError("the new container was removed by somebody else", app=self._app)
        return document

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """A connection to one of the places that `inspect` named. Raises `OSError`."""
        return self._api.engine.dial(address, port, timeout)

    def execute(self, argv: tuple[str, ...], timeout: float) -> tuple[int, str]:
        """Run `argv` inside. One that doesn't end stays behind until the container stops."""
        code, lines = self._execute(argv, timeout)
        return code, "\n".join(lines[-OUTPUT_LINES:])

    def _execute(self, argv: tuple[str, ...], timeout: float) -> tuple[int, list[str]]:
        background = Background(lambda: self._run(argv))
        if not background.wait(Cancellation(), timeout):
            return TIMED_OUT, [f"did not end within {timeout:g} s"]
        return background.result()

    def _run(self, argv: tuple[str, ...]) -> tuple[int, list[str]]:
        try:
            code, output = self._api.execute(self.id, argv)
        except Refused as error:
            return NOT_RUNNABLE, [error.text]
        return NOT_RUNNABLE if code is None else code, clean_lines(output)

    def last_lines(self, count: int) -> list[str]:
        """From the engine's log of it; one line in brackets where that can't be read."""
        try:
            return clean_lines(self._api.logs(self.id, count))[-count:]
        except (Refused, EngineUnavailable) as error:
            return [f"(its output can't be read: {error})"]

    def listening(self) -> tuple[tuple[str, int], ...]:
        """Read from /proc of the host where that can be seen, else by `cat` in the container."""
        texts = list(_read_proc(self.id, self._inspect()["State"].get("Pid") or 0))
        if not texts:
            argv = ("cat", *(f"/proc/{name}" for name in PROC_FILES))
            code, texts = self._execute(argv, timeout=5)
            texts = texts if code in (0, 1) else []  # 1: a kernel without IPv6 has no tcp6
        return parse_listening("\n".join(texts))


def _read_proc(container: str, pid: int) -> Iterator[str]:
    """A pid means something only on the engine's own machine: its cgroup names the container."""
    process = Path("/proc") / str(pid)
    try:
        if pid and container in (process / "cgroup").read_text():
            for name in PROC_FILES:
                yield (process / name).read_text()
    except OSError:
        return


def clean_lines(output: bytes) -> list[str]:
    """Text lines without control characters, which would reach a terminal."""
    lines = output.decode("utf-8", "replace").splitlines()
    return ["".join(c if c.isprintable() or c == "\t" else " " for c in line) for line in lines]


def parse_state(document: Document, access: Access) -> InstanceState:
    """From the engine's inspect document. Pure."""
    state, config = document["State"], document["Config"]
    health = state.get("Health") or {}
    log = health.get("Log") or []
    status = health.get("Status", "")
    return InstanceState(
        status=state["Status"],
        restarts=document.get("RestartCount", 0),
        exit_code=state["ExitCode"],
        oom_killed=state["OOMKilled"],
        health="" if status == "none" else status,
        health_output=log[-1]["Output"].strip() if log else "",
        error=state["Error"],
        addresses=_addresses(document, access),
        published=_published(document, access),
        memory_limit=document["HostConfig"].get("Memory") or 0,
        health_command=_health_command(config),
    )


def _health_command(config: Mapping[str, Any]) -> tuple[str, ...]:
    kind, *rest = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    if kind == "CMD":
        return tuple(rest)
    if kind == "CMD-SHELL":
        return (*(config.get("Shell") or ("/bin/sh", "-c")), *rest)
    return ()


def _addresses(document: Document, access: Access) -> tuple[str, ...]:
    """None for an engine elsewhere: the same address here would be somebody else."""
    if not access.dials_there:
        return ()
    if document["HostConfig"]["NetworkMode"] == "host":
        return ("127.0.0.1",) if document["State"]["Running"] else ()
    networks = document["NetworkSettings"]["Networks"].values()
    fourth = [network["IPAddress"] for network in networks]
    sixth = [network["GlobalIPv6Address"] for network in networks]
    return tuple(address for address in (*fourth, *sixth) if address)


def _published(document: Document, access: Access) -> dict[int, tuple[str, int]]:
    here = "" if access.dials_there else access.reached_at
    found: dict[int, tuple[str, int]] = {}
    for key, bindings in (document["NetworkSettings"].get("Ports") or {}).items():
        port, _, protocol = key.partition("/")
        if bindings and protocol == "tcp":
            address = bindings[0]["HostIp"]
            everywhere = address in _EVERYWHERE
            if everywhere or here in _LOOPBACK or not is_loopback(address):
                host = (here or "127.0.0.1") if everywhere else address
                found[int(port)] = (host, int(bindings[0]["HostPort"]))
    return found
