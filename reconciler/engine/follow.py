"""Follow a deployment that any process runs, through its log and its row."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from reconciler.state.records import Deployment
from reconciler.state.store import Store

POLL_SECONDS = 0.1


def read_log(path: Path) -> str:
    """The log so far; empty when there is none. Bytes that aren't UTF-8 survive a round trip."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


MOST_LOG_BYTES = 4 << 20


def read_end(path: Path, lines: int | None = None) -> str:
    """The last `lines` of a log, at most 4 MiB; empty when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST_LOG_BYTES))
            text = file.read(MOST_LOG_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return text if lines is None else "".join(text.splitlines(keepends=True)[-lines:])


def follow_log(store: Store, row: Deployment, offset: int = 0) -> Iterator[str]:
    """Pieces of the log behind `offset` bytes as they come, until the deployment has ended.

    Yields an empty text when nothing came, so that the caller can look after other things.
    """
    path = store.log_path(row.app, row.id)
    while True:
        current = store.find_deployment(row.id)
        added = _read_from(path, offset)
        offset += len(added)
        yield added.decode("utf-8", "replace")
        if current is None or current.ended:
            return
        time.sleep(POLL_SECONDS)


def _read_from(path: Path, offset: int) -> bytes:
    """Whole lines only, so that no character is cut in two."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]
