"""What a running HAProxy is asked and told, over its two sockets.

The worker's socket belongs to the worker that takes new connections; after a reload that is
another one. The master's socket knows the workers of before, which finish what they have.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.errors import EngineUnavailable
from reconciler.runtime.haproxy_config import MASTER_SOCKET, WORKER_SOCKET
from reconciler.runtime.proxy import Counters
from reconciler.values import frozen

ANSWER_SECONDS = 5.0
RESTART_SECONDS = 3.0
TODO = "Run `reconcile apply`, which starts the proxy again."
PAUSE_SECONDS = 0.01


@frozen
class Info:
    """What the worker was started with, and how many seconds ago."""

    description: str
    uptime: float


@frozen
class Stat:
    """One server of one section. `address` as `address:port`."""

    section: str
    number: int
    address: str
    weight: int
    disabled: bool
    sessions: int
    counters: Counters


class Control:
    """The proxy whose directory is `directory`. Raises `EngineUnavailable` when it's silent."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def info(self) -> Info | None:
        """None while nobody answers."""
        with suppress(EngineUnavailable):
            lines = (line.partition(": ") for line in self._ask("show info").splitlines())
            found = {name: value for name, _, value in lines}
            if "Uptime_sec" in found:
                return Info(found.get("description", ""), float(found["Uptime_sec"]))
        return None

    def await_answer(self) -> Info:
        """One that starts again in this moment is waited for. Raises `EngineUnavailable`."""
        deadline = time.monotonic() + RESTART_SECONDS
        while time.monotonic() < deadline:
            info = self.info()
            if info is not None:
                return info
            time.sleep(PAUSE_SECONDS)
        self._ask("show info")
        raise EngineUnavailable("the proxy doesn't say how it is", todo=TODO)

    def await_info(self, description: str, timeout: float) -> bool:
        """Whether a worker with this description answers within so many seconds."""
        deadline = time.monotonic() + timeout
        while True:
            info = self.info()
            if info and info.description == description:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE_SECONDS)

    def tell(self, commands: Sequence[str]) -> str:
        """All in one go, in this order; what was answered."""
        return self._ask(";".join(commands)) if commands else ""

    def stats(self, sections: Collection[str]) -> list[Stat]:
        """Every slot of these sections."""
        return list(_parse_stats(self._ask(_show(sections))))

    def old_workers(self) -> list[str]:
        """The process ids of workers that finish what they have."""
        _, _, old = self._ask_master("show proc").partition("# old workers")
        lines = (line.split() for line in old.partition("# programs")[0].splitlines())
        return [fields[0] for fields in lines if len(fields) > 1 and fields[1] == "worker"]

    def old_stats(self, worker: str, sections: Collection[str]) -> list[Stat]:
        """The same of a worker of before; empty when it has just ended."""
        with suppress(EngineUnavailable):
            answers = [self._ask_master(f"@!{worker} {_show([one])}") for one in sections]
            return list(_parse_stats("\n".join(answers)))
        return []

    def end_old(self, worker: str, servers: Collection[tuple[str, int]]) -> None:
        """Cut off what a worker of before still has for these slots, by section and number. It
        takes no commands about servers any more, only about single sessions."""
        wanted = {(f"be={section}", f"srv=s{number}") for section, number in servers}
        with suppress(EngineUnavailable):
            for line in self._ask_master(f"@!{worker} show sess").splitlines():
                identity, _, rest = line.partition(": ")
                words = rest.split()
                if any(be in words and srv in words for be, srv in wanted):
                    self._ask_master(f"@!{worker} shutdown session {identity}")

    def reload(self) -> None:
        """Ask for workers with the files as they are now. The master answers when it has begun."""
        self._ask_master("reload")

    def failed_reloads(self) -> int:
        """How many reloads have failed since the last that worked."""
        for line in self._ask_master("show proc").splitlines():
            if "[failed:" in line:
                return int(line.partition("[failed:")[2].partition("]")[0])
        return 0

    def _ask(self, command: str) -> str:
        return self._call(WORKER_SOCKET, command)

    def _ask_master(self, command: str) -> str:
        """The master is away for a moment when it reloads."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                return self._call(MASTER_SOCKET, command)
            except EngineUnavailable:
                if time.monotonic() > deadline or not (self._directory / MASTER_SOCKET).exists():
                    raise
            time.sleep(PAUSE_SECONDS)

    def _call(self, name: str, command: str) -> str:
        try:
            return _converse(self._directory / name, command)
        except OSError as error:
            raise EngineUnavailable(
                f"the proxy doesn't answer: {error.strerror or error}",
                todo=TODO,
            ) from error


def _converse(path: Path, command: str) -> str:
    """One line there, everything back. A socket's path may have 107 characters only."""
    directory = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
            connection.sendall(command.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()
    finally:
        os.close(directory)


_SERVERS = "4 -1"


def _show(sections: Collection[str]) -> str:
    return ";".join(f"show stat {section} {_SERVERS}" for section in sections)


def _parse_stats(text: str) -> Iterator[Stat]:
    names: list[str] = []
    for line in text.splitlines():
        if line.startswith("# pxname"):
            names = line.removeprefix("# ").split(",")
        elif "," in line and names:
            yield _parse_stat(dict(zip(names, line.split(","), strict=False)))


def _parse_stat(row: dict[str, str]) -> Stat:
    def number(name: str) -> int:
        return int(row.get(name) or 0)

    is_http = row["mode"] == "http"
    answers = sum(number(f"hrsp_{kind}") for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other"))
    retried = number("wretr") + number("wredis")
    return Stat(
        section=row["pxname"],
        number=int(row["svname"].removeprefix("s")),
        address=row["addr"],
        weight=number("uweight"),
        disabled=row["status"].startswith("MAINT"),
        sessions=number("scur"),
        counters=Counters(
            requests=answers if is_http else number("stot"),
            errors=number("hrsp_5xx") + number("eresp"),
            connect_errors=number("econ") + retried,
        ),
    )
