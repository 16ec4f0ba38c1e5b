"""What a pass with nothing to do costs, for a hundred to ten thousand apps.

    python -m tests.benchmarks.scale                     the table of the README, as measured here
    python -m tests.benchmarks.scale one DIRECTORY       one estate in this process, as JSON

The runtime is `reconciler.testing.FakeRuntime`, with a list call that takes as long as an engine's
(`LISTED`). Spec, state, git and the pass are the real ones. Each estate is measured in a process of
its own, so that its memory is its own.
"""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.daemon.loop import Wish
from reconciler.daemon.passes import After, Passes
from reconciler.daemon.reports import Reports
from reconciler.engine.config_file import ConfigFile
from reconciler.engine.desired import Policy
from reconciler.engine.kept import KeptConfiguration, Ledger
from reconciler.engine.reconcile import Pass
from reconciler.events import ignore
from reconciler.plan.states import Observed
from reconciler.spec.hosts import LOCAL
from reconciler.state.store import Store
from reconciler.testing import FakeRuntime
from tests.benchmarks.estate import Estate, make_runtimes, make_tools

CALL_SECONDS, REMOTE_SECONDS = 0.001, 0.010
"""Of any list call, and of one more over ssh: two round trips, and what ssh itself takes."""
LISTED = 0.0001
"""Seconds for each container of a list: 200 of them take an engine 20 ms."""


class ListedRuntime(FakeRuntime):
    """Whose list takes time, and is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def observe(self, project: str) -> Observed:
        self.calls += 1
        host = next(iter(self.containers.values())).workload.host
        remote = 0 if host == LOCAL else REMOTE_SECONDS
        time.sleep(CALL_SECONDS + remote + LISTED * len(self.containers))
        return super().observe(project)


class CountingStore(Store):
    """Which counts statements, and rows that were written."""

    statements = 0

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.set_trace_callback(self._count)
        return connection

    def _count(self, statement: str) -> None:
        if not statement.startswith(("BEGIN", "COMMIT", "PRAGMA")):
            self.statements += 1


@dataclass
class Cost:
    """Of one pass. Seconds by the clock and of this process alone, without git's."""

    wall: float
    cpu: float
    lists: int
    statements: int
    written: int
    processes: int


@dataclass
class Measured:
    """`first`: after a start. `woken`: by an event, hosts aren't asked. `tick`: they are. The
    memory is in MiB, the most that the process ever had."""

    apps: int
    first: Cost | None = None
    woken: list[Cost] = field(default_factory=list)
    tick: list[Cost] = field(default_factory=list)
    resident: float = 0.0


class Steady:
    """A daemon's passes, as often as wanted."""

    def __init__(self, estate: Estate, store: CountingStore) -> None:
        self.store = store
        self.runtimes = make_runtimes(estate.listed(), ListedRuntime)
        tools = make_tools(store, self.runtimes)
        kept = KeptConfiguration(
            ConfigFile(estate.spec, estate.state), Ledger(store, time.time, ignore)
        )
        self.said: list[object] = []
        reports = Reports(lambda *said, **_: self.said.append(said))
        self.passes = Passes(tools, kept, Policy(), reports)
        self.after = After(ignore_it, self._done, self._met, ignore_it)
        self.processes = 0

    def _done(self, _loaded: object, done: Pass) -> None:
        assert not done.snapshot.plan.actions, done.snapshot.plan.actions[:3]

    def _met(self, error: Exception) -> None:
        raise AssertionError(self.said) from error

    def calls(self) -> int:
        """List calls so far."""
        return sum(one.calls for one in self.runtimes.values())

    def run(self, wish: Wish) -> Cost:
        """One pass, and what it cost."""
        connection = self.store.connection
        statements, written = self.store.statements, connection.total_changes
        calls = self.calls()
        with counting_processes() as processes:
            cpu, wall = time.process_time(), time.perf_counter()
            self.passes.run([wish], self.after)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Cost(
            wall,
            cpu,
            self.calls() - calls,
            self.store.statements - statements,
            connection.total_changes - written,
            len(processes),
        )


def ignore_it(*_: object) -> None:
    return


@contextmanager
def counting_processes() -> Iterator[list[str]]:
    """The argv of each process that is started."""
    begun: list[str] = []
    real = subprocess.Popen.__init__

    def count(self: subprocess.Popen[bytes], *args: object, **kwargs: object) -> None:
        begun.append(str(args[0] if args else kwargs.get("args")))
        real(self, *args, **kwargs)  # type: ignore[call-overload]

    subprocess.Popen.__init__ = count  # type: ignore[method-assign]
    try:
        yield begun
    finally:
        subprocess.Popen.__init__ = real  # type: ignore[method-assign]


def measure(estate: Estate, times: int = 5) -> Measured:
    """In this process."""
    with closing(CountingStore(estate.state)) as store:
        steady = Steady(estate, store)
        found = Measured(sum(len(one.containers) for one in steady.runtimes.values()))
        found.first = steady.run(Wish("start", look="now"))
        for _ in range(times):
            found.woken.append(steady.run(Wish("edited")))
            found.tick.append(steady.run(Wish("tick", look="due")))
    found.resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def main() -> None:
    found = measure(Estate(Path(sys.argv[2])))
    print(f"{found.apps} apps, {found.resident:.1f} MiB")
    print("first", found.first)
    for kind in ("woken", "tick"):
        best = min(getattr(found, kind), key=lambda one: one.cpu)
        print(kind, best)


if __name__ == "__main__":
    main()
