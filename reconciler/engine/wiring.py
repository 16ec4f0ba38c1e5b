"""Makes the parts once for a process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.engine.retry import next_delay
from reconciler.events import Listener, ignore
from reconciler.host.engine import Engine
from reconciler.host.secrets import Redactor
from reconciler.pipeline.tools import Tools
from reconciler.runtime import make_fleet, make_proxy
from reconciler.runtime.base import Runtime
from reconciler.runtime.fleet import fleet_of
from reconciler.state.store import Store


def retry_delay(error: BaseException, attempts: int) -> float | None:
    """`next_delay` with real chance."""
    import random

    return next_delay(error, attempts, random.random())  # noqa: S311 - spreads tries


@contextmanager
def open_tools(
    state_dir: Path,
    listen: Listener = ignore,
    *,
    runtime: Runtime | None = None,
    redactor: Redactor | None = None,
) -> Iterator[Tools]:
    """State, engines and places, closed at the end of the block.

    `runtime`: instead of the real ones, whatever the host.
    """
    engine = Engine()
    store = Store(state_dir)
    redactor = redactor or Redactor()
    fleet = make_fleet(engine, state_dir, redactor)
    if runtime is not None:
        fleet = fleet_of(runtime, fleet.hosts, state_dir)
    try:
        yield Tools(
            store=store,
            engine=engine,
            runtime=fleet,
            redactor=redactor,
            clock=time.time,
            retry_delay=retry_delay,
            listen=listen,
            proxy=make_proxy(engine, state_dir) if runtime is None else None,
        )
    finally:
        store.close()
        fleet.hosts.close()
        engine.close()
