"""Long calls of the engine's API that tell their progress: build, push and pull.

All three end the same way when they are cancelled: the socket is shut down from the cancelling
thread, the reader here meets the end of the stream, and the engine gives up what it did for a
client that is gone (a build's step and its container end within a quarter of a second).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

from reconciler.errors import EngineUnavailable
from reconciler.host.engine import Engine, Request, read_message
from reconciler.host.job import Job
from reconciler.values import frozen

Message = dict[str, Any]
T = TypeVar("T")


class Refusal(Exception):  # noqa: N818 - it is the engine's answer, and callers turn it into errors
    """The engine said no, before or in the middle of its answer.

    `text` is in its own words. `status` is the HTTP status, `code` an error's own code (a build
    step's exit code); 0 where there is none.
    """

    def __init__(self, text: str, *, status: int = 0, code: int = 0) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.code = code


def _ignore() -> None:
    """For callers who don't ask when it begins."""


@frozen
class Opening:
    """`tell` is called once the engine has accepted, before the first message. `patience`: how
    many seconds that may take; None for as long as it takes."""

    tell: Callable[[], None] = _ignore
    patience: float | None = None


WHENEVER = Opening()


def stream(
    engine: Engine,
    request: Request,
    job: Job,
    take: Callable[[Message], None],
    opening: Opening = WHENEVER,
) -> None:
    """Send the request and give each message of the answer to `take`, until the answer ends.

    Raises the job's `Stopped` when it is cancelled, `Refusal`, or `EngineUnavailable` when the
    engine goes away in the middle. Takes as long as it takes: silence is no error.
    """
    job.cancel.check()
    reading = functools.partial(_reading, engine, request, job)
    wire = reading(functools.partial(engine.connect, timeout=10))
    try:
        wire.wait(opening.patience)
        with job.cancel.interrupting(wire.shut_down):
            head = reading(
                lambda: wire.ask(request.method, request.target, request.headers, request.body)
            )
            if head.status >= 300:
                raise Refusal(read_message(reading(wire.read)), status=head.status)
            wire.wait(None)
            opening.tell()
            rest = b""
            while piece := reading(wire.read_piece):
                *lines, rest = (rest + piece).split(b"\n")
                for line in filter(bytes.strip, lines):
                    take(_parse(line))
    finally:
        wire.close()
    job.cancel.check()


def _reading(engine: Engine, request: Request, job: Job, read: Callable[[], T]) -> T:
    """Only the engine's own silence is its fault, not what goes wrong in `take`."""
    try:
        return read()
    except EngineUnavailable as error:
        error.app = job.app
        raise
    except OSError as error:
        job.cancel.check()
        reason = f"it went away in the middle of {request.path}: {error}"
        raise engine.unavailable(reason, job.app) from error


def _parse(line: bytes) -> Message:
    message: Message = json.loads(line)
    if "error" in message:
        detail = message.get("errorDetail") or {}
        raise Refusal(str(message["error"]).strip(), code=int(detail.get("code") or 0))
    return message
