"""Two doors to the same procedures: plain HTTP, and tRPC's envelope.

plain   GET /application.one?applicationId=api      POST /application.deploy {"applicationId": …}
tRPC    GET /api/trpc/application.one?input={"json": {…}}, POST with {"json": {…}}; several at
        once with ?batch=1: names joined by commas, inputs by number
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.access import Caller
from reconciler.api.errors import (
    BadInput,
    Issue,
    NotFound,
    NotJson,
    Refusal,
    Unauthorized,
    WrongMethod,
    to_bytes,
)
from reconciler.api.procedures import Call, Procedure
from reconciler.api.shell import Shell
from reconciler.values import frozen

Endpoint = Callable[[Request], Awaitable[Response]]
METHODS = {"query": "GET", "mutation": "POST"}
MOST_AT_ONCE = 20


@frozen
class Asked:
    """A request as far as threads need it."""

    headers: Mapping[str, str]
    address: str
    body: bytes

    @classmethod
    async def of(cls, request: Request) -> Asked:
        body = await request.body() if request.method == "POST" else b""
        return cls(request.headers, address_of(request), body)

    def check_content_type(self) -> None:
        """Raises `NotJson`."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise NotJson(
                f"Unsupported content type {kind!r}", todo="Send Content-Type: application/json."
            )

    def json(self) -> Any:
        """The body. Raises `BadInput`."""
        return parse(self.body.decode("utf-8", "replace")) if self.body.strip() else {}


def address_of(request: Request) -> str:
    """Where it comes from; a unix socket has no address."""
    return request.client.host if request.client else "unix"


def parse(text: str) -> Any:
    """JSON. Raises `BadInput`."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput([Issue((), f"not JSON: {error}")]) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


# -- plain -----------------------------------------------------------------------------------


def plain_endpoint(shell: Shell, procedure: Procedure) -> Endpoint:
    """Serves one procedure."""

    async def endpoint(request: Request) -> Response:
        asked = await Asked.of(request)

        def work() -> bytes:
            caller = admit(shell, procedure, asked)
            if procedure.kind == "query":
                data: Any = dict(request.query_params)
            else:
                asked.check_content_type()
                data = asked.json()
            return to_bytes(execute(shell, procedure, caller, data))

        try:
            body = await shell.threads.run(work, slow=procedure.slow)
        except Unauthorized as error:
            await shell.slow_down(error, asked.address)
            raise
        return Response(body, media_type="application/json")

    return endpoint


def admit(shell: Shell, procedure: Procedure, asked: Asked) -> Caller | None:
    """The caller. Raises `Unauthorized` and `Forbidden`."""
    if not procedure.scope:
        return None
    caller = shell.gate.admit(asked.headers, asked.address)
    caller.must(procedure.scope)
    return caller


def execute(shell: Shell, procedure: Procedure, caller: Caller | None, data: object) -> Any:
    """What the procedure gives."""
    return procedure.run(Call(shell.backend, caller, procedure.read(data)))


# -- tRPC ------------------------------------------------------------------------------------


@frozen
class Result:
    """What became of one call at the tRPC door."""

    status: int
    document: dict[str, Any]
    headers: Mapping[str, str]


def trpc_endpoint(shell: Shell, procedures: Mapping[str, Procedure]) -> Endpoint:
    """Serves all procedures."""

    async def endpoint(request: Request) -> Response:
        asked = await Asked.of(request)
        names, batch = request.path_params["names"], request.query_params.get("batch") == "1"
        inputs = request.query_params.get("input") if request.method == "GET" else None
        visit = Visit(shell, procedures, request.method, asked, inputs)
        parts = names.split(",")[:MOST_AT_ONCE] if batch else [names]
        results = [
            await visit.call(name, number if batch else None) for number, name in enumerate(parts)
        ]
        return _response(results, batch=batch)

    return endpoint


@frozen
class Visit:
    """One request at the tRPC door: one call, or several. `inputs`: the query's `input`."""

    shell: Shell
    procedures: Mapping[str, Procedure]
    method: str
    asked: Asked
    inputs: str | None

    async def call(self, name: str, number: int | None) -> Result:
        """Do one of its calls; `number` is its place in a batch."""
        procedure = self.procedures.get(name)

        def work() -> Any:
            if procedure is None:
                raise NotFound(f"No procedure found on path {name!r}")
            caller = admit(self.shell, procedure, self.asked)
            self._check_method(procedure)
            return execute(self.shell, procedure, caller, self._input(number))

        slow = procedure is not None and procedure.slow
        try:
            given = await self.shell.threads.run(work, slow=slow)
        except Exception as error:
            return await self._refused(error, name)
        return Result(200, {"result": {"data": {"json": given}}}, {})

    async def _refused(self, error: Exception, name: str) -> Result:
        if isinstance(error, Unauthorized):
            try:
                await self.shell.slow_down(error, self.asked.address)
            except Exception as many:
                error = many
        refusal = self.shell.refuse(error)
        return Result(refusal.status, refusal.trpc_document(name), refusal.headers)

    def _check_method(self, procedure: Procedure) -> None:
        wanted = METHODS[procedure.kind]
        if self.method != wanted:
            raise WrongMethod(
                f"Unsupported {self.method}-request to {procedure.kind} procedure at path "
                f"{procedure.name!r}",
                wanted,
            )
        if self.method == "POST":
            self.asked.check_content_type()

    def _input(self, number: int | None) -> object:
        """What stands in the envelope, or without one, as Dokploy's command line asks: the flag
        `json` of its own may be beside the fields. Raises `BadInput`.
        """
        whole = parse(self.inputs) if self.inputs else self.asked.json()
        own = whole.get(str(number)) if number is not None and isinstance(whole, dict) else whole
        if not isinstance(own, dict):
            return own
        if isinstance(own.get("json", True), bool):
            return {name: value for name, value in own.items() if name != "json"}
        return own["json"]


def _response(results: list[Result], *, batch: bool) -> Response:
    """Several answers of different statuses are a 207, as tRPC clients expect."""
    statuses = {result.status for result in results}
    status = statuses.pop() if len(statuses) == 1 else 207
    document: Any = [result.document for result in results] if batch else results[0].document
    headers = {key: value for result in results for key, value in result.headers.items()}
    return Response(to_bytes(document), status, headers, "application/json")


def refusal_response(refusal: Refusal, path: str) -> Response:
    """An error at the plain door."""
    document = refusal.document(path)
    return Response(to_bytes(document), refusal.status, refusal.headers, "application/json")
