"""The command line in processes that are forked from one that has imported it already.

A process of its own like any other, with its own environment, directory, network namespace,
signals and exit code; but importing is most of the time of a short command.

What forks is a process with one thread, one for each process of the test session: forking those
themselves now and then leaves a lock behind that a thread of theirs had.
"""

from __future__ import annotations

import atexit
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import reconciler
from reconciler.cli import main as reconcile
from tests.support.system import enter_namespace

HEAVY = ("docker", "dxf", "git", "pydantic", "rich.console", "sqlite_utils", "yaml")
"""What commands import where they use it."""

LARGEST = 128 << 10
"""Bytes of a request: its environment, most of all."""


class Forked:
    """`reconcile` with these arguments. `wait`, or `kill`; then `out` and `err` are there."""

    def __init__(self, arguments: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self.arguments = arguments
        self.returncode: int | None = None
        self.out = self.err = ""
        self._outputs = [os.memfd_create(name) for name in ("out", "err")]
        self._status, theirs = os.pipe()
        request = {"arguments": arguments, "env": dict(env), "cwd": str(cwd)}
        space = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        numbers = [*self._outputs, space, theirs]
        socket.send_fds(_forker(), [json.dumps(request).encode()], numbers)
        os.close(space)
        os.close(theirs)
        self.pid = int(os.read(self._status, 32))

    def wait(self, timeout: float) -> int:
        """The exit code, as `subprocess` gives it. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.arguments, timeout)
            self.returncode = os.waitstatus_to_exitcode(int(os.read(self._status, 32)))
            os.close(self._status)
            self.out, self.err = map(_text, self._outputs)
        return self.returncode

    def kill(self) -> None:
        """-9, if it still runs; returns when it has ended."""
        if self.returncode is None and not select.select([self._status], [], [], 0)[0]:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.wait(10)


def _text(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8") as file:
        file.seek(0)
        return file.read()


@cache
def _forker() -> socket.socket:
    """The way to the process that forks, which ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [sys.executable, "-m", "tests.support.forked", str(theirs.fileno())]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], cwd=root)
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours


# -- in the process that forks ---------------------------------------------------------------


def _serve(requests: socket.socket) -> None:
    """Fork for each request, and tell how each child has ended, until nobody is there to ask."""
    living: dict[int, tuple[int, int]] = {}
    """The handle of a child → its pid, and where its status is wanted."""
    while True:
        for ready in select.select([requests.fileno(), *living], [], [])[0]:
            if ready in living:
                pid, status = living.pop(ready)
                _tell(status, os.waitpid(pid, 0)[1])
                os.close(status)
                os.close(ready)
                continue
            request, numbers, _, _ = socket.recv_fds(requests, LARGEST, 4)
            if not request:
                return
            pid = os.fork()
            if pid == 0:
                _run(json.loads(request), numbers)
            _tell(numbers[3], pid)
            living[os.pidfd_open(pid)] = pid, numbers[3]
            for number in numbers[:3]:
                os.close(number)


def _tell(status: int, number: int) -> None:
    """To whoever may be gone by now."""
    try:
        os.write(status, b"%d\n" % number)
    except BrokenPipeError:
        pass


def _run(request: dict[str, Any], numbers: list[int]) -> NoReturn:
    """What a child does, as if a shell had started it."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        enter_namespace(f"/proc/self/fd/{numbers[2]}")
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        for number, standard in zip(numbers[:2], (1, 2), strict=True):
            os.dup2(number, standard)
        os.closerange(3, max(numbers) + 1)
        sys.argv = ["reconcile", *request["arguments"]]
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(number, "w"), "utf-8", write_through=True)
            for number in (1, 2)
        )
        reconcile()
    except BaseException:  # it must not go on as the process that forks
        traceback.print_exc()
    finally:
        os._exit(1)


def _import_all() -> None:
    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.startswith(("reconciler.api", "reconciler.daemon", "reconciler.__main")):
            importlib.import_module(module.name)
    for name in HEAVY:
        importlib.import_module(name)


if __name__ == "__main__":
    for standard_signal in (signal.SIGINT, signal.SIGTERM):
        signal.signal(standard_signal, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _import_all()
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        _serve(asked)
