"""From what a build said at its end to an error of our tree. Pure; both backends use it."""

from __future__ import annotations

from reconciler.errors import BuildError, ReconcilerError
from reconciler.host.refusals import disk_full, is_disk_full, unavailable
from reconciler.values import frozen

LINES_KEPT = 15
_STEP_WIDTH = 160
TODO_FIX = "Correct the Dockerfile or what it builds; this deployment's log has the whole output."
TODO_BASE = "Correct its name; a private one needs `docker login` on this host."
TODO_SYNTAX = (
    "Remove the `# syntax=` line, which makes BuildKit fetch that image, or make its registry "
    "reachable."
)


@frozen
class Failure:
    """How a build ended. `step` as the builder names it, e.g. `[2/3] RUN make`.

    `output` has the step's last lines, `image` the base or frontend image that it wanted to
    fetch when it failed.
    """

    message: str
    step: str = ""
    exit_code: int | None = None
    output: tuple[str, ...] = ()
    image: str = ""
    is_frontend: bool = False


def build_error(failure: Failure, app: str) -> ReconcilerError:
    """`BuildError`, `RegistryUnavailable` or `DiskFull`."""
    detail = "\n".join(failure.output)
    if is_disk_full(failure.message) or is_disk_full(detail):
        return disk_full(failure.message, app)
    if failure.image:
        return _image_error(failure, app)
    todo = TODO_FIX
    if failure.exit_code == 137:
        todo = f"It was killed, as a step is that needs more memory than there is. {TODO_FIX}"
    reason = failure.message
    if failure.exit_code is not None:
        reason = f"exit code {failure.exit_code}"
    where = f"broke at {_shorten(failure.step)}" if failure.step else "can't be done"
    return BuildError(f"the build {where}: {reason}", app=app, detail=detail, todo=todo)


def _shorten(step: str) -> str:
    """A RUN may have a page of shell in it."""
    return step if len(step) <= _STEP_WIDTH else f"{step[: _STEP_WIDTH - 1]}…"


def _image_error(failure: Failure, app: str) -> ReconcilerError:
    kind = "frontend" if failure.is_frontend else "base"
    what = f"the {kind} image {failure.image} can't be fetched"
    passing = unavailable(what, failure.message, app)
    todo = TODO_SYNTAX if failure.is_frontend else TODO_BASE
    if passing:
        passing.todo = TODO_SYNTAX if failure.is_frontend else passing.todo
        return passing
    return BuildError(f"{what}: {failure.message}", app=app, todo=todo)
