"""What a pass with nothing to do costs, for a hundred to ten thousand apps on a hundred hosts.

    python -m tests.benchmarks.scale             the table of the README, as it comes out here
    python -m tests.benchmarks.scale 1000 10     its row for so many apps on so many hosts

The runtime is `reconciler.testing.FakeRuntime`, with a list call that takes as long as an engine's
(`LISTED`, `REMOTE_SECONDS`). Spec, state, git and the pass are the real ones. Each estate is
measured in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
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
from tests.benchmarks.estate import Estate, make_estate, make_runtimes, make_tools

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


@dataclass(frozen=True)
class Cost:
    """Of one pass. Seconds by the clock, and of this process on a core: what it waits for (a
    list, git) isn't in there. `resident`: MiB, the most that the process has ever had.
    """

    wall: float
    cpu: float
    lists: int
    processes: int
    statements: int
    written: int
    resident: float


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
            wall=wall,
            cpu=cpu,
            lists=self.calls() - calls,
            processes=len(processes),
            statements=self.store.statements - statements,
            written=connection.total_changes - written,
            resident=read_peak(),
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


def read_peak() -> float:
    """MiB. `getrusage` would give that of the parent, where it is more."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


WISHES = {
    "start": Wish("start", look="now"),
    "woken": Wish("edited"),
    "tick": Wish("tick", look="due"),
}
"""`start`: the first pass, as every one-shot's. `tick`: hosts of sources are asked. `woken`: by
an event or an edit, and they aren't."""


class Measured:
    """An estate in a process of its own; `run` asks it for a pass."""

    def __init__(self, estate: Estate) -> None:
        argv = [sys.executable, "-m", "tests.benchmarks.scale", "serve", str(estate.directory)]
        pipe = subprocess.PIPE
        self.estate = estate
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True)
        self.start = self.run("start")

    def run(self, wish: str) -> Cost:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{wish}\n")
        self._process.stdin.flush()
        return Cost(**json.loads(self._process.stdout.readline()))

    def end(self) -> None:
        self._process.communicate(timeout=30)


@contextmanager
def measured(directory: Path, apps: int, hosts: int) -> Iterator[Measured]:
    """A new estate below `directory`."""
    subject = Measured(make_estate(directory, apps, hosts))
    try:
        yield subject
    finally:
        subject.end()


def serve(estate: Estate) -> None:
    """One pass for each line of the input, which names a wish."""
    with closing(CountingStore(estate.state)) as store:
        steady = Steady(estate, store)
        for line in sys.stdin:
            print(json.dumps(asdict(steady.run(WISHES[line.strip()]))), flush=True)


COLUMNS = "apps | hosts | lists | git | reads | writes | woken | tick | start | CPU | memory"


def print_row(apps: int, hosts: int, times: int = 7) -> None:
    """The best of several, as others on the machine only add to it."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        with measured(Path(name) / "estate", apps, hosts) as subject:
            woken = [subject.run("woken") for _ in range(times)]
            ticks = [subject.run("tick") for _ in range(times)]
        best, tick = (min(costs, key=lambda one: one.wall) for costs in (woken, ticks))
    cpu = min(one.cpu for one in woken)
    cells: list[object] = [f"{apps:,}", hosts, tick.lists, tick.processes, tick.statements]
    cells += [tick.written, *(f"{one.wall:.2f} s" for one in (best, tick, subject.start))]
    cells += [f"{cpu / apps * 1e6:.0f} µs an app", f"{tick.resident:.0f} MiB"]
    print("|", *(f"{cell} |" for cell in cells), flush=True)


def main() -> None:
    match sys.argv[1:]:
        case ["serve", directory]:
            serve(Estate(Path(directory)))
        case [apps, hosts]:
            print_row(int(apps), int(hosts))
        case _:
            print(f"| {COLUMNS} |\n|{'---|' * (COLUMNS.count('|') + 1)}")
            for number in (100, 1_000, 10_000):
                for several in (1, 10, 100):
                    print_row(number, several)


if __name__ == "__main__":
    main()
