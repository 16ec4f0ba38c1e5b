"""Paths, envelopes, errors and limits, as real clients use them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from reconciler.api.limits import MOST_BODY_BYTES, plain_path
from tests.api.conftest import Api

JSON = {"content-type": "application/json"}


def connect(api: Api) -> socket.socket:
    host, _, port = str(api.server.address).rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


# -- paths -----------------------------------------------------------------------------------


def test_every_spelling_of_a_path(api: Api) -> None:
    for path in (
        "/application.one",
        "/api/application.one",
        "/api//application.one",
        "//api/application.one",
        "/api///application.one",
    ):
        answer = api.client.get(
            f"{api.server.url}{path}", params={"applicationId": "api"}, headers=api.headers
        )
        assert (answer.status_code, answer.json()["name"]) == (200, "api"), path
    assert plain_path("/api/deploy/abc") == "/api/deploy/abc"
    assert plain_path("/api/trpc/application.one") == "/api/trpc/application.one"


def test_errors_have_the_documented_shape(api: Api) -> None:
    answer = api.post("application.deploy", applicationId="nope")
    assert answer.status_code == 404
    assert answer.json() == {
        "message": "Application not found",
        "code": "NOT_FOUND",
        "data": {
            "code": "NOT_FOUND",
            "httpStatus": 404,
            "path": "application.deploy",
            "zodError": None,
        },
    }


NO_SENSE: list[tuple[str, list[str]]] = [
    ("{}", ["applicationId"]),
    ('{"applicationId": ""}', ["applicationId"]),
    ('{"applicationId": 5}', ["applicationId"]),
    ('{"applicationId": "api", "title": ["x"]}', ["title"]),
    ('{"applicationId": "\\ud800"}', ["applicationId"]),
    ("[]", []),
    ('"api"', []),
    ("{", []),
    ('{"applicationId": NaN}', []),
    ("[" * 100_000, []),
    ("\xff", []),
]


def test_input_that_makes_no_sense(api: Api) -> None:
    headers = {**api.headers, **JSON}
    for text, path in NO_SENSE:
        body = text.encode("latin-1")
        answer = api.client.post("/api/application.deploy", content=body, headers=headers)
        assert answer.status_code == 400, text[:50]
        found = answer.json()
        assert (found["message"], found["code"]) == ("Input validation failed", "BAD_REQUEST")
        assert found["issues"][0]["path"] == path
        assert found["issues"][0]["message"]


def test_post_that_is_not_json(api: Api) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"):
        answer = api.client.post(
            "/api/application.deploy",
            content=b'{"applicationId": "api"}',
            headers={**api.headers, "content-type": kind},
        )
        assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    charset = {**api.headers, "content-type": "application/json; charset=utf-8"}
    body = b'{"applicationId": "api", "unknown": 1}'
    assert api.client.post("/application.deploy", content=body, headers=charset).status_code == 200


def test_another_method_or_path(api: Api) -> None:
    answer = api.get("application.deploy", applicationId="api")
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_SUPPORTED")
    assert answer.headers["allow"] == "POST"
    assert api.post("application.one", applicationId="api").status_code == 405
    assert api.get("application.none").json()["code"] == "NOT_FOUND"
    assert api.client.get("/", headers=api.headers).status_code == 404


def test_bug_is_answered_without_its_words(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: Any) -> None:
        raise ValueError("geheim in a bug")

    api.backend.tools.redactor.learn("geheim")
    monkeypatch.setattr("reconciler.engine.control.deploy", broken)
    answer = api.post("application.deploy", applicationId="api")
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_SERVER_ERROR")
    assert "bug" not in answer.text
    assert "Traceback" not in answer.text
    assert "ValueError: ***** in a bug" in caplog.text
    trpc = api.post("trpc/application.deploy", json={"applicationId": "api"})
    assert trpc.status_code == 500
    assert "geheim" not in trpc.text + caplog.text


# -- tRPC ------------------------------------------------------------------------------------


def trpc(api: Api, name: str, given: Any) -> Any:
    answer = api.get(f"trpc/{name}", input=json.dumps({"json": given}))
    assert answer.status_code == 200
    return answer.json()["result"]["data"]["json"]


def test_trpc_door_serves_the_same(api: Api) -> None:
    answer = api.post("trpc/application.deploy", json={"applicationId": "api"})
    assert (answer.status_code, answer.json()) == (
        200,
        {"result": {"data": {"json": {"success": True}}}},
    )
    assert trpc(api, "application.one", {"applicationId": "api"})["applicationStatus"] == "running"
    assert len(trpc(api, "deployment.all", {"applicationId": "api"})) == 1
    assert api.get("trpc/user.get").json()["result"]["data"]["json"]["id"] == "admin"
    assert api.post("trpc/auth.verifyToken").json() == {"result": {"data": {"json": True}}}


def test_trpc_errors(api: Api) -> None:
    answer = api.post("trpc/application.deploy", json={"applicationId": "nope"})
    error = answer.json()["error"]["json"]
    assert (answer.status_code, error["message"], error["code"]) == (
        404,
        "Application not found",
        -32004,
    )
    assert error["data"]["path"] == "application.deploy"
    assert api.get("trpc/application.deploy").status_code == 405
    assert api.get("trpc/no.such").json()["error"]["json"]["data"]["code"] == "NOT_FOUND"
    assert api.get("trpc/application.one", input="{").status_code == 400
    assert api.as_("").get("trpc/user.get").json()["error"]["json"]["message"] == "Unauthorized"


def test_trpc_batch(api: Api) -> None:
    given = {"0": {"json": {"applicationId": "api"}}, "1": {"json": {"applicationId": "nope"}}}
    answer = api.get("trpc/application.one,application.one", batch="1", input=json.dumps(given))
    first, second = answer.json()
    assert answer.status_code == 207
    assert first["result"]["data"]["json"]["name"] == "api"
    assert second["error"]["json"]["data"]["httpStatus"] == 404
    answer = api.client.post(
        "/api/trpc/application.deploy?batch=1",
        json={"0": {"json": {"applicationId": "web"}}},
        headers=api.headers,
    )
    assert answer.json() == [{"result": {"data": {"json": {"success": True}}}}]


def test_what_dokploys_command_line_does(api: Api) -> None:
    """`dokploy auth`, `verify`, `project info`, `env pull`, `env push`, `app deploy`, `app logs`:
    its requests (https://github.com/Dokploy/cli), and the fields that it reads.
    """
    key = api.tokens["admin"]
    login = api.client.get(
        "/api/trpc/user.get", headers={"x-api-key": key, "content-type": "application/json"}
    )
    assert login.status_code == 200
    verified = api.client.post(
        "/api/trpc/auth.verifyToken", json={}, headers={"Authorization": f"Bearer {key}"}
    )
    assert verified.json()["result"]["data"]["json"]
    (project,) = api.get("trpc/project.all").json()["result"]["data"]["json"]
    whole = trpc(api, "project.one", {"projectId": project["projectId"]})
    (environment,) = whole["environments"]
    kinds = ("applications", "compose", "mariadb", "mongo", "mysql", "postgres", "redis")
    assert all(isinstance(environment[kind], list) for kind in kinds)
    app = environment["applications"][0]
    assert app["env"] == whole["applications"][0]["env"] == "LOG_LEVEL=info\n"
    pushed = {"applicationId": app["applicationId"], "env": "LOG_LEVEL=debug\n"}
    assert api.post("trpc/application.update", json=pushed).status_code == 200
    deployed = {"applicationId": app["applicationId"]}
    assert api.post("trpc/application.deploy", json=deployed).status_code == 200
    one = trpc(api, "application.one", deployed)
    assert (one["env"], one["applicationStatus"], one["serverId"]) == (
        "LOG_LEVEL=debug\n",
        "running",
        None,
    )
    log = trpc(api, "deployment.readLogs", {"deploymentId": one["deployments"][0]["deploymentId"]})
    assert isinstance(log, str)


# -- limits ----------------------------------------------------------------------------------


def test_newer_command_line_of_dokploy_asks_without_an_envelope(api: Api) -> None:
    """`dokploy application one --applicationId api --json`, as version 0.30 asks."""
    for given in ({"applicationId": "api"}, {"applicationId": "api", "json": True}):
        answer = api.get("trpc/application.one", input=json.dumps(given))
        assert answer.json()["result"]["data"]["json"]["name"] == "api"


def test_body_that_is_too_large(api: Api) -> None:
    body = json.dumps({"applicationId": "api", "title": "x" * MOST_BODY_BYTES}).encode()
    headers = {**api.headers, **JSON}
    declared = api.client.post("/api/application.deploy", content=body, headers=headers)
    chunks = (body[start : start + 65536] for start in range(0, len(body), 65536))
    chunked = api.client.post("/api/application.deploy", content=chunks, headers=headers)
    for answer in (declared, chunked):
        assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_body_that_does_not_come(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.api.limits.BODY_SECONDS", 0.1)
    with connect(api) as client:
        client.sendall(
            b"POST /application.deploy HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
        )
        answer = client.recv(4096)
        while not answer.endswith(b"}"):
            answer += client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"TIMEOUT"' in answer


def test_head_that_does_not_come(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.api.server.HEAD_SECONDS", 0.1)
    with connect(api) as client:
        client.sendall(b"GET /settings.health HTTP/1.1\r\nHos")
        assert client.recv(4096) == b""
    with connect(api) as client:  # the second request of a connection, too
        client.sendall(b"GET /settings.health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += client.recv(4096)
        client.sendall(b"GET /settings.health HTTP/1.1\r\nHos")
        assert client.recv(4096) == b""


def test_too_many_connections_and_requests(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.api.limits.MOST_REQUESTS", 0)
    answer = api.get("settings.health")
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"
    monkeypatch.setattr("reconciler.api.server.MOST_CONNECTIONS", 1)
    with connect(api) as client:
        assert client.recv(10) == b""


def test_look_ups_are_answered_while_slow_calls_wait(
    api: Api, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    release = threading.Event()
    monkeypatch.setattr("reconciler.engine.control.deploy", lambda *_: release.wait(20))
    monkeypatch.setattr("reconciler.api.shell.MOST_WAITING", 2)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(api.post, "application.deploy", applicationId="api") for _ in "ab"]
        try:
            wait_until(lambda: api.server.app.state.shell.threads.waiting == 2)
            assert api.get("application.one", applicationId="api").status_code == 200
            refused = api.post("application.deploy", applicationId="api")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        finally:
            release.set()
        assert [call.result().status_code for call in calls] == [200, 200]
