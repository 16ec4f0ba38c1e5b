"""`token create|list|revoke`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import run
from reconciler.engine.hook_tokens import hook_token
from reconciler.state.store import Store
from reconciler.state.tokens import find_token


@pytest.fixture
def token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(["token", *arguments, "--state-dir", str(tmp_path / "state")])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_created_token_is_printed_alone_and_once(token: Any, tmp_path: Path) -> None:
    code, out, err = token("create", "ci", "--scope", "deploy", "--apps", "api, web")
    assert (code, out.count("\n")) == (0, 1)
    assert "can't be shown again" in err
    store = Store(tmp_path / "state")
    found = find_token(store, out.strip())
    store.close()
    assert found is not None
    assert (found.name, found.scope, found.apps, found.expires_at) == (
        "ci",
        "deploy",
        ("api", "web"),
        None,
    )
    assert out.strip() not in token("list")[1] + token("list", "-o", "json")[1]


def test_list_and_revoke(token: Any) -> None:
    token("create", "ci", "--scope", "read", "--expires", "90d")
    assert token("create", "ci", "--scope", "read")[0] == 64
    document = json.loads(token("list", "-o", "json")[1])
    (row,) = document["tokens"]
    assert (row["name"], row["state"], row["apps"]) == ("ci", "active", [])
    assert row["expires_at"] > row["created_at"]
    assert token("revoke", "ci")[0] == 0
    assert "revoked" in token("list")[1]
    assert token("revoke", "other")[0] == 64
    code, out, _ = token("create", "ci", "--scope", "admin", "-o", "json")
    assert code == 0
    assert json.loads(out)["token"].startswith("rcl_")


@pytest.mark.parametrize(
    "arguments",
    [
        ["a b", "--scope", "read"],
        ["-", "--scope", "read"],
        ["ci", "--scope", "all"],
        ["ci"],
        ["ci", "--scope", "read", "--apps", ","],
        ["ci", "--scope", "read", "--apps", "Not An App"],
        ["ci", "--scope", "read", "--expires", "tomorrow"],
    ],
)
def test_token_that_makes_no_sense(token: Any, arguments: list[str]) -> None:
    assert token("create", *arguments)[0] == 64


def test_hook_prints_the_path_that_is_the_apps_own(token: Any, tmp_path: Path) -> None:
    spec = tmp_path / "apps.yaml"
    spec.write_text("version: 1\nproject: shop\napps:\n  api: {source: {path: .}}\n")
    code, out, _ = token("hook", "api", "--file", str(spec))
    assert (code, out) == (0, token("hook", "shop/api", "--file", str(spec))[1])
    store = Store(tmp_path / "state")
    assert out == f"/api/deploy/{hook_token(store, 'shop/api')}\n"
    store.close()
    assert token("hook", "nothing", "--file", str(spec))[0] == 64
