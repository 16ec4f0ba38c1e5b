"""When cron expressions fire, across both changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.spec.cron import last_fire, next_fire
from reconciler.spec.models import Schedule, Window
from reconciler.spec.plain import from_plain, to_plain
from tests.spec.support import load_app

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# In Berlin the clocks skip 2:00-3:00 on 2026-03-29 (01:00 UTC), and show 2:00-3:00 twice on
# 2026-10-25 (00:00-01:00 and 01:00-02:00 UTC).
@pytest.mark.parametrize(
    ("cron", "zone", "after", "fire"),
    [
        ("0 4 * * *", "UTC", "2026-01-31T12:00", "2026-02-01T04:00"),
        ("0 4 * * *", "UTC", "2026-01-31T04:00", "2026-02-01T04:00"),
        ("0 9 * * mon-fri", BERLIN, "2026-01-30T12:00", "2026-02-02T08:00"),
        ("0 9 * * mon-fri", BERLIN, "2026-07-31T12:00", "2026-08-03T07:00"),
        ("0 0 1 jan,jul *", BERLIN, "2026-01-31T12:00", "2026-06-30T22:00"),
        ("30 2 * * *", BERLIN, "2026-03-28T12:00", "2026-03-29T01:00"),  # when the gap ends
        ("30 2 * * *", BERLIN, "2026-03-29T01:00", "2026-03-30T00:30"),
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", "2026-10-25T00:30"),  # the first 2:30
        ("30 2 * * *", BERLIN, "2026-10-25T00:30", "2026-10-26T01:30"),
        ("30 2 * * *", BERLIN, "2026-10-25T01:10", "2026-10-26T01:30"),  # not the second one
        ("30 * * * *", BERLIN, "2026-10-25T00:30", "2026-10-25T01:30"),  # every hour is every hour
        ("30 * * * *", BERLIN, "2026-03-29T00:30", "2026-03-29T01:30"),
    ],
)
def test_next_fire(cron: str, zone: str, after: str, fire: str) -> None:
    assert next_fire(cron, zone, at(after)) == at(fire)


@pytest.mark.parametrize(
    ("cron", "zone", "until", "fire"),
    [
        ("0 4 * * *", "UTC", "2026-01-31T04:00", "2026-01-31T04:00"),
        ("0 4 * * *", "UTC", "2026-01-31T03:59:59.500000", "2026-01-30T04:00"),
        ("0 9 * * mon-fri", BERLIN, "2026-02-02T07:59", "2026-01-30T08:00"),
        ("30 2 * * *", BERLIN, "2026-03-29T00:59", "2026-03-28T01:30"),
        ("30 2 * * *", BERLIN, "2026-03-29T01:00", "2026-03-29T01:00"),
        ("30 2 * * *", BERLIN, "2026-10-25T00:29", "2026-10-24T00:30"),
        ("30 2 * * *", BERLIN, "2026-10-25T01:10", "2026-10-25T00:30"),  # 2:10 for the second time
        ("30 2 * * *", BERLIN, "2026-10-25T02:10", "2026-10-25T00:30"),
        ("*/15 * * * *", BERLIN, "2026-10-25T01:14", "2026-10-25T01:00"),
    ],
)
def test_last_fire(cron: str, zone: str, until: str, fire: str) -> None:
    assert last_fire(cron, zone, at(until)) == at(fire)


moments = st.timedeltas(timedelta(0), timedelta(days=1100)).map(
    lambda since: datetime(2024, 1, 1, tzinfo=UTC) + since
)
crons = st.sampled_from(
    ["0 4 * * *", "30 2 * * *", "15,45 1-3 * * sun", "*/20 * * * *", "0 0 1 * *", "59 23 29 2 *"]
)
zones = st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])


@given(crons, zones, moments)
def test_fires_before_and_after_a_moment_are_neighbours(
    cron: str, zone: str, moment: datetime
) -> None:
    last, following = last_fire(cron, zone, moment), next_fire(cron, zone, moment)
    assert last is not None
    assert following is not None
    assert last <= moment < following
    assert next_fire(cron, zone, last) == following
    assert last_fire(cron, zone, following - timedelta(microseconds=1)) == last


def test_nothing_fires_any_more() -> None:
    assert next_fire("0 0 */20 * mon#5", "UTC", at("2026-01-01T00:00")) is None
    assert last_fire("0 0 */20 * mon#5", "UTC", at("2026-01-01T00:00")) is None


def test_schedule_and_windows_are_kept_as_plain_data() -> None:
    app = load_app(
        "schedule: {cron: 0  4 * * mon, tz: Europe/Berlin}",
        "windows: [{allow: 0 9 * * mon-fri, for: 8h}]",
    )
    assert app.schedule == Schedule(cron="0 4 * * mon", tz=BERLIN)
    assert app.windows == (Window(allow="0 9 * * mon-fri", lasts="8h"),)
    assert from_plain(type(app), to_plain(app)) == app
    assert load_app("schedule: 0 4 * * *").schedule == "0 4 * * *"
