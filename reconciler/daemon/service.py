"""Starts the parts of `reconcile daemon`, waits for signals, and stops them in order.

start   wait for the lead → state, engine → workers, files, engine events, clock → first pass
SIGHUP  a pass now, that asks every host
SIGTERM nothing new begins; what swaps containers ends, the rest is handed to the next start
"""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.daemon import systemd
from reconciler.daemon.clockwork import Clockwork
from reconciler.daemon.engine_events import Concern, EngineEvents
from reconciler.daemon.file_watch import FileWatch, watched_of
from reconciler.daemon.logs import DaemonLog, Format, make_listener
from reconciler.daemon.loop import Loop, Wish
from reconciler.daemon.messenger import Messenger
from reconciler.daemon.passes import After, Passes, next_moment, spec_in_force
from reconciler.daemon.reports import Reports
from reconciler.daemon.standby import leading, write_leader
from reconciler.engine.cleanup import collect_garbage
from reconciler.engine.configuration import Configuration, Lasting
from reconciler.engine.desired import Policy
from reconciler.engine.kept import KeptConfiguration, Ledger
from reconciler.engine.pool import Pool
from reconciler.engine.reconcile import Pass
from reconciler.engine.whereabouts import places_in
from reconciler.engine.wiring import open_tools
from reconciler.errors import Interrupted, ReconcilerError
from reconciler.host.job import Job
from reconciler.host.ready import hold_ready
from reconciler.host.secrets import Redactor
from reconciler.pipeline.tools import Tools
from reconciler.spec.loaded import LoadedSpec
from reconciler.state.records import Deployment
from reconciler.values import frozen

if TYPE_CHECKING:
    from reconciler.api.metrics import Metrics
    from reconciler.api.server import RunningServer
    from reconciler.runtime.base import Runtime

STOP_SECONDS = 9.0
_M_ARENA_MAX = -8  # malloc.h
STUCK_SECONDS = 600.0
"""A pass that takes longer than this hangs, and the watchdog isn't told that all is well."""


@frozen
class Settings:
    """What the command line says. `listen`: address of the API, empty for none."""

    state_dir: Path
    interval: float = 60.0
    policy: Policy = Policy()
    listen: str = ""
    log_format: Format = "text"
    verbose: bool = False
    runtime: Runtime | None = None


Opener = Callable[[Job, Redactor], Lasting]
"""Makes the configuration, from what ends its waiting and what hides its secrets."""


