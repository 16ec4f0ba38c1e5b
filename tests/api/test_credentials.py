"""Who is let in, and to what."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from reconciler.api.access import ADDRESSES, FREE_TRIES, MOST_TRIES, Slowdown
from reconciler.api.doors import METHODS
from reconciler.api.errors import TooMany
from reconciler.state.tokens import list_tokens, revoke_token
from tests.api.conftest import Api

WRONG = "rcl_wrong"


@dataclass
class Answer:
    status_code: int
    headers: Mapping[str, str]
    document: Any


def ask(api: Api, headers: dict[str, str]) -> Answer:
    """With headers exactly as written, which httpx doesn't allow."""
    address = api.server.address
    connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
    connection.request("GET", "/api/user.get", headers=headers)
    answer = connection.getresponse()
    found = Answer(answer.status, answer.headers, json.loads(answer.read()))
    connection.close()
    return found


# -- which credential counts -----------------------------------------------------------------


def test_credentials_that_count(api: Api) -> None:
    key = api.tokens["read"]
    for headers in (
        {"x-api-key": key},
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"bearer  {key} "},
        {"x-api-key": key, "Authorization": "Bearer "},
        {"x-api-key": key, "Authorization": "Bearer"},
        {"x-api-key": key, "Authorization": f"Bearer {WRONG}"},
        {"x-api-key": "", "Authorization": f"Bearer {key}"},
        {"x-api-key": key, "Authorization": "Basic dXNlcjpwYXNz"},
    ):
        answer = ask(api, headers)
        assert answer.status_code == 200, headers
        assert answer.document["id"] == "read"


def test_credentials_that_do_not(api: Api) -> None:
    now = api.backend.tools.clock()
    api.token("revoked")
    api.token("expired", expires_at=now - 1)
    revoke_token(api.store, "revoked", now)
    key = api.tokens["read"]
    for headers in (
        {},
        {"x-api-key": WRONG},
        {"x-api-key": key[:-1]},
        {"x-api-key": key.upper()},
        {"x-api-key": api.tokens["revoked"]},
        {"Authorization": f"Bearer {api.tokens['expired']}"},
        {"Authorization": key},
        {"Authorization": f"Basic {key}"},
        {"Authorization": "Bearer "},
        {"cookie": f"x-api-key={key}"},
    ):
        answer = ask(api, headers)
        assert (answer.status_code, answer.document) == (401, {"message": "Unauthorized"}), headers


