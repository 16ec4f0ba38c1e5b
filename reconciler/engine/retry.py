"""From an error to the next step. Pure: chance is an argument."""

from __future__ import annotations

from reconciler.errors import Interrupted, Locked, Transient

FIRST_SECONDS = 5.0
LONGEST_SECONDS = 600.0


def next_delay(error: BaseException, attempts: int, chance: float) -> float | None:
    """Seconds until the same may be tried again; None when that can't help.

    `attempts`: failed tries so far, this one included. `chance`: from 0 to 1, spreads the tries
    of many apps. Doubles from 5 seconds up to 10 minutes, half of it fixed and half by chance.
    """
    if not isinstance(error, Transient | Interrupted | Locked):
        return None
    longest = min(FIRST_SECONDS * 2.0 ** min(attempts - 1, 20), LONGEST_SECONDS)
    delay = longest * (0.5 + 0.5 * chance)
    asked = error.retry_after if isinstance(error, Transient) else None
    return max(delay, asked or 0.0)