def run_daemon(open_it: Opener, settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Must be called in the main thread.

    Raises `UsageError` when it can't listen.
    """
    log = make_listener(settings.log_format, sys.stderr, Redactor())
    if settings.verbose:
        log.show_debug()
    signals = Signals()
    _share_arenas()
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with _lead(settings.state_dir, signals.job, log):
            return _serve(open_it(signals.job, log.redactor), settings, signals, log)
    except Interrupted:
        return 0  # asked to stop while it stood by
    finally:
        systemd.notify(stopping=1)
        log.close()


def _share_arenas() -> None:
    """Let all threads allocate from two places. glibc gives each its own, and as threads come and
    go with deployments, those keep a quarter more memory than is ever in use."""
    import ctypes

    with suppress(AttributeError, OSError):  # another C library has no such setting
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


@contextmanager
def _lead(state_dir: Path, job: Job, log: DaemonLog) -> Iterator[None]:
    def waiting(leader: str) -> None:
        log.log("info", "standby", f"standing by: {leader} leads on {state_dir}")
        hold_ready()
        systemd.notify(ready=1, status=f"standing by for {leader}")

    with leading(state_dir, job, waiting):
        yield


def _ignore() -> None:
    """Before there is anything to look at."""


class Signals:
    """SIGTERM and SIGINT end `wait` and `job`; a second one ends the process at once. SIGHUP calls
    what `on_hup` is then.

    The kernel may give a signal to any thread, and then nothing wakes the main one, which alone
    runs handlers: so it waits for the byte that Python writes for each signal.
    """

    def __init__(self) -> None:
        self.job = Job()
        self.on_hup: Callable[[], None] = _ignore
        self._stopping = False
        self._bell, ringer = socket.socketpair()
        ringer.setblocking(False)
        self._ringer = ringer
        signal.set_wakeup_fd(ringer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGHUP, lambda _number, _frame: self.on_hup())

    def wait(self) -> None:
        """Until the daemon shall stop."""
        while not self._stopping:
            self._bell.recv(64)

    def _stop(self, number: int, _frame: object) -> None:
        if self._stopping:
            os._exit(128 + number)
        self._stopping = True
        # Not from here: the main thread may hold the lock that cancelling takes.
        threading.Thread(target=self._cancel, name="signal", daemon=True).start()

    def _cancel(self) -> None:
        self.job.cancel.cancel(Interrupted("the daemon was stopped"))


def _serve(inner: Lasting, settings: Settings, signals: Signals, log: DaemonLog) -> int:
    with open_tools(
        settings.state_dir, log.listen, runtime=settings.runtime, redactor=log.redactor
    ) as tools:
        kept = KeptConfiguration(inner, Ledger(tools.store, tools.clock, log.listen))
        daemon = Daemon(tools, kept, settings, log)
        daemon.start()
        signals.on_hup = lambda: daemon.ask(Wish("SIGHUP", look="now"))
        try:
            signals.wait()
        finally:
            in_time = daemon.stop(STOP_SECONDS)
    return 0 if in_time else 1


class Daemon:
    """The parts, and how they are connected. What the API needs of them is `api.backend`."""

    def __init__(
        self, tools: Tools, configuration: Configuration, settings: Settings, log: DaemonLog
    ) -> None:
        self.tools = tools
        self.configuration = configuration
        self._settings = settings
        self._log = log
        self._reports = Reports(log.log)
        self._passes = Passes(tools, configuration, settings.policy, self._reports)
        self._after = After(self._loaded, self._done, self._met, self._finished)
        self._loop = Loop(lambda wishes: self._passes.run(wishes, self._after))
        self._pool = Pool(tools, self._ended)
        self._files = FileWatch(self.ask, self._reports)
        self._events = EngineEvents(tools.hosts, self.ask, self._concern, self._reports)
        self._clock = Clockwork(self.ask, settings.interval)
        self._messenger = Messenger(tools)
        self._server: RunningServer | None = None
        self._metrics: Metrics | None = None
        self._ready = False

    # -- what the API needs ------------------------------------------------------------------

    def spec(self) -> LoadedSpec:
        """The one in force. Raises `UsageError` before there is any."""
        return spec_in_force(self._passes)

    def look(self, cause: str, apps: Collection[str] = ()) -> None:
        """Ask for a pass that asks these apps' hosts, or all, and the configuration's."""
        self.ask(Wish(cause, look="now", apps=tuple(apps)))

    def wake(self) -> None:
        """Something was put into the queue."""
        self._pool.wake()

    # -- start and stop ----------------------------------------------------------------------

    def ask(self, wish: Wish) -> None:
        """Ask for a pass."""
        self._loop.ask(wish)

    def start(self) -> None:
        """Start every part, and ask for the first pass."""
        about = {"place": self.configuration.place, "listen": self._settings.listen}
        write_leader(self._settings.state_dir, {**about, "since": self.tools.clock()})
        self._log.log("info", "started", f"keeping in step with {self.configuration.place}")
        if self._settings.listen:
            self._listen()
        self._loop.start()
        self._pool.start()
        self._messenger.start()
        self._clock.start(self._sweep)
        if (pause := systemd.watchdog_seconds()) is not None:
            self._clock.every(pause, self._look_after)
        self.ask(Wish("start", look="now"))

    def _listen(self) -> None:
        from reconciler.api.metrics import Metrics
        from reconciler.api.server import start_server

        self._metrics = Metrics(self.tools.store, self.tools.runtime)
        self._server = start_server(self, self._settings.listen, self._metrics)
        self._log.log("info", "listening", f"the API answers on {self._server.address}")

    def stop(self, patience: float) -> bool:
        """Stop in order, within `patience` seconds; whether nothing was left running."""
        systemd.notify(stopping=1, status="stopping")
        deadline = time.monotonic() + patience
        self._log.log("info", "stopping", "nothing new begins")
        if self._server is not None:
            self._server.stop()
        self._clock.end()
        self._files.end()
        self._messenger.end()
        handed = self._pool.hand_over(max(0.5, deadline - time.monotonic() - 1.0))
        passed = self._loop.end(max(0.1, deadline - time.monotonic()))
        self._events.end()
        how = "in order" if handed else "in haste: what still runs is resumed by the next start"
        self._log.log("info", "stopped", f"stopped {how}")
        return handed and passed

    # -- connections -------------------------------------------------------------------------

    def _loaded(self, loaded: LoadedSpec) -> None:
        self._pool.concurrency = loaded.spec.concurrency
        if not self._events.follows:
            self.tools.learn(loaded)
            self._events.follow(places_in(loaded))
        if self.configuration.files:
            self._files.watch(watched_of(loaded, self._settings.state_dir))

    def _done(self, loaded: LoadedSpec, done: Pass) -> None:
        if done.queued:
            self._pool.wake()
        self._messenger.look(loaded, done.snapshot)
        pause = self.tools.runtime.next_ask(done.snapshot.observed.away)
        self._clock.ring_at(next_moment(done, self._passes.memory, pause))
        if self._metrics is not None:
            self._metrics.pass_done(done)
        systemd.notify(status=f"{len(loaded.spec.apps)} apps, {len(done.queued)} to deploy")

    def _met(self, error: Exception) -> None:
        if self._metrics is not None:
            self._metrics.met(error)

    def _finished(self, seconds: float, ok: bool) -> None:
        if looked_at := self.tools.runtime.looked_at:
            self._events.follow(looked_at)
        if self._metrics is not None:
            self._metrics.pass_finished(seconds, ok)
        if not self._ready:
            self._ready = True
            hold_ready()
            systemd.notify(ready=1)

    def _ended(self, app: str, end: Deployment | Exception | None) -> None:
        if isinstance(end, Exception):
            self._reports.say("state", f"an end can't be written down: {end}", app=app)
        self.ask(Wish(f"{app}: deployment ended"))

    def _concern(self, app: str, deployment: str) -> Concern:
        """While a deployment is at work, only containers like those that it starts are news: what
        happens to those of before is its own doing. One of a suspended app isn't `serving`."""
        spec = self._passes.spec
        if spec is not None and not app.startswith(f"{spec.spec.project}/"):
            return ""
        store = self.tools.store
        try:
            rows, row = store.unfinished(app), store.find_app(app)
        except (ReconcilerError, sqlite3.Error):
            return "news"  # the state is locked, or its disk is full: that may pass
        if rows:
            own = {name for one in rows for name in (one.id, one.read_request().joins)}
            return "news" if deployment in own else ""
        shall_run = row and row.serving == deployment and row.hold_kind != "suspended"
        return "serving" if shall_run else "news"

    def _sweep(self) -> None:
        try:
            if self._passes.spec is not None:
                collect_garbage(self.tools, self._passes.spec, dry_run=False)
        except (ReconcilerError, OSError, sqlite3.Error) as error:
            self._reports.say("sweep", f"{error}")

    def _look_after(self) -> None:
        """Tell the service manager that all is well, as long as it is."""
        if self._loop.alive() and self._loop.stuck_for() < STUCK_SECONDS:
            systemd.notify(watchdog=1)
