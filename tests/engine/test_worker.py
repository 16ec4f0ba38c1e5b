"""The thread that keeps leases and hears stops."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler import queue
from reconciler.engine.wiring import open_tools
from reconciler.engine.worker import Leases
from reconciler.host.owner import current_owner
from reconciler.state.records import Request

SPEC = {"source": {"path": "./api"}}


def test_leases_hear_a_cancel_after_the_state_was_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    monkeypatch.setattr("reconciler.state.store.BUSY_SECONDS", 0.01)
    monkeypatch.setattr(queue, "HEARTBEAT_SECONDS", 0.0)
    with open_tools(tmp_path / "state") as tools:
        queue.put(tools.store, Request("shop/api", "deploy", "apply", "t", SPEC, "/"), 1.0)
        claim = queue.claim(tools.store, current_owner(), 2.0)
        assert claim is not None
        leases = Leases(tools)
        other = sqlite3.connect(tools.store.path)
        other.execute("BEGIN IMMEDIATE")
        cancel = leases.add(claim)
        thread = leases.start()
        thread.join(0.5)  # some heartbeats that fail
        other.rollback()
        other.close()
        queue.request_stop(tools.store, "shop/api", "cancel")
        try:
            wait_until(lambda: cancel.reason is not None, timeout=5)
        finally:
            leases.end()
            thread.join()
