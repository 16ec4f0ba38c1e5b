"""Who owns a running deployment, and whether that process still lives."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from reconciler.host.process import start_time


@functools.cache
def _machine() -> str:
    """This boot and this pid namespace: only inside both does a pid mean anything to us."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    return f"{boot}/{namespace}"


def describe_process(pid: int) -> str:
    """A name for a process that is never used again: boot, pid namespace, pid, start time."""
    return f"{_machine()}:{pid}:{start_time(pid)}"


def current_owner() -> str:
    """This process."""
    return describe_process(os.getpid())


def is_alive(owner: str) -> bool | None:
    """Whether the process lives; None when that can't be seen from here.

    A process of another pid namespace (a container) can't be seen; of another boot, it is gone.
    """
    machine, _, rest = owner.partition(":")
    pid, _, started = rest.partition(":")
    if not pid.isdigit():
        return False
    if machine == _machine():
        return bool(started) and start_time(int(pid)) == started
    same_boot = machine.partition("/")[0] == _machine().partition("/")[0]
    return None if same_boot else False


def pid_of(owner: str) -> int:
    """The pid in it, 0 when there is none; only meaningful while `is_alive` is true."""
    pid = owner.partition(":")[2].partition(":")[0]
    return int(pid) if pid.isdigit() else 0
