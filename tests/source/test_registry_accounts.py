"""Names of images, and the accounts that docker's own configuration has for registries."""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import SecretError, Stalled
from reconciler.host.registry import registry_auth, split_image
from reconciler.source.base import Workplace


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nginx", ("registry-1.docker.io", "library/nginx")),
        ("shop/api", ("registry-1.docker.io", "shop/api")),
        ("docker.io/nginx", ("registry-1.docker.io", "library/nginx")),
        ("index.docker.io/a/b", ("registry-1.docker.io", "a/b")),
        ("ghcr.io/shop/api", ("ghcr.io", "shop/api")),
        ("localhost/x", ("localhost", "x")),
        ("host:5000/x/y/z", ("host:5000", "x/y/z")),
        ("[::1]:5000/x", ("[::1]:5000", "x")),
    ],
)
def test_image_name_split(name: str, expected: tuple[str, str]) -> None:
    assert split_image(name) == expected


HELPER = """#!/bin/sh
test "$1" = get || exit 2
read server
case $server in
known.example) echo '{"ServerURL": "known", "Username": "me", "Secret": "s3cret-pass"}';;
token.example) echo '{"ServerURL": "token", "Username": "<token>", "Secret": "s3cret-token"}';;
https://index.docker.io/v1/) echo '{"Username": "hub", "Secret": "s3cret-hub"}';;
broken.example) echo '{"Username": "me", "Secret": "s3cret-half';;
*) echo "credentials not found in native keychain"; exit 1;;
esac
"""


@pytest.fixture
def docker_config(no_docker_config: Path) -> Callable[..., None]:
    """docker_config(auths=…, credsStore=…) writes docker's configuration."""

    def write(**settings: object) -> None:
        (no_docker_config / "config.json").write_text(json.dumps(settings))

    return write


@pytest.fixture
def helper(
    docker_config: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin/docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    auths = {"plain.example": {"auth": base64.b64encode(b"me:p:w").decode()}}
    docker_config(credsStore="test", auths=auths)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("known.example/x", {"username": "me", "password": "s3cret-pass"}),
        ("token.example/x", {"identitytoken": "s3cret-token"}),
        ("nginx", {"username": "hub", "password": "s3cret-hub"}),
        ("plain.example/x", {"username": "me", "password": "p:w"}),
        ("other.example/x", None),
    ],
)
def test_docker_credential_helper(
    workplace: Workplace, helper: None, image: str, expected: dict[str, str] | None
) -> None:
    assert registry_auth(image, None, workplace.secrets, "shop/api") == expected
    for secret in ("s3cret-pass", "s3cret-token", "s3cret-hub"):
        known = expected is not None and secret in expected.values()
        assert (workplace.secrets.redactor.hide(secret) != secret) is known


def test_docker_credential_helper_broken(workplace: Workplace, helper: None) -> None:
    with pytest.raises(SecretError) as raised:
        registry_auth("broken.example/x", None, workplace.secrets, "shop/api")
    assert "s3cret" not in str(raised.value)


def test_docker_credential_helper_missing(
    workplace: Workplace, docker_config: Callable[..., None]
) -> None:
    docker_config(credHelpers={"known.example": "no-such-helper"})
    assert registry_auth("other.example/x", None, workplace.secrets, "shop/api") is None
    with pytest.raises(Stalled, match="'docker-credential-no-such-helper' isn't installed"):
        registry_auth("known.example/x", None, workplace.secrets, "shop/api")


@pytest.mark.parametrize(
    ("auths", "image", "user"),
    [
        ({"https://index.docker.io/v1/": "hub"}, "nginx", "hub"),
        ({"docker.io": "hub"}, "shop/api", "hub"),
        ({"https://ghcr.io": "gh"}, "ghcr.io/shop/api", "gh"),
        ({"host:5000": "me"}, "host:5000/x", "me"),
        ({"host:5000": "me"}, "host:5001/x", None),
        ({"ghcr.io": "gh"}, "nginx", None),
    ],
)
def test_docker_config_entry(
    workplace: Workplace,
    docker_config: Callable[..., None],
    auths: dict[str, str],
    image: str,
    user: str | None,
) -> None:
    entries = {
        key: {"auth": base64.b64encode(f"{name}:pass".encode()).decode()}
        for key, name in auths.items()
    }
    docker_config(auths=entries)
    found = registry_auth(image, None, workplace.secrets, "shop/api")
    assert (found or {}).get("username") == user


@pytest.mark.parametrize("text", ["{", '{"auths": {"a.example": {"auth": "%%%"}}}'])
def test_docker_config_broken(workplace: Workplace, no_docker_config: Path, text: str) -> None:
    (no_docker_config / "config.json").write_text(text)
    with pytest.raises(SecretError, match=r"config\.json"):
        registry_auth("a.example/x", None, workplace.secrets, "shop/api")


def test_docker_config_without_the_entry(workplace: Workplace, no_docker_config: Path) -> None:
    assert registry_auth("a.example/x", None, workplace.secrets, "shop/api") is None
    (no_docker_config / "config.json").write_text('{"auths": {"a.example": {}}}')
    assert registry_auth("a.example/x", None, workplace.secrets, "shop/api") is None
