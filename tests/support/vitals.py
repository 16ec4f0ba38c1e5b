"""How much a process and a directory take: for tests that look for what grows without bound."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vitals:
    """Resident KiB, threads and open files of a process, and KiB of a directory's files."""

    resident: int
    threads: int
    files: int
    state: int

    def __str__(self) -> str:
        return (
            f"{self.resident / 1024:.1f} MiB resident, {self.threads} threads, "
            f"{self.files} open files, state {self.state} KiB"
        )


def measure(pid: int, directory: Path) -> Vitals:
    """Now. Raises `OSError` when the process is gone."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in status)
    return Vitals(
        int(fields["VmRSS"].split()[0]),
        int(fields["Threads"]),
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
        size_of(directory) >> 10,
    )


def size_of(directory: Path) -> int:
    """Bytes of all files below it; files may come and go meanwhile."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(Path(root) / name).st_size
            except FileNotFoundError:
                continue
    return total


def typical(samples: Sequence[Vitals]) -> Vitals:
    """The median of each."""

    def middle(read: Callable[[Vitals], int]) -> int:
        return round(statistics.median(map(read, samples)))

    return Vitals(
        middle(lambda one: one.resident),
        middle(lambda one: one.threads),
        middle(lambda one: one.files),
        middle(lambda one: one.state),
    )
