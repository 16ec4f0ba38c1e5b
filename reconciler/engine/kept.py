"""The last good spec stays in force, whatever happens to the place where it is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reconciler.engine.configuration import Change, Lasting
from reconciler.engine.documents import describe_problem
from reconciler.errors import ReconcilerError, SpecError, Stopped
from reconciler.events import Event, Listener
from reconciler.spec.loaded import LoadedSpec
from reconciler.state.configurations import (
    ConfigurationRow,
    find_configuration,
    put_configuration,
)
from reconciler.state.store import Store
from reconciler.values import frozen

SETTLE_SECONDS = 0.03
"""How long a file that isn't valid may have been written before to be read again."""


def _just_written(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < SETTLE_SECONDS
    except OSError:
        return False


@frozen
class Ledger:
    """Writes down what is in force and what is wrong, and reports each once: events `accepted`
    and `refused`. Nothing is written while nothing changes.
    """

    store: Store
    clock: Callable[[], float]
    listen: Listener

    def accept(self, place: str, loaded: LoadedSpec) -> None:
        """This is in force, and is the newest."""
        row = find_configuration(self.store, place)
        same = (row.revision, row.digest) == (loaded.revision, loaded.digest)
        if same and not row.problem:
            return
        since = row.since if same else self.clock()
        put_configuration(
            self.store, ConfigurationRow(place, loaded.revision, loaded.digest, since)
        )
        data = {
            "place": place,
            "revision": loaded.revision,
            "before": row.revision,
            "recovered": bool(row.problem),
        }
        self.listen(Event("accepted", "", data=data))

    def refuse(self, place: str, error: ReconcilerError, in_force: LoadedSpec | None) -> None:
        """The newest one can't be used, and `in_force` stays."""
        row = find_configuration(self.store, place)
        text, since = describe_problem(error), self.clock()
        new = (row.problem, row.problem_revision) != (text, error.revision)
        known = in_force is None or row.digest == in_force.digest
        if not new and known:
            return
        if in_force is not None and not known:
            row = ConfigurationRow(place, in_force.revision, in_force.digest, since)
        row = replace(row, problem=text, problem_revision=error.revision, problem_since=since)
        put_configuration(self.store, row)
        if new:
            data = {
                "place": place,
                "revision": error.revision,
                "problem": text,
                "kept": in_force is not None,
                "in_force": in_force.revision if in_force else "",
            }
            self.listen(Event("refused", "", data=data))


class KeptConfiguration:
    """A configuration for a process that runs for months: `load` gives the last good spec while
    the newest can't be used, and `problem` says why. Safe to use from several threads.
    """

    def __init__(self, configuration: Lasting, ledger: Ledger) -> None:
        self._configuration = configuration
        self._ledger = ledger
        self._last: LoadedSpec | None = None
        self.problem: ReconcilerError | None = None

    @property
    def place(self) -> str:
        return self._configuration.place

    @property
    def files(self) -> tuple[Path, ...]:
        return self._configuration.files

    def load(self) -> LoadedSpec:
        """The newest spec that can be used. Raises what is wrong only before there is any."""
        try:
            loaded = self._load_settled()
        except Stopped:
            raise
        except ReconcilerError as error:
            return self._refuse(error)
        self._last, self.problem = loaded, None
        self._ledger.accept(self.place, loaded)
        return loaded

    def _load_settled(self) -> LoadedSpec:
        """What an editor is in the middle of writing is read again, once."""
        try:
            return self._configuration.load()
        except SpecError:
            if not any(map(_just_written, self.files)):
                raise
        time.sleep(SETTLE_SECONDS)
        return self._configuration.load()

    def _refuse(self, error: ReconcilerError) -> LoadedSpec:
        self.problem = error
        last = self.in_force()
        self._ledger.refuse(self.place, error, last)
        if last is None:
            raise error
        return last

    def in_force(self) -> LoadedSpec | None:
        """What was loaded last, or what an earlier process has left."""
        try:
            self._last = self._configuration.in_force() or self._last
        except Stopped:
            raise
        except ReconcilerError:
            pass  # what is wrong with its place is told by `load`
        return self._last

    def edit(self, change: Change, message: str) -> str:
        """As the configuration does it. `load` shows it afterwards."""
        return self._configuration.edit(change, message)
