"""How soon a daemon acts on an edit of the spec."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.state.store import Store
from tests.benchmarks.conftest import ROUNDS, Tell
from tests.e2e.conftest import Shop

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(120)]


def test_edit_to_the_start_of_the_build(
    shop: Shop, wait_until: Callable[..., Any], tell: Tell
) -> None:
    """Under 300 ms. Repeated, like all comparisons here, as others only add to it."""
    store = Store(shop.state_dir)

    def built() -> float | None:
        """When the newest deployment began to build; None while it isn't done."""
        (row,) = store.list_deployments(limit=1) or (None,)
        if row is None or row.outcome != "succeeded":
            return None
        return next(one.started_at for one in store.list_stages(row.id) if one.name == "build")

    def edit(number: int) -> float:
        before = len(store.list_deployments(limit=1000))
        edited = time.time()
        shop.app(build={"args": {"NUMBER": number}})
        wait_until(lambda: len(store.list_deployments(limit=1000)) > before, timeout=20)
        began: float = wait_until(built, timeout=20)
        return began - edited

    shop.app()
    with shop.daemon():
        wait_until(built, timeout=30)
        edit(-1)  # from then on the file is watched
        for around in range(ROUNDS):
            found = statistics.median(edit(around * 3 + number) for number in range(3))
            tell(f"edit to the start of the build: {found * 1000:.0f} ms")
            if found < 0.300:
                break
    store.close()
    assert found < 0.300
