"""A deployment's log while it is written: server-sent events, or plain text.

    GET /apps/NAME/deployments/ID/log       id: 1234        (goes on from there: Last-Event-ID)
                                            data: 2026-01-31T09:30:00.123Z build | #5 RUN make

                                            event: end
                                            data: {"status": "done", "outcome": "succeeded", …}

Whoever follows waits in a coroutine. Files and the state are read in threads, and of one
deployment only once for all who follow it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import APIRouter
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from reconciler.api.description import refusals
from reconciler.api.doors import address_of
from reconciler.api.errors import BadInput, Issue, NotFound
from reconciler.api.procedures import Call, find_app
from reconciler.api.shell import Shell
from reconciler.state.records import Deployment
from reconciler.values import frozen

POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 15.0
CHUNK_BYTES = 1 << 16
_END = "-end"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@frozen
class Look:
    """A deployment at one moment: its row, None when it was cleared, and its log's size."""

    row: Deployment | None
    size: int

    @property
    def ended(self) -> bool:
        return self.row is None or self.row.ended


class Looks:
    """Looks at deployments that are followed, each at most once in `POLL_SECONDS`."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._last: dict[str, tuple[float, asyncio.Task[Look]]] = {}

    async def look(self, row: Deployment) -> Look:
        """The newest look. Raises what the state raises."""
        now = asyncio.get_running_loop().time()
        at, task = self._last.get(row.id, (0.0, None))
        if task is None or now - at >= POLL_SECONDS:
            self._forget(now)
            task = asyncio.create_task(self._look(row))
            self._last[row.id] = (now, task)
        return await asyncio.shield(task)

    def _forget(self, now: float) -> None:
        old = [key for key, (at, task) in self._last.items() if now - at > 60 and task.done()]
        for key in old:
            del self._last[key]

    async def _look(self, row: Deployment) -> Look:
        store = self._shell.backend.tools.store
        path = store.log_path(row.app, row.id)

        def work() -> Look:
            found = store.find_deployment(row.id)  # first: once it has ended, the log is whole
            return Look(found, path.stat().st_size if path.exists() else 0)

        return await self._shell.threads.run(work)


@frozen
class Piece:
    """A line of the log, and the offset behind it in bytes."""

    offset: int
    text: str


def read_pieces(path: Path, offset: int, *, whole: bool) -> list[Piece]:
    """Lines behind `offset`, some at a time; the last may lack its end only when the log is
    `whole`. A line that is longer than a chunk comes in several pieces.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(CHUNK_BYTES)
    except FileNotFoundError:
        return []
    more_comes = len(data) == CHUNK_BYTES or not whole
    if more_comes and (b"\n" in data or len(data) < CHUNK_BYTES):
        data = data[: data.rfind(b"\n") + 1]
    pieces = []
    for line in data.splitlines(keepends=True):
        offset += len(line)
        pieces.append(Piece(offset, line.decode("utf-8", "replace").rstrip("\r\n")))
    return pieces


class Follower:
    """One who follows one deployment's log, from `offset` on."""

    def __init__(self, shell: Shell, looks: Looks, row: Deployment, offset: int) -> None:
        self.offset = offset
        self._shell = shell
        self._looks = looks
        self._row = row
        self._path = shell.backend.tools.store.log_path(row.app, row.id)

    async def pieces(self) -> AsyncIterator[list[Piece]]:
        """Lines as they come, until the end. None of them: time has passed."""
        while True:
            look = await self._looks.look(self._row)
            found = await self._read(look) if look.size > self.offset else []
            if found:
                self.offset = found[-1].offset
                yield found
            elif look.ended:
                self._row = look.row or self._row
                return
            else:
                yield []
                await asyncio.sleep(POLL_SECONDS)

    async def _read(self, look: Look) -> list[Piece]:
        return await self._shell.threads.run(
            lambda: read_pieces(self._path, self.offset, whole=look.ended)
        )

    async def as_text(self) -> AsyncIterator[bytes]:
        """The lines."""
        async for found in self.pieces():
            if found:
                yield "".join(f"{piece.text}\n" for piece in found).encode()

    async def as_events(self) -> AsyncIterator[bytes]:
        """The lines as events, then `end`; a comment now and then, so that nobody hangs up."""
        clock = asyncio.get_running_loop().time
        last = clock()
        yield b"retry: 1000\n\n"
        async for found in self.pieces():
            if found:
                last = clock()
                yield b"".join(
                    format_sse_event(data_str=piece.text, id=str(piece.offset)) for piece in found
                )
            elif clock() - last >= HEARTBEAT_SECONDS:
                last = clock()
                yield KEEPALIVE_COMMENT
        yield format_sse_event(
            event="end", data_str=json.dumps(self._ending()), id=f"{self.offset}{_END}"
        )

    def _ending(self) -> dict[str, str | None]:
        row, hide = self._row, self._shell.backend.tools.redactor.hide
        return {"status": row.status, "outcome": row.outcome, "reason": hide(row.reason)}


def read_offset(last_id: str) -> int | None:
    """From a Last-Event-ID to the offset to go on from; None when it has the end already.

    Raises `BadInput`.
    """
    if last_id.endswith(_END):
        return None
    if last_id and not (last_id.isascii() and last_id.isdigit() and len(last_id) < 16):
        raise BadInput([Issue(("Last-Event-ID",), "expected the id of an event of this log")])
    return int(last_id or 0)


def make_router(shell: Shell) -> APIRouter:
    """The routes of streams."""
    router, looks = APIRouter(tags=["logs"]), Looks(shell)

    @router.get(
        "/apps/{name}/deployments/{deployment}/log",
        summary="A deployment's log, as it is written; as plain text for `Accept: text/plain`.",
        response_class=StreamingResponse,
        responses={
            **refusals(400, 401, 403, 404, 405, 429, 503),
            200: {
                "content": {
                    "text/event-stream": {"schema": {"type": "string"}},
                    "text/plain": {"schema": {"type": "string"}},
                }
            },
            204: {"description": "Everything was sent, and so was the end."},
        },
    )
    async def log(name: str, deployment: str, request: Request) -> Response:
        caller = await shell.admit(request.headers, address_of(request), "read")

        def find() -> Deployment:
            app = find_app(Call(shell.backend, caller, None), name)
            row = shell.backend.tools.store.find_deployment(deployment)
            if row is None or row.app != app:
                raise NotFound("Deployment not found")
            return row

        row = await shell.threads.run(find)
        offset = read_offset(request.headers.get("last-event-id", ""))
        if offset is None:
            return Response(status_code=204)
        follower = Follower(shell, looks, row, offset)
        if "text/plain" in request.headers.get("accept", ""):
            return StreamingResponse(follower.as_text(), media_type="text/plain", headers=_HEADERS)
        return StreamingResponse(
            follower.as_events(), media_type="text/event-stream", headers=_HEADERS
        )

    return router
