"""Progress of deployments: a live table on a terminal, else a line for each thing that happens.

Everything goes to stderr; stdout is for results.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from reconciler.events import Event, Listener, ignore

if TYPE_CHECKING:
    from rich.table import Table


@contextmanager
def show_progress(*, quiet: bool, verbose: bool) -> Iterator[Listener]:
    """A listener that shows events until the end of the block."""
    if quiet:
        yield ignore
    elif sys.stderr.isatty() and not verbose and "NO_COLOR" not in os.environ:
        with _Live().showing() as listener:
            yield listener
    else:
        yield _Lines(verbose).listen


class _Lines:
    """One line an event, safe from several threads."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._lock = threading.Lock()

    def listen(self, event: Event) -> None:
        text = self._text(event)
        if text:
            with self._lock:
                click.echo(f"{event.app}: {text}", err=True)

    def _text(self, event: Event) -> str:
        data = event.data
        if event.kind == "progress":
            return f"{data['stage']} | {data['text']}" if self._verbose else ""
        if event.kind == "stage" and data["status"] == "running":
            return f"{data['stage']} ..."
        if event.kind == "stage" and data["status"] in ("done", "failed"):
            return f"{data['stage']} {data['status']} in {_seconds(data['seconds'])}"
        if event.kind in ("recorded", "notice"):
            return _beside(event)
        if event.kind == "started" and data["resumed"]:
            return f"deployment {event.deployment} resumed"
        return ""


def _beside(event: Event) -> str:
    """What happens without a deployment."""
    data = event.data
    if event.kind == "recorded":
        return f"recorded: {data['cause']}"
    status = data["status"]
    return "" if status == "sent" else f"notification {status}: {data['reason']}"


@dataclass
class _Row:
    stage: str = "queued"
    since: float = field(default_factory=time.monotonic)
    line: str = ""
    end: str = ""


class _Live:
    """A table that is redrawn: app, stage, seconds, and the last line of its log."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._lock = threading.Lock()

    @contextmanager
    def showing(self) -> Iterator[Listener]:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        with Live(console=console, get_renderable=self._draw, refresh_per_second=10):
            yield self.listen

    def listen(self, event: Event) -> None:
        if event.kind == "notice":
            return
        with self._lock:
            row = self._rows.setdefault(event.app, _Row())
            if event.kind == "progress":
                row.line = str(event.data["text"])
            elif event.kind == "stage" and event.data["status"] == "running":
                row.stage, row.since = str(event.data["stage"]), time.monotonic()
            elif event.kind == "recorded":
                row.end, row.line = "recorded", str(event.data["cause"])
            elif event.kind == "finished":
                row.end, row.line = str(event.data["outcome"]), str(event.data["reason"])
                row.since = time.monotonic() - float(str(event.data["seconds"]))

    def _draw(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column()  # the only one that may shrink: its text is cut, and never wrapped
        with self._lock:
            for app, row in sorted(self._rows.items()):
                style = {"succeeded": "green", "": "blue", "recorded": ""}.get(row.end, "red")
                seconds = "" if row.end else _seconds(time.monotonic() - row.since)
                line = Text(row.line, "dim", no_wrap=True, overflow="ellipsis")
                table.add_row(app, Text(row.end or row.stage, style), seconds, line)
        return table


def _seconds(value: object) -> str:
    return f"{float(str(value)):.2f}s"
