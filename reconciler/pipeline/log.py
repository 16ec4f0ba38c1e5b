"""A deployment's log: one file, a line at a time, secrets hidden, on disk as soon as it's said."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from reconciler.events import Event, Listener
from reconciler.host.secrets import Redactor
from reconciler.state.records import Deployment


class DeploymentLog:
    """Appends to `path` and tells `listen` of each line as a `progress` event.

    Lines look like `2026-01-31T09:30:00.123Z build | #5 RUN make`. A full disk loses lines, never
    the deployment.
    """

    def __init__(self, path: Path, row: Deployment, redactor: Redactor, listen: Listener) -> None:
        self.stage = ""
        self._row = row
        self._redactor = redactor
        self._listen = listen
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file: TextIO | None = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            self._file = None
            self._tell(f"the log can't be written: {error.strerror}")

    def write(self, line: str) -> None:
        """Add one line; each line of a longer text becomes one of its own."""
        text = self._redactor.hide(line)
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._lock:
            for part in text.splitlines() or [""]:
                self._append(f"{now} {self.stage or 'start'} | {part}\n")
                self._tell(part)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass  # the disk is full; what could be written is written

    def _append(self, line: str) -> None:
        if self._file is not None:
            try:
                self._file.write(line)
            except (OSError, ValueError):
                pass  # a full disk, or a line after the end

    def _tell(self, text: str) -> None:
        data = {"stage": self.stage, "text": text}
        self._listen(Event("progress", self._row.app, self._row.id, data))
