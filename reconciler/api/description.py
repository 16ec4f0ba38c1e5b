"""The OpenAPI document: every procedure, what it takes, and every answer that it can give."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from reconciler.api.models import ErrorAnswer, UnauthorizedAnswer
from reconciler.api.procedures import Procedure

_ALWAYS = (400, 403, 404, 405, 408, 413, 415, 429, 500, 503)
_TEXTS = {
    400: "The input isn't what the call takes.",
    401: "No good credential.",
    403: "The token isn't for this.",
    404: "Not found.",
    405: "Not with this method.",
    408: "The body didn't come in time.",
    409: "The source or the spec can't work; the message says what to do.",
    413: "The body is too large.",
    415: "Not JSON.",
    429: "Too many failed tries from this address.",
    500: "A bug here.",
    503: "A git host, registry, engine or lock can't be had now; try again later.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of these statuses, as a route declares them."""
    models = {401: UnauthorizedAnswer}
    return {
        status: {"model": models.get(status, ErrorAnswer), "description": _TEXTS[status]}
        for status in statuses
    }


def plain_docs(procedure: Procedure) -> dict[str, Any]:
    """Arguments of `add_api_route` that describe it."""
    responses = refusals(*_ALWAYS, 401, *((409,) if procedure.slow else ()))
    responses[200] = {"model": procedure.gives, "description": "Done, or accepted."}
    return {
        "summary": procedure.about,
        "operation_id": procedure.name.replace(".", "-"),
        "tags": [procedure.name.partition(".")[0]],
        "response_model": None,
        "responses": responses,
        "openapi_extra": _input(procedure) | ({} if procedure.scope else {"security": []}),
    }


def _input(procedure: Procedure) -> dict[str, Any]:
    schema = procedure.takes.model_json_schema()
    if procedure.kind == "mutation":
        return {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
        }
    required = schema.get("required", [])
    return {
        "parameters": [
            {"name": name, "in": "query", "required": name in required, "schema": one}
            for name, one in schema.get("properties", {}).items()
        ]
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title="reconciler",
            version=app.version,
            description="Deployments on this host. What Dokploy's clients call works here.",
            routes=app.routes,
        )
        document["components"]["securitySchemes"] = {
            "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        document["security"] = [{"apiKey": []}, {"bearer": []}]
        app.openapi_schema = document
    return app.openapi_schema
