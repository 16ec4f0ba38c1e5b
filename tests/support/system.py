"""Processes, mounts and network namespaces, as /proc and libc show them."""

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x40000000
MNT_DETACH = 2
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


def wait_until(
    condition: Callable[[], T], timeout: float = 10, message: str = "", pause: float = 0.1
) -> T:
    """Call `condition` until its answer is true, and return that answer.

    Tries after 5 ms first, later every `pause` seconds, which is little for what soon is over.
    Raises TimeoutError after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    now = min(0.005, pause)
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout:g} s: {message or condition}")
        time.sleep(now)
        now = min(now * 1.5, pause)
    return answer


def run(*argv: str | Path, check: bool = True) -> str:
    """Run a command; its standard output. A failure carries what the command said."""
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{argv} exited with {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


# Processes


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state first, then ppid; [] when gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return []


def identity(pid: int) -> str:
    """`<pid> <start time>`, which no later process repeats; "" when it's gone or a zombie."""
    fields = _stat(pid)
    return f"{pid} {fields[19]}" if fields and fields[0] not in "ZX" else ""


def is_alive(pid: int) -> bool:
    return bool(identity(pid))


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def command_line(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        return ""


def own_line() -> set[int]:
    """This process and those that it descends from."""
    line, pid = set(), os.getpid()
    while pid > 0:
        line.add(pid)
        pid = int((_stat(pid) or ["", "0"])[1])
    return line


def with_descendants(roots: Iterable[int]) -> set[int]:
    parents = {pid: int(fields[1]) for pid in pids() if (fields := _stat(pid))}
    found = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def kill_all(doomed: Iterable[int], number: int = signal.SIGKILL, timeout: float = 10) -> None:
    """Signal processes and wait until they're gone. Those that were gone already are fine."""
    waiting = {pid: identity(pid) for pid in doomed if is_alive(pid)}
    for pid in waiting:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    wait_until(
        lambda: all(identity(pid) != who for pid, who in waiting.items()),
        timeout,
        f"the end of processes {sorted(waiting)}",
    )
    for pid in waiting:
        collect_child(pid)


def collect_child(pid: int) -> None:
    """Take an ended child's exit status, so that it doesn't stay a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


# Network namespaces: each is named by a file that it's mounted on. `ip netns` isn't used, as it
# leaves a mount of /run/netns on a machine that had none.


def make_namespace(file: Path) -> None:
    """A new namespace at `file`, with loopback up. Unmount the file to be rid of it."""
    file.touch()
    run("unshare", f"--net={file}", "ip", "link", "set", "lo", "up")


def enter_namespace(path: str | Path) -> None:
    """Move this thread, and every thread and process that it starts later, into a namespace."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


@contextmanager
def inside_namespace(file: Path) -> Iterator[None]:
    """This thread is in the namespace for the time of the block."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_namespace(file)
        yield
    finally:
        enter_namespace(f"/proc/self/fd/{before}")
        os.close(before)


def pids_in_namespace(file: Path) -> set[int]:
    wanted = _inode(file)
    return {pid for pid in pids() if wanted and _inode(Path(f"/proc/{pid}/ns/net")) == wanted}


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


# Mounts, control groups, directories


def unmount_below(directory: Path) -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    for point in reversed(points):
        if Path(point).is_relative_to(directory):
            _libc.umount2(os.fsencode(point), MNT_DETACH)


def control_groups(name: str) -> list[Path]:
    """The top-level group of this name, in every hierarchy."""
    root = Path("/sys/fs/cgroup")
    return [path for path in (root / name, *root.glob(f"*/{name}")) if path.is_dir()]


def pids_in_control_group(name: str) -> set[int]:
    """Processes of a top-level control group and those below it, in every hierarchy."""
    found: set[int] = set()
    for group in control_groups(name):
        for one in _with_subgroups(group):
            with suppress(OSError):  # a group that ends meanwhile has none
                found |= {int(pid) for pid in (one / "cgroup.procs").read_text().split()}
    return found


def _with_subgroups(top: Path) -> list[Path]:
    """Parents first. `os.walk` passes over what ends while it looks; `Path.rglob` fails."""
    return [Path(directory) for directory, _, _ in os.walk(top)]


def remove_control_group(name: str) -> None:
    for top in control_groups(name):
        for group in reversed(_with_subgroups(top)):
            # Its last process may take a moment to leave.
            wait_until(partial(_removed, group), 5, f"the end of {group}")


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_directory(directory: Path) -> None:
    unmount_below(directory)
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        shutil.rmtree(directory)
