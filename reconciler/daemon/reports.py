"""Says a thing once: when it begins, when it changes, and when it is over.

A daemon meets the same trouble at every tick, and a log that repeats it hides everything else.
"""

from __future__ import annotations

from typing import Protocol

from reconciler.daemon.logs import Level


class Log(Protocol):
    """Where it is said: `DaemonLog.log`."""

    def __call__(self, level: Level, event: str, text: str, **data: object) -> None: ...


class Reports:
    """What was said of each subject, until it is over. `about`: the name of a host."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._said: dict[tuple[str, str, str], str] = {}

    def say(
        self, event: str, text: str, *, app: str = "", level: Level = "warning", about: str = ""
    ) -> None:
        """Unless the same was said last."""
        if self._said.get((event, app, about)) != text:
            self._said[event, app, about] = text
            self._log(level, event, text, app=app, **_host(about))

    def begin(self, event: str, text: str, *, about: str = "") -> None:
        """Unless it has begun already, whatever was said then."""
        if (event, "", about) not in self._said:
            self.say(event, text, about=about)

    def over(self, event: str, text: str, *, app: str = "", about: str = "") -> None:
        """Say so, if anything was said."""
        if self._said.pop((event, app, about), None) is not None:
            self._log("info", event, text, app=app, **_host(about))

    def forget(self, event: str, *, about: str = "") -> None:
        """It matters no more."""
        self._said.pop((event, "", about), None)

    def tell(self, event: str, text: str, *, app: str = "") -> None:
        """Say it every time."""
        self._log("info", event, text, app=app)

    def keep_only(self, event: str, apps: set[str], text: str) -> None:
        """It is over for all other apps."""
        for said, app, _ in list(self._said):
            if said == event and app not in apps:
                self.over(event, text, app=app)


def _host(about: str) -> dict[str, object]:
    return {"host": about} if about else {}
