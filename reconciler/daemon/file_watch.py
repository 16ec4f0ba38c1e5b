"""Watches the spec's files and the directories of `path` sources: an edit asks for a pass.

Directories are watched, as editors and git replace files. Those of the spec's files without what
is below them; those of `path` sources with all that is below.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.daemon.loop import Wish
from reconciler.daemon.reports import Reports
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import PathSource
from reconciler.values import frozen

if TYPE_CHECKING:
    from watchfiles import Change

STEP_MS = 50
"""How often changes are collected; what changes within one step is one edit."""

DEBOUNCE_MS = 400
"""The longest time that an edit is held back while more changes come."""

QUIET_MS = 1000
AGAIN_SECONDS = 5.0


@frozen
class Watched:
    """`files`: those of the spec. `patterns`: absolute patterns of files that would be included.
    `sources`: directories with all below them. `ignored`: where this program itself writes.
    """

    files: frozenset[Path]
    patterns: frozenset[str]
    sources: frozenset[Path]
    ignored: Path

    def directories(self) -> frozenset[Path]:
        """Those whose entries are files of the spec, or may become it."""
        links = {path.resolve() for path in self.files}
        return frozenset(
            {path.parent for path in self.files | links}
            | {_fixed_part(Path(pattern)) for pattern in self.patterns}
        )

    def is_spec(self, path: Path) -> bool:
        """Whether an edit of it is an edit of the spec."""
        known = path in self.files or path in {file.resolve() for file in self.files}
        return known or any(path.match(pattern) for pattern in self.patterns)


def watched_of(loaded: LoadedSpec, state_dir: Path) -> Watched:
    """What an edit of would change what is desired."""
    root = loaded.path.parent
    sources = {
        (loaded.base_dir(name) / app.source.path).resolve()
        for name, app in loaded.spec.apps.items()
        if isinstance(app.source, PathSource)
    }
    return Watched(
        frozenset(loaded.files),
        frozenset(str(root / pattern) for pattern in loaded.spec.include),
        frozenset(sources),
        state_dir.resolve(),
    )


def _fixed_part(pattern: Path) -> Path:
    """The directory above the first part with a wildcard."""
    parts = pattern.parts[:-1]
    wild = next((i for i, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    return Path(*parts[:wild])


class FileWatch:
    """Watches what it was told last; `watch` again when the spec names other files."""

    def __init__(self, ask: Callable[[Wish], None], reports: Reports) -> None:
        self._ask = ask
        self._reports = reports
        self._watched: Watched | None = None
        self._stops: list[threading.Event] = []
        self._threads: list[threading.Thread] = []

    def watch(self, watched: Watched) -> None:
        """From now on these."""
        if watched == self._watched:
            return
        self.end()
        self._watched = watched
        self._start(_Watch(watched.directories(), watched.is_spec))
        self._start(_Watch(watched.sources, None, watched.ignored))

    def end(self) -> None:
        """Watch nothing any more."""
        for stop in self._stops:
            stop.set()
        for thread in self._threads:
            thread.join(2.0)
        self._stops, self._threads = [], []

    def _start(self, what: _Watch) -> None:
        if not what.directories:
            return
        stop = threading.Event()
        thread = threading.Thread(target=self._work, args=(what, stop), name="files", daemon=True)
        self._stops.append(stop)
        self._threads.append(thread)
        thread.start()

    def _work(self, what: _Watch, stop: threading.Event) -> None:
        """A directory that isn't there (any more) is looked for again every few seconds."""
        while not stop.is_set():
            there = [directory for directory in sorted(what.directories) if directory.is_dir()]
            try:
                if there:
                    self._watch_these(there, what, stop)
            except (OSError, RuntimeError) as error:
                self._reports.say("files", f"can't watch files, edits wait for a tick: {error}")
            if stop.wait(AGAIN_SECONDS):
                return
            self._ask(Wish("looking at the files again"))

    def _watch_these(self, there: list[Path], what: _Watch, stop: threading.Event) -> None:
        from watchfiles import watch

        changes = watch(
            *there,
            watch_filter=what.filter(),
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            stop_event=stop,
            recursive=what.wanted is None,
            raise_interrupt=False,
            ignore_permission_denied=True,
            rust_timeout=QUIET_MS,
            yield_on_timeout=True,
        )
        watching = False
        for change in changes:
            if not change:
                if not watching:  # an edit may have come before the watch began
                    self._ask(Wish("watching files"))
                watching = True
                continue
            names = sorted({Path(path).name for _, path in change})
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            self._ask(Wish(f"{names[0]}{more} was edited"))
            if not all(directory.is_dir() for directory in there):
                return


@frozen
class _Watch:
    """`wanted`: which entries count; None for all of a tree, without what `ignored` has in it."""

    directories: frozenset[Path]
    wanted: Callable[[Path], bool] | None
    ignored: Path | None = None

    def filter(self) -> Callable[[Change, str], bool]:
        from watchfiles import DefaultFilter

        wanted = self.wanted
        if wanted is None:
            return DefaultFilter(ignore_paths=[self.ignored] if self.ignored else [])
        return lambda _change, path: wanted(Path(path))
