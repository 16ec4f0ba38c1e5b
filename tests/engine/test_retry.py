"""The schedule of tries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.retry import FIRST_SECONDS, LONGEST_SECONDS, next_delay
from reconciler.errors import BuildError, Cancelled, GitUnavailable, Locked, RegistryUnavailable


@pytest.mark.parametrize("error", [BuildError("broke"), Cancelled("by hand"), ValueError("bug")])
def test_next_delay_lasting_error_is_never_tried_again(error: Exception) -> None:
    assert next_delay(error, 1, 0.5) is None


def test_next_delay_a_lock_that_somebody_else_holds() -> None:
    assert next_delay(Locked("the mirror is locked"), 1, 1.0) == FIRST_SECONDS


def test_next_delay_doubles() -> None:
    delays = [next_delay(GitUnavailable("away"), attempts, 1.0) for attempts in range(1, 5)]
    assert delays == [5.0, 10.0, 20.0, 40.0]


def test_next_delay_asked_for_by_the_other_side() -> None:
    error = RegistryUnavailable("too many requests")
    error.retry_after = 90.0
    assert next_delay(error, 1, 0.0) == 90.0


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_next_delay_stays_within_limits(attempts: int, chance: float) -> None:
    delay = next_delay(GitUnavailable("away"), attempts, chance)
    assert delay is not None
    assert FIRST_SECONDS / 2 <= delay <= LONGEST_SECONDS