def test_nothing_but_health_answers_without_a_credential(api: Api) -> None:
    nobody = api.as_("")
    paths = nobody.client.get("/openapi.json", headers=api.headers).json()["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            answer = nobody.client.request(method.upper(), path, json={})
            if operation.get("security") == []:
                assert answer.status_code != 401, path
            else:
                assert answer.status_code == 401, path
    assert nobody.get("settings.health").status_code == 200
    assert nobody.get("trpc/project.all").status_code == 401
    assert nobody.client.get("/openapi.json").status_code == 401


# -- scopes ----------------------------------------------------------------------------------

NEEDS = {
    "application.one": "read",
    "application.readLogs": "read",
    "deployment.all": "read",
    "deployment.allByType": "read",
    "deployment.readLogs": "read",
    "project.all": "read",
    "project.one": "read",
    "settings.getOpenApiDocument": "read",
    "user.get": "read",
    "auth.verifyToken": "read",
    "application.deploy": "deploy",
    "application.redeploy": "deploy",
    "application.cancelDeployment": "deploy",
    "application.cleanQueues": "deploy",
    "application.killBuild": "admin",
    "application.clearDeployments": "admin",
    "application.saveEnvironment": "admin",
    "application.update": "admin",
}


def test_every_call_has_its_scope(api: Api) -> None:
    scopes = ("read", "deploy", "admin")
    document = api.get("settings.getOpenApiDocument").json()
    procedures = {path[1:] for path in document["paths"] if path.count(".") == 1}
    assert procedures - {"openapi.json", "settings.health"} >= NEEDS.keys()
    for name, needed in NEEDS.items():
        method = "GET" if "get" in document["paths"][f"/{name}"] else "POST"
        assert method in METHODS.values()
        for scope in scopes:
            caller = api.as_(scope)
            body = {"json": {}} if method == "POST" else None
            answer = api.client.request(method, f"/api/{name}", json=body, headers=caller.headers)
            allowed = scopes.index(scope) >= scopes.index(needed)
            assert (answer.status_code != 403) is allowed, (name, scope)


def test_token_of_another_app(api: Api) -> None:
    api.token("web", scope="admin", apps=("web",))
    web = api.as_("web")
    api.post("application.deploy", applicationId="api")
    row = api.get("deployment.all", applicationId="api").json()[0]
    for answer in (
        web.get("application.one", applicationId="api"),
        web.get("application.one", applicationId="shop/api"),
        web.get("application.one", applicationId="not-there"),
        web.get("deployment.all", applicationId="api"),
        web.post("application.deploy", applicationId="api"),
        web.post("application.cancelDeployment", applicationId="api"),
        web.post("application.saveEnvironment", applicationId="api", env="A=1"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    known = web.get("deployment.readLogs", deploymentId=row["deploymentId"])
    unknown = web.get("deployment.readLogs", deploymentId="0" * 13)
    assert (known.status_code, unknown.status_code) == (404, 404)
    assert [app["name"] for app in web.get("project.all").json()[0]["applications"]] == ["web"]
    assert web.get("application.one", applicationId="web").status_code == 200


# -- last use and failed tries ---------------------------------------------------------------


def test_last_use_is_written_down_but_not_at_every_call(api: Api) -> None:
    def used() -> tuple[float | None, str]:
        token = next(one for one in list_tokens(api.store) if one.name == "read")
        return token.used_at, token.used_from

    assert used() == (None, "")
    api.as_("read").get("user.get")
    first = used()
    assert first[0] is not None
    assert first[1] == "127.0.0.1"
    before = api.store.connection.execute("PRAGMA data_version").fetchone()[0]
    for _ in range(5):
        api.as_("read").get("application.one", applicationId="api")
    assert used() == first
    assert api.store.connection.execute("PRAGMA data_version").fetchone()[0] == before


def test_only_a_hash_of_the_token_is_kept(api: Api) -> None:
    api.as_("read").get("user.get")
    for path in api.store.directory.rglob("*"):
        if path.is_file():
            assert api.tokens["read"].encode() not in path.read_bytes()


def test_failed_tries_are_slowed_down_and_a_good_token_is_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.api.access.MOST_TRIES", FREE_TRIES + 1)
    statuses = [ask(api, {"x-api-key": WRONG}).status_code for _ in range(FREE_TRIES + 2)]
    assert statuses == [401] * (FREE_TRIES + 1) + [429]
    refused = ask(api, {"x-api-key": WRONG})
    assert int(refused.headers["retry-after"]) > 0
    answer = ask(api, {"x-api-key": api.tokens["read"]})
    assert answer.status_code == 200
    assert ask(api, {}).status_code == 401


def test_slowdown_grows_forgets_and_keeps_its_size() -> None:
    now = 0.0
    slowdown = Slowdown(lambda: now)
    delays = [slowdown.delay("a") for _ in range(MOST_TRIES)]
    assert delays[:FREE_TRIES] == [0.0] * FREE_TRIES
    assert delays == sorted(delays)
    assert 0 < delays[-1] <= 1
    with pytest.raises(TooMany):
        slowdown.delay("a")
    assert slowdown.delay("b") == 0
    now = 61.0
    assert slowdown.delay("a") == 0
    for number in range(2 * ADDRESSES):
        slowdown.delay(str(number))
    assert len(slowdown._failures) == ADDRESSES
