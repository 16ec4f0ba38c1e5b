"""The application: routes for every procedure, and the routes of hooks, metrics and streams.

    Front (limits) ▶ FastAPI ▶ plain door | tRPC door | hooks, metrics, streams
                                    └─ threads ▶ gate ▶ procedure ▶ engine

Nothing here blocks the loop, and nothing here decides: what is asked for goes to the engine.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from reconciler import __version__
from reconciler.api import health, hooks, streams
from reconciler.api.actions import MUTATIONS
from reconciler.api.backend import Backend
from reconciler.api.description import describe, plain_docs
from reconciler.api.doors import METHODS, Endpoint, plain_endpoint, refusal_response, trpc_endpoint
from reconciler.api.errors import NotFound, WrongMethod
from reconciler.api.limits import Front
from reconciler.api.lookups import QUERIES
from reconciler.api.metrics import Metrics
from reconciler.api.models import Nothing
from reconciler.api.procedures import Call, Procedure
from reconciler.api.shell import Shell
from reconciler.errors import ReconcilerError


def create_app(backend: Backend, metrics: Metrics | None = None) -> FastAPI:
    """The whole API. Its `state.shell` has what routes need; close it at the end.

    `metrics`: those that the process tells of its passes.
    """
    app = FastAPI(
        title="reconciler",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    shell = Shell(backend)
    app.state.shell = shell
    direct = _add_procedures(app, shell)
    app.state.metrics = metrics = metrics or Metrics(backend.tools.store)
    for router in (
        hooks.make_router(shell, metrics),
        health.make_router(shell, metrics),
        streams.make_router(shell),
    ):
        app.include_router(router)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ReconcilerError, _error)
    app.add_middleware(Front, shell=shell, direct=direct)
    return app


def _add_procedures(app: FastAPI, shell: Shell) -> dict[tuple[str, str], Endpoint]:
    """Their routes at both doors; the endpoints of the plain one by method and path."""

    def document(_call: Call) -> dict[str, Any]:
        return describe(app)

    itself = Procedure(
        "settings.getOpenApiDocument", "query", "read", "This document.", Nothing,
        dict[str, Any], document,
    )  # fmt: skip
    procedures = {one.name: one for one in (*MUTATIONS, *QUERIES, itself)}
    direct: dict[tuple[str, str], Endpoint] = {}
    for procedure in procedures.values():
        method, path = METHODS[procedure.kind], f"/{procedure.name}"
        direct[method, path] = endpoint = plain_endpoint(shell, procedure)
        app.add_api_route(path, endpoint, methods=[method], **plain_docs(procedure))
    door = trpc_endpoint(shell, procedures)
    app.add_api_route("/api/trpc/{names}", door, methods=["GET", "POST"], include_in_schema=False)
    app.add_api_route(
        "/openapi.json", plain_endpoint(shell, itself), methods=["GET"], include_in_schema=False
    )
    return direct


def _path(request: Request) -> str:
    return request.url.path.removeprefix("/")


async def _error(request: Request, error: Exception) -> Response:
    """An error of the tree, out of any route."""
    return refusal_response(request.app.state.shell.refuse(error), _path(request))


async def _http_error(request: Request, error: Exception) -> Response:
    """Routing: no such path, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for nothing else
    ours: ReconcilerError = NotFound(f"there is nothing at {request.url.path}")
    if error.status_code == 405:
        allow = dict(error.headers or {}).get("Allow", "")
        ours = WrongMethod(f"{request.method} isn't possible here", allow)
    elif error.status_code != 404:
        raise error
    return await _error(request, ours)
