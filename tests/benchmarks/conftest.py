"""Both sides of each comparison are measured in turn, in one run, and the ratio is printed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import pytest

from tests.e2e.conftest import shop

__all__ = ["shop"]

ROUNDS = 5
"""How often something is measured until it is good enough: others on the machine only add to it."""


@dataclass(frozen=True)
class Compared:
    """Seconds of our side and of the same by hand."""

    ours: float
    by_hand: float

    @property
    def ratio(self) -> float:
        return self.ours / self.by_hand

    @property
    def difference(self) -> float:
        return self.ours - self.by_hand


@dataclass(frozen=True)
class Sides:
    """The same work twice."""

    ours: Callable[[], object]
    by_hand: Callable[[], object]


Enough = Callable[[Compared], bool]
Tell = Callable[[str], None]


class Compare(Protocol):
    def __call__(self, name: str, sides: Sides, enough: Enough, times: int = 7) -> None: ...


def seconds_of(work: Callable[[], object]) -> float:
    """How long it took; work that ends later than what is measured returns its own time."""
    started = time.perf_counter()
    own = work()
    return own if isinstance(own, float) else time.perf_counter() - started


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Tell:
    """Prints what was measured, also of a test that passes."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def run(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}")

    return run


@pytest.fixture(scope="session")
def compare(tell: Tell) -> Compare:
    """One warm-up of each side, then both in turn, until most of `times` pairs are `enough`.

    That is the median of `times` pairs; it is known as soon as more than half of them are on one
    side of the limit, and what would come then isn't measured. A round in which they are on the
    wrong side is repeated, four times at most. `times` is odd.
    """

    def run(name: str, sides: Sides, enough: Enough, times: int = 7) -> None:
        seconds_of(sides.by_hand), seconds_of(sides.ours)
        for _ in range(ROUNDS):
            pairs = measure(sides, enough, times)
            good = sum(map(enough, pairs))
            found = Compared(
                statistics.median(pair.ours for pair in pairs),
                statistics.median(pair.by_hand for pair in pairs),
            )
            tell(
                f"{name}: {found.ours * 1000:.0f} ms, by hand {found.by_hand * 1000:.0f} ms, "
                f"ratio {found.ratio:.2f}, difference {found.difference * 1000:+.0f} ms; "
                f"{good} of {len(pairs)} within the limit"
            )
            if good > times // 2:
                return
        raise AssertionError(f"{name}: {found}")

    return run


def measure(sides: Sides, enough: Enough, times: int) -> list[Compared]:
    """Pairs, until most of `times` are known to be enough, or not to be."""
    pairs: list[Compared] = []
    while max(good := sum(map(enough, pairs)), len(pairs) - good) <= times // 2:
        pairs.append(Compared(seconds_of(sides.ours), seconds_of(sides.by_hand)))
    return pairs
