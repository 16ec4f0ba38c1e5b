"""Child processes: argv lists only, an own process group, ended as a group.

A child dies with the thread that started it (`setpriv --pdeathsig`, where util-linux has it),
so a killed reconciler leaves no `git` and no `docker build` behind.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import IO

from reconciler.errors import Stalled
from reconciler.host.job import Job
from reconciler.values import frozen

GRACE_SECONDS = 0.3
"""From SIGTERM to SIGKILL: git and the docker client need a few milliseconds to clean up."""


@frozen
class Command:
    """What to run. `env` is added to this process's environment; None removes a name.

    `stdin` is sent to the child and closed. Secrets belong into `env` or `stdin`, never into argv.
    """

    argv: Sequence[str]
    cwd: Path | None = None
    env: Mapping[str, str | None] = field(default_factory=dict)
    stdin: bytes = b""
    log_output: bool = False


@frozen
class Finished:
    """How a child ended. `returncode` is negative for a signal, as in `subprocess`."""

    returncode: int
    stdout: str
    stderr: str


@functools.cache
def die_with_parent() -> tuple[str, ...]:
    """What stands before an argv so that the child ends with the thread that started it."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def run_command(command: Command, job: Job) -> Finished:
    """Run to the end; the caller judges the return code.

    stdout and stderr are collected; with `log_output` each line also goes to the job's log.
    Raises the job's `Stopped` when it is cancelled meanwhile (the whole process group is ended
    first), `Stalled` when there is no such program.
    """
    job.cancel.check()
    child = _start(command, job)
    job.on_process(child.pid)
    try:
        with job.cancel.interrupting(functools.partial(end_group, child.pid)):
            finished = _collect(child, command, job)
    except BaseException:
        signal_group(child.pid, signal.SIGKILL)
        child.wait()
        raise
    finally:
        job.on_process(None)
    job.cancel.check()
    return finished


def _start(command: Command, job: Job) -> subprocess.Popen[bytes]:
    merged = {**os.environ, **command.env}
    env = {name: value for name, value in merged.items() if value is not None}
    # Popen would only miss setpriv.
    if shutil.which(command.argv[0], path=env.get("PATH")) is None:
        raise Stalled(
            f"the program {command.argv[0]!r} isn't installed",
            app=job.app,
            todo="Install it, then try again; `reconcile doctor` lists what is needed.",
        )
    return subprocess.Popen(
        [*die_with_parent(), *command.argv],
        cwd=command.cwd,
        env=env,
        stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _collect(child: subprocess.Popen[bytes], command: Command, job: Job) -> Finished:
    assert child.stdout is not None  # noqa: S101 - told to Popen above
    assert child.stderr is not None  # noqa: S101
    log = job.log if command.log_output else None
    texts: dict[str, list[str]] = {"out": [], "err": []}

    def read(stream: IO[bytes], into: list[str]) -> None:
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace")
                into.append(line)
                if log is not None:
                    log(line.rstrip("\r\n"))

    readers = [
        threading.Thread(target=read, args=(child.stdout, texts["out"]), daemon=True),
        threading.Thread(target=read, args=(child.stderr, texts["err"]), daemon=True),
    ]
    for reader in readers:
        reader.start()
    if child.stdin is not None:
        _feed(child.stdin, command.stdin)
    for reader in readers:
        reader.join()
    return Finished(child.wait(), "".join(texts["out"]), "".join(texts["err"]))


def _feed(stdin: IO[bytes], data: bytes) -> None:
    try:
        with stdin:
            stdin.write(data)
    except BrokenPipeError:
        pass  # the child ended before it read everything; its return code tells why


def end_group(group: int, grace: float = GRACE_SECONDS) -> None:
    """End a process group: TERM now, KILL after `grace` seconds, without waiting for it here."""
    signal_group(group, signal.SIGTERM)
    timer = threading.Timer(grace, signal_group, (group, signal.SIGKILL))
    timer.daemon = True
    timer.start()


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group, if there is one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass  # it has ended by itself


def start_time(pid: int) -> str:
    """When the process was started, in clock ticks since boot; empty when there is no such one.

    Together with the pid it names a process for good: pids come back, pairs don't (proc(5)).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
