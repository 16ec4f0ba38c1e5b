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


@dataclass(frozen=True)
class Compared:
    """Medians in seconds of our side and of the same by hand."""

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


class Compare(Protocol):
    def __call__(
        self, name: str, sides: Sides, enough: Callable[[Compared], bool], times: int = 7
    ) -> Compared: ...


def seconds_of(work: Callable[[], object]) -> float:
    """How long it took; work that ends later than what is measured returns its own time."""
    started = time.perf_counter()
    own = work()
    return own if isinstance(own, float) else time.perf_counter() - started


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str]) -> Compare:
    """One warm-up of each side, then both in turn.

    Whatever else the machine does only adds to either side, so a round that isn't `enough` is
    repeated, four times at most.
    """

    def run(
        name: str, sides: Sides, enough: Callable[[Compared], bool], times: int = 7
    ) -> Compared:
        seconds_of(sides.by_hand), seconds_of(sides.ours)
        for _ in range(ROUNDS):
            found = measure(sides, times)
            with capsys.disabled():
                print(
                    f"\n{name}: {found.ours * 1000:.0f} ms, "
                    f"by hand {found.by_hand * 1000:.0f} ms, "
                    f"ratio {found.ratio:.2f}, difference {found.difference * 1000:+.0f} ms"
                )
            if enough(found):
                break
        return found

    return run


def measure(sides: Sides, times: int) -> Compared:
    pairs = [(seconds_of(sides.ours), seconds_of(sides.by_hand)) for _ in range(times)]
    return Compared(
        statistics.median(one for one, _ in pairs), statistics.median(two for _, two in pairs)
    )
