"""What stands in front of every route: one spelling of paths, limits on size and time, and the
last word on anything that goes wrong.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.api.doors import Endpoint, refusal_response
from reconciler.api.errors import Overloaded, TooLarge, TooSlow
from reconciler.api.shell import Shell

MOST_BODY_BYTES = 1 << 20
MOST_HOOK_BYTES = 4 << 20
"""A push of many commits makes a large webhook."""
BODY_SECONDS = 20.0
MOST_REQUESTS = 1000
_HOOKS = ("/hooks", "/api/deploy/")
_SLASHES = re.compile(r"/{2,}")
_PREFIXED = re.compile(r"/api(/[A-Za-z]+\.[A-Za-z]+)")
log = logging.getLogger(__name__)


class Front:
    """The outermost part. `/api/application.one`, `//` and `/application.one` are one path.

    `direct`: endpoints by method and path that are called from here. Finding the way to one of
    them through the routes would cost as much as its answer.
    """

    def __init__(
        self, app: ASGIApp, shell: Shell, direct: Mapping[tuple[str, str], Endpoint]
    ) -> None:
        self._app = app
        self._shell = shell
        self._direct = direct
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        scope["path"] = plain_path(scope["path"])
        self._under_way += 1
        try:
            if self._under_way > MOST_REQUESTS:
                raise Overloaded("too many requests at once", todo="Try again in a moment.")
            limited = _limited(scope, receive)
            endpoint = self._direct.get((scope["method"], scope["path"]))
            if endpoint is None:
                await self._app(scope, limited, watched)
            else:
                response = await endpoint(Request(scope, limited))
                await response(scope, limited, watched)
        except Exception as error:
            refusal = self._shell.refuse(error)
            if begun:
                raise ConnectionAbortedError("an answer was cut short") from None
            response = refusal_response(refusal, scope["path"].removeprefix("/"))
            await response(scope, receive, send)
        finally:
            self._under_way -= 1


def plain_path(path: str) -> str:
    """The path as routes have it."""
    path = _SLASHES.sub("/", path)
    match = _PREFIXED.fullmatch(path)
    return match[1] if match else path


def _limited(scope: Scope, receive: Receive) -> Receive:
    """The body, as long as it is small and quick. Raises `TooLarge` and `TooSlow`."""
    if scope["method"] not in ("POST", "PUT", "PATCH"):
        return receive
    length = dict(scope["headers"]).get(b"content-length", b"0")
    most = MOST_HOOK_BYTES if scope["path"].startswith(_HOOKS) else MOST_BODY_BYTES
    too_large = TooLarge(f"the body is larger than {most >> 20} MiB")
    if length.isdigit() and int(length) > most:
        raise too_large
    deadline = time.monotonic() + BODY_SECONDS
    size, complete = 0, False

    async def limited() -> Message:
        nonlocal size, complete
        if complete:
            return await receive()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                message = await receive()
        except TimeoutError:
            raise TooSlow(f"the body didn't come within {BODY_SECONDS:g} s") from None
        size += len(message.get("body", b""))
        if size > most:
            raise too_large
        complete = not message.get("more_body", False)
        return message

    return limited
