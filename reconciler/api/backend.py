"""What the API needs of the process that it runs in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from reconciler.engine.configuration import Configuration
from reconciler.pipeline.tools import Tools
from reconciler.spec.loaded import LoadedSpec


class Backend(Protocol):
    """The daemon, as the API sees it. Safe to use from several threads."""

    @property
    def tools(self) -> Tools:
        """State, engine, runtime, redactor, clock."""

    @property
    def configuration(self) -> Configuration:
        """Where the spec is kept."""

    def spec(self) -> LoadedSpec:
        """The spec in force: the last valid one. Raises `UsageError` before there is any."""

    def look(self, cause: str, apps: Collection[str] = ()) -> None:
        """Ask for a pass that asks the sources of these apps (`<project>/<name>`; none: all) and
        the configuration anew. Returns at once; `cause` is for people.
        """

    def wake(self) -> None:
        """Something was put into the queue: let the workers see it at once."""
