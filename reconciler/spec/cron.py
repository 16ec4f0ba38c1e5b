"""Cron expressions of five fields in a time zone: when they fire. Pure; moments are in UTC.

As cron does on Debian: of a time that the clocks skip, a fixed hour fires when the gap ends; of
one that comes twice, it fires the first time. `*` in minute or hour goes by what the clock shows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING

from reconciler.spec.messages import near_miss

if TYPE_CHECKING:
    from cronsim import CronSim

FIELDS = 5
EXPECTED = "expected a cron expression of five fields, such as '0 4 * * *'"
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_OVERLAP = timedelta(hours=3)
"""No clock is set back by more than this."""
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def check_cron(text: str) -> str:
    """The expression with single spaces. Raises ValueError(sentence, hint)."""
    from cronsim import CronSimError

    parts = text.split()
    if len(parts) != FIELDS:
        usual = _NICKNAMES.get(text.strip().lower())
        raise ValueError(EXPECTED, *([f"write '{usual}'"] if usual else []))
    cron = " ".join(parts)
    try:
        if next_fire(cron, "UTC", _SOME_DAY) is None:
            raise ValueError("this cron expression never comes true")
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        raise ValueError(EXPECTED, f"its {field} isn't valid") from None
    return cron


def check_zone(name: str) -> str:
    """The name of a time zone. Raises ValueError(sentence, hint)."""
    try:
        _zone(name)
    except (LookupError, ValueError, OSError):
        from zoneinfo import available_timezones

        hint = near_miss(name[:40], available_timezones())
        raise ValueError("expected a time zone such as Europe/Berlin or UTC", hint) from None
    return name


@lru_cache(maxsize=4096)
def next_fire(cron: str, zone: str, after: datetime) -> datetime | None:
    """The first moment later than `after`; None when there is none within 50 years."""
    for fire in _simulate(cron, after.astimezone(_zone(zone))):
        found = fire.astimezone(UTC)
        if found > after:  # an hour that comes twice leads back to its first time
            return found
    return None


@lru_cache(maxsize=4096)
def last_fire(cron: str, zone: str, until: datetime) -> datetime | None:
    """The last moment at or before `until`; None when there is none within 50 years."""
    start = until.replace(microsecond=0) + timedelta(seconds=1)
    if _simulate(cron, start.astimezone(_zone(zone))).fixup_tz is not None:
        start += _OVERLAP
    for fire in _simulate(cron, start.astimezone(_zone(zone)), reverse=True):
        found = fire.astimezone(UTC)
        if found <= until:
            return found
    return None


def _simulate(cron: str, moment: datetime, *, reverse: bool = False) -> CronSim:
    from cronsim import CronSim

    return CronSim(cron, moment, reverse)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
