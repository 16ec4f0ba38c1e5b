"""A step of a build that goes on when the test says so."""

import secrets
from collections.abc import Callable

from tests.support import system


class Gate:
    """`step` is a line of a Dockerfile, `command` what it runs: it ends well once it is let go.

    It sleeps for hours, and `ps` can tell it from all others.
    """

    def __init__(self) -> None:
        self._sleep = f"sleep {100_000 + secrets.randbelow(10**8)}"
        self.command = f"{self._sleep} || true"
        self.step = f"RUN {self.command}\n"

    def open(self) -> None:
        """Let the build that is at this step, or will be within seconds, go on."""
        system.wait_until(self._release, 20, f"a build at {self.step}")

    def open_until(self, ended: Callable[[], object]) -> None:
        """Let every build that comes to this step go on, until something has happened."""
        system.wait_until(lambda: (self._release(), ended())[1], 30)

    def _release(self) -> list[int]:
        asleep = [pid for pid in system.pids() if system.command_line(pid).strip() == self._sleep]
        system.kill_all(asleep)
        return asleep
