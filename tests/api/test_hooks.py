"""Webhooks over real HTTP: who passes, and what is looked at then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from reconciler.api.access import Slowdown
from reconciler.api.hooks import Hooks
from reconciler.api.metrics import Metrics
from reconciler.api.providers import Delivery
from reconciler.api.server import start_server
from reconciler.api.shell import Shell
from reconciler.engine.config_file import ConfigFile
from reconciler.engine.hook_tokens import hook_token
from reconciler.engine.wiring import retry_delay
from reconciler.host.engine import Engine
from reconciler.host.hosts import Hosts
from reconciler.host.secrets import Redactor
from reconciler.pipeline.tools import Tools
from reconciler.runtime.fleet import fleet_of
from reconciler.source.managed import name_place
from reconciler.state import deliveries
from reconciler.state.store import Store
from reconciler.testing import FakeRuntime
from tests.api import senders
from tests.api.conftest import Api, FakeBackend
from tests.api.senders import SECRET, SENDERS, payload

APPS: dict[str, Any] = {
    "api": {"source": {"git": "git@github.com:shop/api.git"}, "revision": "main"},
    "gitea": {"source": {"git": "ssh://git@git.example.com:2222/shop/api.git"}},
    "lab": {"source": {"git": "https://gitlab.example.com/shop/team/api"}, "revision": "main"},
    "bucket": {"source": {"git": "https://bitbucket.org/shop/api.git"}, "revision": "main"},
    "tagged": {"source": {"git": "https://github.com/shop/api"}, "revision": ">=1.4 <2"},
    "image": {"source": {"image": "registry.example.com:5000/shop/api"}, "revision": "1.5"},
    "hub": {"source": {"image": "shop/api"}, "revision": ">=1.4"},
}
LOOKED_AT = {"github": "api", "gitlab": "lab", "bitbucket": "bucket"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One server for all of these tests."""
    home = tmp_path_factory.mktemp("hooks")
    store, engine, runtime = Store(home / "state"), Engine(), FakeRuntime()
    fleet = fleet_of(runtime, Hosts(engine), home)
    tools = Tools(store, engine, fleet, Redactor(), time.time, retry_delay)
    backend = FakeBackend(tools, ConfigFile(home / "apps.yaml", home / "state"))
    server = start_server(backend, "127.0.0.1:0")
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield Api(backend, server, runtime, client, {}, "")
    server.stop()
    store.close()
    engine.close()


