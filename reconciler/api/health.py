"""`/healthz`: the process lives. `/readyz`: it does its work. `/metrics`: what it did.

The first two need no credentials and tell nothing about apps. The figures name every app, so they
need a token that may see all of them, from wherever the request comes: behind a proxy on the same
host everybody comes from this machine.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reconciler.api.description import refusals
from reconciler.api.doors import address_of
from reconciler.api.errors import Forbidden
from reconciler.api.metrics import Metrics
from reconciler.api.shell import Shell
from reconciler.errors import ReconcilerError


class Health(BaseModel):
    """How the process is. `reason`: why it isn't ready; empty when it is."""

    status: str = Field(description="ok, or unready.")
    reason: str = ""


def why_unready(shell: Shell, metrics: Metrics) -> str:
    """Why the process can't do its work now; empty when it can."""
    if not metrics.leader:
        return "another process deploys, and this one stands by"
    try:
        shell.backend.spec()
    except ReconcilerError:
        return "there is no valid spec yet"
    if metrics.last_pass is None:
        return "no pass has ended yet"
    return "" if metrics.last_pass else "the last pass didn't go through; the log says why"


def make_router(shell: Shell, metrics: Metrics) -> APIRouter:
    """The routes for whoever watches the process."""
    router = APIRouter(tags=["health"])
    open_to_all: dict[str, Any] = {"security": []}

    @router.get(
        "/healthz",
        summary="The process lives.",
        responses=refusals(405, 503),
        openapi_extra=open_to_all,
    )
    async def healthz() -> Health:
        return Health(status="ok")

    @router.get(
        "/readyz",
        summary="The process does its work: a valid spec, a pass that went through, and no "
        "other process before it.",
        response_model=Health,
        responses={**refusals(405), 503: {"model": Health, "description": "Not now."}},
        openapi_extra=open_to_all,
    )
    async def readyz() -> Response:
        reason = why_unready(shell, metrics)
        found = Health(status="unready" if reason else "ok", reason=reason)
        return JSONResponse(found.model_dump(), 503 if reason else 200)

    @router.get(
        "/metrics",
        summary="Figures for Prometheus; needs a token that isn't limited to some apps.",
        response_class=Response,
        responses={
            **refusals(401, 403, 405, 429, 503),
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        },
    )
    async def figures(request: Request) -> Response:
        caller = await shell.admit(request.headers, address_of(request), "read")
        if caller.token.apps:
            raise Forbidden(
                f"the token {caller.token.name!r} is for some apps only, and metrics name all",
                todo="Use one that was created without --apps.",
            )
        accept = request.headers.get("accept", "")
        body, kind = await shell.threads.run(lambda: metrics.expose(shell.backend, accept))
        return Response(body, headers={"Content-Type": kind})

    return router
