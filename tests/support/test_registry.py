"""A private registry: pushing, pulling, refusing, deleting, being away."""

import subprocess
from collections.abc import Callable

import pytest

from tests.support.engine import DockerFailed, PrivateEngine
from tests.support.registry import PrivateRegistry


def test_registry_push_and_pull(
    engine: PrivateEngine, registry: PrivateRegistry, project: str
) -> None:
    digest = registry.put(project, "1.0", "busybox:stable")
    assert digest.startswith("sha256:")
    assert registry.tags(project) == ["1.0"]
    engine.docker("pull", f"{registry.address}/{project}@{digest}")


def test_registry_manifest_deleted(registry: PrivateRegistry, project: str) -> None:
    digest = registry.put(project, "1.0", "busybox:stable")
    registry.request("DELETE", f"/v2/{project}/manifests/{digest}")
    assert registry.tags(project) == []


def test_registry_auth_refuses_strangers(
    engine: PrivateEngine, registry_auth: PrivateRegistry, project: str
) -> None:
    assert registry_auth.put(project, "1", "busybox:stable")
    name = f"{registry_auth.address}/{project}:1"
    engine.docker("logout", registry_auth.address)
    with pytest.raises(DockerFailed, match="no basic auth credentials"):
        engine.docker("pull", name)
    registry_auth.login()
    engine.docker("pull", name)


def test_registry_auth_wrong_password(
    engine: PrivateEngine, registry_auth: PrivateRegistry
) -> None:
    argv = ("login", "--username", registry_auth.user, "--password-stdin", registry_auth.address)
    with pytest.raises(DockerFailed, match="401"):
        engine.docker(*argv, stdin="wrong")


def test_registry_away_and_back(
    engine: PrivateEngine, make_registry: Callable[..., PrivateRegistry], project: str
) -> None:
    own = make_registry(engine)
    digest = own.put(project, "1", "busybox:stable")
    own.stop()
    with pytest.raises(subprocess.CalledProcessError, match="refused"):
        engine.docker("pull", f"{own.address}/{project}:1")
    own.start()
    assert own.digest(project, "1") == digest
