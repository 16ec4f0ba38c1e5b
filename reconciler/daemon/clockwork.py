"""What happens by the clock, on APScheduler: ticks, timers of the plan, and the sweeping."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from reconciler.daemon.loop import Wish

SWEEP_HOURS = 6
NEXT = "next"


class Clockwork:
    """Asks for a pass every `interval` seconds, give or take a tenth, and when the plan says."""

    def __init__(self, ask: Callable[[Wish], None], interval: float) -> None:
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._ask = ask
        self._interval = interval
        self._next: datetime | None = None
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self, sweep: Callable[[], None]) -> None:
        """Begin. `sweep` runs a few times a day."""
        add = self._scheduler.add_job
        tick = Wish("interval", look="due")
        add(self._ask, "interval", (tick,), seconds=self._interval, jitter=self._interval / 10)
        add(sweep, "interval", hours=SWEEP_HOURS, jitter=1800)
        self._scheduler.start()

    def every(self, seconds: float, work: Callable[[], None]) -> None:
        """Also do that, as often."""
        self._scheduler.add_job(work, "interval", seconds=seconds)

    def ring_at(self, moment: datetime | None) -> None:
        """Ask for a pass then; replaces the moment that was set before."""
        if moment == self._next:
            return
        self._next = moment
        if moment is None:
            if self._scheduler.get_job(NEXT):
                self._scheduler.remove_job(NEXT)
            return
        soon = datetime.now(UTC) + timedelta(seconds=0.5)
        self._scheduler.add_job(
            self._ring, "date", run_date=max(moment, soon), id=NEXT, replace_existing=True
        )

    def _ring(self) -> None:
        self._next = None
        self._ask(Wish("a time has come", look="due"))

    def end(self) -> None:
        """Nothing happens by the clock any more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
