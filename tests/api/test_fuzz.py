"""Anything at all is sent to every operation of the OpenAPI document; every answer is in it."""

from __future__ import annotations

import itertools

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from reconciler.api.access import Slowdown
from tests.api.conftest import Api

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.mark.parametrize(("token", "examples"), [("admin", 8), ("", 2)])
def test_operations_answer_anything_as_documented(api: Api, token: str, examples: int) -> None:
    state = api.server.app.state
    state.metrics.pass_finished(0.1, True)
    state.shell.slowdown = Slowdown(itertools.count(0, 100).__next__)  # a minute between tries
    document = api.as_("read").get("settings.getOpenApiDocument").json()
    schema = schemathesis.openapi.from_dict(document)
    found = [result.ok() for result in schema.get_all_operations()]
    assert len(found) > 15
    headers = api.as_(token).headers
    statuses = {
        status
        for operation in found
        for status in send_anything(operation, (api.server.url, headers), examples)
    }
    assert statuses >= ({200, 400, 404} if token else {200, 401})


def send_anything(
    operation: schemathesis.APIOperation, target: tuple[str, dict[str, str]], examples: int
) -> set[int]:
    """Valid and invalid input; the statuses that came back."""
    url, headers = target
    statuses: set[int] = set()
    valid, invalid = (
        operation.as_strategy(generation_mode=mode)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    )

    @seed(20260203)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=valid | invalid, known=st.booleans())
    def run(case: schemathesis.Case, known: bool) -> None:
        for part in (case.query, case.body) if known else ():
            if isinstance(part, dict) and "applicationId" in part:
                part["applicationId"] = "api"
        response = case.call_and_validate(base_url=url, headers=headers, checks=CHECKS)
        # There is no engine here; what asks for it may say so.
        assert response.status_code < 500 or "Docker engine" in response.text, response.text
        statuses.add(response.status_code)

    run()
    return statuses
