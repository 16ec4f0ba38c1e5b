"""Everything that can go wrong, in one tree. The type is the schedule.

    ReconcilerError
    ├── SpecError                 the spec is invalid; waits for a new spec
    ├── Stalled                   this revision or this spec can't work; waits for a new one
    │   ├── SourceError           branch, tag, subdir or image that isn't there
    │   ├── BuildError            the build broke
    │   ├── PushError             the registry refused the image
    │   ├── DeployError           the engine refused the container
    │   ├── HealthError           the new container never became healthy
    │   ├── HookError             a hook failed, or did not end in time
    │   └── SecretError           a secret that is referred to isn't there
    ├── Transient                 passes by itself; backs off and tries again
    │   ├── EngineUnavailable     the Docker engine doesn't answer
    │   ├── GitUnavailable        the git host doesn't answer or refuses the credentials
    │   ├── RegistryUnavailable   the registry doesn't answer or refuses the credentials
    │   └── DiskFull              no room left on a disk
    ├── Stopped                   somebody or something outside ended it
    │   ├── Cancelled             `cancel`
    │   ├── Killed                `kill`
    │   ├── TimedOut              a stage took longer than its limit
    │   ├── Interrupted           its process was ended, or died again and again
    │   ├── HandedOver            its process ends, and the next one goes on with it
    │   └── LeaseLost             another process took the deployment over
    ├── Locked                    somebody else holds the lock; try again
    └── UsageError                the command or call itself makes no sense
        └── ReadOnly              the spec may not be edited from here

Every error says what happened (`what`), to which app (`app`), and what to do now (`todo`).
Anything that is not in this tree is a bug: it stalls loudly.
"""

from __future__ import annotations

from reconciler.values import frozen


class ReconcilerError(Exception):
    """Base of the tree.

    `what` is one sentence without a full stop, `todo` one imperative sentence, `app` is
    `<project>/<name>` when one app is concerned, `detail` further lines (a tool's own words).
    `revision` is the commit of the configuration repository that it is about, where one is.
    """

    revision = ""

    def __init__(self, what: str, *, todo: str = "", app: str = "", detail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.app = app
        self.detail = detail

    def __str__(self) -> str:
        head = f"{self.app}: {self.what}" if self.app else self.what
        lines = [head, *(f"  {line}" for line in self.detail.splitlines())]
        if self.todo:
            lines.append(f"  → {self.todo}")
        return "\n".join(lines)


@frozen
class Problem:
    """One mistake in the spec. `line` and `column` count from 1, 0 where there is none."""

    file: str
    line: int
    column: int
    field: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        field = f" {self.field}:" if self.field else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}:{field} {self.message}{hint}"


class SpecError(ReconcilerError):
    """The spec is invalid. `problems` has all that was found, in the order of the file."""

    def __init__(self, problems: list[Problem], revision: str = "") -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            f"the spec has {count}" + (f" at commit {revision[:12]}" if revision else ""),
            detail="\n".join(str(problem) for problem in problems),
            todo="Correct the file; nothing was changed and everything keeps running.",
        )
        self.revision = revision


class Stalled(ReconcilerError):
    """Waits for a new revision or a new spec; trying the same again can't help."""


class SourceError(Stalled):
    """The source has no such branch, tag, commit, directory or image."""


class BuildError(Stalled):
    """The build broke, or can't be done on this host."""


class PushError(Stalled):
    """The registry refused the image."""


class DeployError(Stalled):
    """The engine refused to create or start the container."""


class HealthError(Stalled):
    """The new container exited, restarted, or never answered its health check."""


class HookError(Stalled):
    """A command around the deployment exited with something else than 0, or hung."""


class SecretError(Stalled):
    """A secret that the spec refers to isn't there or can't be read."""


class Transient(ReconcilerError):
    """Passes by itself. `retry_after`: seconds that the other side asked for, if it did."""

    retry_after: float | None = None


class EngineUnavailable(Transient):
    """The Docker engine doesn't answer."""


class GitUnavailable(Transient):
    """The git host doesn't answer, or refuses the credentials."""


class RegistryUnavailable(Transient):
    """The registry doesn't answer, or refuses the credentials."""


class DiskFull(Transient):
    """No room left on a disk that the work needs."""


class Stopped(ReconcilerError):
    """Ended from outside, not by a fault of its own."""


class Cancelled(Stopped):
    """`cancel` asked for the end."""


class Killed(Stopped):
    """`kill` asked for the end, by force."""


class TimedOut(Stopped):
    """A stage took longer than its limit."""


class Interrupted(Stopped):
    """The process that runs it is ended, or died so often that it isn't resumed any more.

    The next pass tries again, with a deployment of its own.
    """


class HandedOver(Stopped):
    """Its process is ended, and whoever comes next goes on with it."""


class LeaseLost(Stopped):
    """Another process owns the deployment now; this one may not write any more."""


class Locked(ReconcilerError):
    """Somebody else holds the lock; try again."""


class UsageError(ReconcilerError):
    """The command or call itself makes no sense."""


class ReadOnly(UsageError):
    """The spec may not be edited from here: `what` has the reason."""


EXIT_CODES: tuple[tuple[type[ReconcilerError], int], ...] = (
    (SpecError, 78),
    (UsageError, 64),
    (Locked, 75),
    (Transient, 69),
    (ReconcilerError, 1),
)
"""The command line's exit code for each branch of the tree; the first that fits counts."""


def exit_code(error: ReconcilerError) -> int:
    """The exit code of a command that ended with this error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))
