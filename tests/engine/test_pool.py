"""The workers of a daemon, on the fake runtime."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler import queue
from reconciler.engine.pool import Ended, Pool
from reconciler.engine.wiring import open_tools
from reconciler.host.job import Job
from reconciler.pipeline.tools import Tools
from reconciler.spec.models import App, Health, ImageSource
from reconciler.spec.plain import to_plain
from reconciler.state.records import Deployment, Request
from reconciler.state.store import Store
from reconciler.testing import FakeRuntime

Wait = Callable[..., Any]


def _request(app: str) -> Request:
    spec = to_plain(App(source=ImageSource(image="x"), health=Health(stable="1s")))
    return Request(app, "remove", "apply", "t", spec, "/")


@contextmanager
def _pool(directory: Path, runtime: FakeRuntime, ended: Ended) -> Iterator[tuple[Tools, Pool]]:
    with open_tools(directory, runtime=runtime) as tools:
        pool = Pool(tools, ended)
        pool.concurrency = 2
        pool.start()
        try:
            yield tools, pool
        finally:
            assert pool.hand_over(5.0)


def test_pool_runs_what_it_is_told_of_and_what_another_process_asks_for(
    tmp_path: Path, wait_until: Wait
) -> None:
    ends: list[tuple[str, Any]] = []
    with _pool(tmp_path, FakeRuntime(), lambda app, end: ends.append((app, end))) as (tools, pool):
        queue.put(tools.store, _request("shop/a"), tools.clock())
        pool.wake()
        wait_until(lambda: [app for app, _ in ends] == ["shop/a"])
        other = Store(tmp_path)
        queue.put(other, _request("shop/b"), tools.clock())
        other.close()
        wait_until(lambda: [app for app, _ in ends] == ["shop/a", "shop/b"])
        assert all(isinstance(end, Deployment) for _, end in ends)


class _Slow(FakeRuntime):
    """Takes a minute to remove what is there, or until it is stopped."""

    def remove(self, app: str, job: Job, containers: Collection[str] | None = None) -> int:
        job.cancel.wait(60.0)
        return super().remove(app, job, containers)


def test_pool_hands_over_what_it_can_not_end_in_time(tmp_path: Path, wait_until: Wait) -> None:
    with open_tools(tmp_path, runtime=_Slow()) as tools:
        pool = Pool(tools, lambda _app, _end: None)
        pool.start()
        row = queue.put(tools.store, _request("shop/a"), tools.clock())
        pool.wake()
        wait_until(lambda: (tools.store.find_deployment(row.id) or row).status == "running")
        assert pool.hand_over(0.5)
        back = tools.store.find_deployment(row.id)
        assert back is not None
        assert (back.status, back.owner) == ("queued", "")
        claim = queue.claim(tools.store, "next", tools.clock())
        assert claim is not None
        assert claim.deployment.attempt == 2


def test_queue_hand_over_gives_way_to_a_newer_request(tmp_path: Path) -> None:
    with open_tools(tmp_path) as tools:
        store = tools.store
        first = queue.put(store, _request("shop/a"), 1.0)
        claim = queue.claim(store, "one", 2.0)
        assert claim is not None
        second = queue.put(store, _request("shop/a"), 3.0)
        queue.hand_over(store, claim, 4.0)
        row = store.find_deployment(first.id)
        assert row is not None
        assert (row.status, row.outcome) == ("done", "superseded")
        again = queue.claim(store, "two", 5.0)
        assert again is not None
        assert again.id == second.id