@pytest.fixture
def hooked(shared: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """A spec with an app for each host, and nothing heard so far; it calls without a token."""
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("EMPTY", "")
    names = (*SENDERS, "registry", "dockerhub")
    document = {
        "version": 1,
        "project": "shop",
        "webhooks": {name: {"env": "HOOK_SECRET"} for name in names},
        "apps": APPS,
    }
    shared.backend.configuration.file.write_text(yaml.safe_dump(document))
    shared.backend.looks.clear()
    shared.server.app.state.shell.slowdown = Slowdown()
    with shared.store.transaction() as connection:
        connection.execute("DELETE FROM deliveries")
    return shared


def send(api: Api, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    """As a host sends it, with headers that aren't ASCII as well."""
    raw = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    return api.client.post(path, content=body, headers=raw)


@pytest.mark.parametrize("name", SENDERS)
@pytest.mark.parametrize("path", ["/hooks", "/hooks/{}"])
def test_push_of_each_host_looks_at_its_app(hooked: Api, name: str, path: str) -> None:
    sample, headers = SENDERS[name]
    body = payload(sample)
    answer = send(hooked, path.format(name), body, headers(body))
    app = f"shop/{LOOKED_AT.get(name, 'gitea')}"
    assert (answer.status_code, answer.json()["apps"]) == (200, [app])
    assert answer.json()["provider"] == name
    ((cause, apps),) = hooked.backend.looks
    assert apps == (app,)
    assert cause.startswith("push to main of shop/")
    assert cause.endswith(f"({name})")


def test_wrong_empty_missing_or_strange_signature_does_nothing(hooked: Api) -> None:
    body = payload("github-push")
    good = senders.github(body)
    wrong = "sha256=" + senders.sign(body, "another secret")
    for changes in ({"X-Hub-Signature-256": value} for value in ("", "sha256=", wrong, "é")):
        assert send(hooked, "/hooks/github", body, good | changes).status_code == 401
    del good["X-Hub-Signature-256"]
    assert send(hooked, "/hooks/github", body, good).status_code == 401
    changed = body.replace(b"main", b"mail", 1)
    assert send(hooked, "/hooks/github", changed, senders.github(body)).status_code == 401
    assert send(hooked, "/hooks/gitea", body, senders.github(body)).status_code == 401
    assert send(hooked, "/hooks", payload("gitea-push"), senders.gitea(b"", secret="")).json() == {
        "message": "Unauthorized"
    }
    assert hooked.backend.looks == []


def test_provider_without_a_secret_or_with_an_empty_one_hears_nobody(hooked: Api) -> None:
    path = hooked.backend.configuration.file
    document = yaml.safe_load(path.read_text())
    body = payload("github-push")
    for webhooks in ({}, {"github": {"env": "EMPTY"}}, {"github": {"env": "UNSET_HOOK_SECRET"}}):
        path.write_text(yaml.safe_dump(document | {"webhooks": webhooks}))
        answer = send(hooked, "/hooks/github", body, senders.github(body, secret=""))
        assert answer.status_code == 403
        assert "UNSET" not in answer.text
    assert hooked.backend.looks == []


def test_nobody_known(hooked: Api) -> None:
    assert send(hooked, "/hooks", b"{}", {}).status_code == 404
    assert send(hooked, "/hooks/nobody", b"{}", {}).status_code == 404
    assert send(hooked, f"/hooks/github/{SECRET}", b"{}", {}).status_code == 404
    assert hooked.client.get("/hooks/github").status_code == 405


@pytest.mark.parametrize(
    ("sample", "event"),
    [
        ("github-ping", "ping"),
        ("github-deletion", "push"),
        ("github-pull-request", "pull_request"),
        ("github-push", "issues"),
    ],
)
def test_event_that_deploys_nothing(hooked: Api, sample: str, event: str) -> None:
    body = payload(sample)
    answer = send(hooked, "/hooks/github", body, senders.github(body, event))
    assert (answer.status_code, answer.json()["apps"]) == (200, [])
    assert hooked.backend.looks == []


def test_tag_looks_at_the_app_with_a_range(hooked: Api) -> None:
    body = payload("github-tag")
    answer = send(hooked, "/hooks/github", body, senders.github(body))
    assert answer.json()["apps"] == ["shop/tagged"]
    assert hooked.backend.looks == [("tag v1.5.0 of shop/api (github)", ("shop/tagged",))]


def test_form_is_signed_as_it_is(hooked: Api) -> None:
    form = senders.as_form(payload("github-push"))
    headers = senders.github(form) | {"Content-Type": senders.FORM}
    assert send(hooked, "/hooks", form, headers).json()["apps"] == ["shop/api"]
    assert send(hooked, "/hooks", form + b"&", headers).status_code == 401


def test_delivery_that_is_sent_again_does_nothing(hooked: Api) -> None:
    body = payload("github-push")
    headers = senders.github(body)
    assert send(hooked, "/hooks/github", body, headers).json()["apps"] == ["shop/api"]
    again = headers | {"X-GitHub-Delivery": "another-id"}
    answer = send(hooked, "/hooks/github", body, again)
    assert (answer.status_code, answer.json()["apps"]) == (200, [])
    assert len(hooked.backend.looks) == 1


def test_deliveries_that_are_remembered_are_bounded(
    hooked: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "KEPT", 3)
    for number in range(10):
        assert deliveries.hear(hooked.store, f"d{number}", float(number))
    assert not deliveries.hear(hooked.store, "d9", 10.0)
    rows = hooked.store.connection.execute("SELECT count(*) AS n FROM deliveries").fetchone()
    assert rows["n"] == 3


@pytest.mark.parametrize(
    ("path", "sample", "apps"),
    [
        (f"/hooks/dockerhub/{SECRET}", "dockerhub-push", ["shop/hub"]),
        (f"/hooks/registry/{SECRET}", "distribution-push", ["shop/image"]),
        ("/hooks/registry", "distribution-push", []),
        ("/hooks/dockerhub/wrong", "dockerhub-push", []),
    ],
)
def test_push_to_a_registry(hooked: Api, path: str, sample: str, apps: list[str]) -> None:
    answer = send(hooked, path, payload(sample), {})
    assert answer.status_code == (200 if apps else 401)
    assert answer.json().get("apps", []) == apps


def test_registry_with_an_authorization_header(hooked: Api) -> None:
    headers = {
        "Authorization": f"Bearer {SECRET}",
        "Content-Type": "application/vnd.docker.distribution.events.v1+json",
    }
    assert send(hooked, "/hooks/registry", payload("distribution-push"), headers).is_success


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[" * 100_000, b"\xff"])
def test_body_that_is_no_json(hooked: Api, body: bytes) -> None:
    assert send(hooked, "/hooks/github", body, senders.github(body)).status_code == 400


def test_body_larger_than_a_call_may_be(hooked: Api) -> None:
    body = payload("github-push", padding="x" * (3 << 20))
    assert send(hooked, "/hooks/github", body, senders.github(body)).is_success
    assert send(hooked, "/hooks/github", b"x" * (5 << 20), {}).status_code == 413


def test_answer_within_50_ms(hooked: Api) -> None:
    def once(number: int) -> float:
        body = payload("github-push", before=f"{number:040}")
        headers = senders.github(body)
        start = time.perf_counter()
        assert send(hooked, "/hooks/github", body, headers).json()["apps"]
        return time.perf_counter() - start

    assert sorted(once(number) for number in range(15))[7] < 0.05


# -- the configuration repository ------------------------------------------------------------


@pytest.mark.parametrize(
    ("branch", "sample", "whole"),
    [("", "github-push", True), ("main", "github-push", True), ("live", "github-push", False)],
)
def test_push_to_the_configuration_repository_looks_at_all(
    hooked: Api, branch: str, sample: str, whole: bool
) -> None:
    class Repository(ConfigFile):
        place = name_place("ssh://git@github.com/shop/api.git", branch, "apps.yaml")
        files = ()

    backend = replace(hooked.backend, configuration=Repository(Path("/none"), Path("/none")))
    backend.spec = hooked.backend.spec  # type: ignore[method-assign]
    backend.looks = []
    shell = Shell(backend)
    body = payload(sample)
    headers = {key.lower(): value for key, value in senders.github(body).items()}
    answer = Hooks(shell, Metrics(hooked.store)).hear("github", Delivery(headers, body))
    shell.threads.close()
    assert len(answer.apps) == (len(APPS) if whole else 1)
    looked_at = () if whole else ("shop/api",)
    assert backend.looks == [("push to main of shop/api (github)", looked_at)]


# -- an app's own URL ------------------------------------------------------------------------


def test_own_url_looks_at_its_app_with_any_body_or_none(hooked: Api) -> None:
    token = hook_token(hooked.store, "shop/api")
    push = payload("github-push")
    for body, headers in (
        (b"", {}),
        (b"anything", {}),
        (b"{}", {"Content-Type": senders.JSON}),
        (push, senders.github(push, secret="of somebody else")),
    ):
        answer = send(hooked, f"/api/deploy/{token}", body, headers)
        assert (answer.status_code, answer.json()["apps"]) == (200, ["shop/api"])
    assert {apps for _, apps in hooked.backend.looks} == {("shop/api",)}


@pytest.mark.parametrize(
    "sample", ["github-tag", "github-deletion", "github-pull-request", "github-ping"]
)
def test_own_url_called_for_something_else(hooked: Api, sample: str) -> None:
    body = payload(sample)
    event = {"github-ping": "ping", "github-pull-request": "pull_request"}.get(sample, "push")
    path = f"/api/deploy/{hook_token(hooked.store, 'shop/api')}"
    answer = send(hooked, path, body, senders.github(body, event))
    assert (answer.status_code, answer.json()["apps"]) == (200, [])
    assert hooked.backend.looks == []


def test_own_url_of_nobody_and_with_get(hooked: Api) -> None:
    token = hook_token(hooked.store, "shop/api")
    assert token == hook_token(hooked.store, "shop/api") != hook_token(hooked.store, "shop/lab")
    for wrong in (token[:-1], token + "a", "a" * 32, "%F0%9F%90%99"):
        assert send(hooked, f"/api/deploy/{wrong}", b"", {}).status_code == 404
    assert hooked.client.get(f"/api/deploy/{token}").status_code == 405
    assert hooked.backend.looks == []


def test_webhooks_are_counted(hooked: Api) -> None:
    def count(result: str) -> float:
        labels = {"provider": "github", "result": result}
        registry = hooked.server.app.state.metrics.registry
        return registry.get_sample_value("reconciler_webhooks_total", labels) or 0.0

    results = ("looked", "replayed", "refused")
    before = [count(result) for result in results]
    body = payload("github-push")
    for _ in range(2):
        send(hooked, "/hooks/github", body, senders.github(body))
    send(hooked, "/hooks/github", body + b" ", senders.github(body))
    assert [count(result) for result in results] == [number + 1 for number in before]


def test_own_url_is_told_to_those_who_may_deploy(api: Api) -> None:
    tokens = {
        scope: api.as_(scope).get("application.one", applicationId="api").json()["refreshToken"]
        for scope in ("read", "deploy")
    }
    assert tokens == {"read": None, "deploy": hook_token(api.store, "shop/api")}
