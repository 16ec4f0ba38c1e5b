"""Shares of traffic as weights, and the proxy's counters as a rate of errors."""

from __future__ import annotations

import pytest

from reconciler.pipeline.switch import Tally
from reconciler.pipeline.traffic import weights
from reconciler.runtime.proxy import Counters, Server, ServerState


@pytest.mark.parametrize(
    ("share", "new", "old"),
    [(0.1, 1, 1), (0.5, 1, 1), (0.5, 3, 1), (0.01, 2, 5), (0.25, 1, 3), (0.999, 1, 1)],
)
def test_weights_give_the_share(share: float, new: int, old: int) -> None:
    each_new, each_old = weights(share, new, old)
    assert 1 <= max(each_new, each_old) <= 256
    assert min(each_new, each_old) >= 1
    total = each_new * new + each_old * old
    assert each_new * new / total == pytest.approx(share, abs=0.01)


def test_weights_of_nothing_and_all() -> None:
    assert weights(0.0, 1, 2) == (0, 256)
    assert weights(1.0, 2, 1) == (256, 0)


def state(name: str, requests: int, errors: int = 0, refused: int = 0) -> ServerState:
    return ServerState(Server(name, "10.0.0.1"), False, 0, Counters(requests, errors, refused))


def test_tally_counts_the_new_ones_alone() -> None:
    tally = Tally(["new"])
    tally.add([state("new", 10, 1), state("old", 90, 80)])
    tally.add([state("new", 30, 3), state("old", 190, 180)])
    assert (tally.requests, tally.errors, tally.rate) == (30, 3, 0.1)
    assert tally.said == "3 of 30 requests failed (10.0%)"


def test_tally_goes_on_when_counters_begin_again() -> None:
    tally = Tally(["new"])
    tally.add([state("new", 100, 2)])
    tally.add([state("new", 5, 1)])
    assert (tally.requests, tally.errors) == (105, 3)


def test_tally_counts_refused_connections() -> None:
    tally = Tally(["new"])
    assert tally.rate == 0
    tally.add([state("new", 0, 0, 4)])
    assert (tally.requests, tally.errors) == (4, 4)
