"""The daemon's own log: one line for each thing that happens, text or JSON.

    text   2026-01-31T09:30:00.123Z info  shop/api  20260131-093000-ab12 stage build done in 1.20s
    json   {"time": …, "level": "info", "event": "stage", "app": …, "deployment": …, "text": …, …}

A text line carries no time where the journal adds it. `warning` is for what a person may want to
look at, `error` for what has failed; progress lines of a deployment are in its own log, and here
at level `debug`. Everything passes the redactor.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import Literal, TextIO

from reconciler.engine.documents import iso
from reconciler.events import Event
from reconciler.host.secrets import Redactor

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]

_LEVELS: Mapping[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_FIELDS = "reconciler_fields"


class DaemonLog:
    """Writes to `stream`; safe to use from several threads. `close` lets go of the stream."""

    def __init__(self, format: Format, stream: TextIO, redactor: Redactor) -> None:  # noqa: A002
        self.redactor = redactor
        self._logger = logging.Logger("reconciler.daemon", logging.INFO)
        self._handler = _Handler(stream)
        self._handler.setFormatter(_Json() if format == "json" else _Text(in_journal(stream)))
        self._logger.addHandler(self._handler)

    def log(self, level: Level, event: str, text: str, **data: object) -> None:
        """One thing that happened to the daemon; `app` and `deployment` are among `data`."""
        fields = {"event": event, **{name: self._clean(value) for name, value in data.items()}}
        clean = self.redactor.hide(text)
        self._logger.log(_LEVELS[level], "%s", clean, extra={_FIELDS: fields})

    def listen(self, event: Event) -> None:
        """What happened to an app."""
        level, text = describe(event)
        ids = {"app": event.app, "deployment": event.deployment}
        data = {name: value for name, value in event.data.items() if name not in ("text", *ids)}
        self.log(level, event.kind, text, **ids, **_renamed(data))

    def show_debug(self) -> None:
        """Also write what is at level `debug`."""
        self._logger.setLevel(logging.DEBUG)

    def close(self) -> None:
        """Write nothing any more."""
        self._logger.removeHandler(self._handler)
        self._handler.close()

    def _clean(self, value: object) -> object:
        """Strings without secrets, wherever they are; numbers as they are."""
        if isinstance(value, Mapping):
            return {str(name): self._clean(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(inner) for inner in value]
        if value is None or isinstance(value, int | float):
            return value
        return self.redactor.hide(str(value))


def make_listener(format: Format, stream: TextIO, redactor: Redactor) -> DaemonLog:  # noqa: A002
    """A log whose `listen` takes events and whose `log` takes what the daemon says itself."""
    return DaemonLog(format, stream, redactor)


def in_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written there goes to the journal, which adds the time (systemd.exec(5))."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


def describe(event: Event) -> tuple[Level, str]:
    """Level and text of an event. Pure."""
    data = event.data
    if event.kind == "stage":
        return _describe_stage(data)
    if event.kind == "finished":
        return _describe_end(data)
    if event.kind == "notice":
        return _describe_notice(data)
    if event.kind in ("accepted", "refused"):
        return _describe_configuration(event.kind, data)
    if event.kind == "progress":
        return "debug", f"{data.get('stage', '')} | {data.get('text', '')}"
    return "info", _describe(event.kind, data)


def _describe(kind: str, data: Mapping[str, object]) -> str:
    if kind == "queued":
        return f"queued {data.get('kind', '')}: {data.get('cause', '')}"
    if kind == "started":
        again = " again" if data.get("resumed") else ""
        return f"started{again}, attempt {data.get('attempt', 1)}"
    if kind == "recorded":
        return f"recorded: {data.get('cause', '')}"
    rest = ", ".join(f"{name} {value}" for name, value in data.items())
    return f"{kind}: {rest}" if rest else kind


def _describe_stage(data: Mapping[str, object]) -> tuple[Level, str]:
    status = data.get("status", "")
    level: Level = "warning" if status == "failed" else "info"
    seconds = data.get("seconds")
    timed = isinstance(seconds, int | float) and status in ("done", "failed")
    took = f" in {seconds:.2f}s" if timed else ""
    return level, f"{data.get('stage', '')} {status}{took}"


def _describe_configuration(kind: str, data: Mapping[str, object]) -> tuple[Level, str]:
    place, revision = data.get("place", ""), str(data.get("revision", ""))[:7]
    if kind == "refused":
        stays = "the last good spec stays in force" if data.get("kept") else "no spec is in force"
        return "error", f"{place}: {stays}: {data.get('problem', '')}"
    again = ", and what was wrong is over" if data.get("recovered") else ""
    return "info", f"{place}: {f'commit {revision}' if revision else 'the spec'} is in force{again}"


def _describe_notice(data: Mapping[str, object]) -> tuple[Level, str]:
    status, reason = data.get("status"), data.get("reason")
    text = f"notification {status}: {data.get('title', '')}"
    return "info" if status == "sent" else "warning", f"{text}: {reason}" if reason else text


def _describe_end(data: Mapping[str, object]) -> tuple[Level, str]:
    outcome, reason = str(data.get("outcome", "")), str(data.get("reason", ""))
    seconds = data.get("seconds")
    took = f" in {seconds:.1f}s" if isinstance(seconds, int | float) else ""
    failed = outcome in ("failed", "rolled_back", "killed", "interrupted")
    return ("error" if failed else "info"), f"{outcome}{took}" + (f": {reason}" if reason else "")


def _renamed(data: Mapping[str, object]) -> dict[str, object]:
    """Names that a call to `log` has for itself."""
    return {f"{n}_" if n in ("level", "event", "self") else n: value for n, value in data.items()}


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A full disk or a closed pipe loses lines, never the daemon."""


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = getattr(record, _FIELDS)
        line = {
            "time": iso(record.created),
            "level": record.levelname.lower(),
            "event": fields.get("event", ""),
            "app": fields.get("app", ""),
            "deployment": fields.get("deployment", ""),
            "text": record.getMessage(),
            **fields,
        }
        return json.dumps(line, ensure_ascii=False)


class _Text(logging.Formatter):
    def __init__(self, in_journal: bool) -> None:
        super().__init__()
        self._in_journal = in_journal

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = getattr(record, _FIELDS)
        prefix = _PRIORITIES[record.levelno] if self._in_journal else f"{iso(record.created)} "
        ids = (str(fields.get(name, "")) for name in ("app", "deployment"))
        words = [f"{record.levelname.lower():7}", *(word for word in ids if word)]
        text = "".join(c if c.isprintable() else " " for c in record.getMessage())
        return f"{prefix}{' '.join(words)} {text}"


_PRIORITIES = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
}
"""How the journal is told a line's level (sd-daemon(3))."""
