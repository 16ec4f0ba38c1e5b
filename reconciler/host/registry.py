"""Image names, and the credentials for their registries."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.errors import SecretError, TimedOut
from reconciler.host.job import Job
from reconciler.host.limit import limited
from reconciler.host.process import Command, Finished, run_command
from reconciler.host.secrets import Secrets
from reconciler.spec.models import Credentials

HUB = "registry-1.docker.io"
_HUB_NAMES = frozenset(("docker.io", "index.docker.io", HUB))
_HUB_KEY = "https://index.docker.io/v1/"
_HELPER_SECONDS = 30
_TOKEN_USER = "<token>"  # noqa: S105 - what credential helpers say instead of a user name


def split_image(name: str) -> tuple[str, str]:
    """`(registry, repository)` of an image's name without tag, as docker reads it.

    `nginx` → `("registry-1.docker.io", "library/nginx")`,
    `ghcr.io/shop/api` → `("ghcr.io", "shop/api")`.
    """
    first, slash, rest = name.partition("/")
    is_registry = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if not slash or not is_registry:
        first, rest = HUB, name
    if first in _HUB_NAMES:
        return HUB, rest if "/" in rest else f"library/{rest}"
    return first, rest


def registry_auth(
    repository: str, credentials: Credentials | None, secrets: Secrets, app: str
) -> dict[str, str] | None:
    """`{"username", "password"}` for the registry of `repository`, or None for anonymous.

    From the reference if there is one, else from docker's own configuration: `config.json` in
    `DOCKER_CONFIG` or `~/.docker`, with its credential helpers. Where docker has an identity
    token instead of a password, `{"identitytoken"}`, which the engine understands.
    Raises `SecretError`.
    """
    if credentials is not None:
        password = secrets.read(credentials.password, app=app, what="credentials.password")
        return {"username": credentials.username, "password": password}
    auth = _configured(split_image(repository)[0], app)
    for value in (auth or {}).values():
        secrets.redactor.learn(value if auth and value != auth.get("username") else "")
    return auth


def check_registry(repository: str, auth: Mapping[str, str] | None) -> str:
    """One line about the registry of `repository`, when it answers and takes the credentials.

    Raises `RegistryUnavailable`.
    """
    from reconciler.host.registry_client import RegistryClient

    with RegistryClient(repository, auth) as client:
        client.check()
    who = f" and takes the account {auth['username']}" if auth and "username" in auth else ""
    return f"{split_image(repository)[0]} answers{who}"


# Docker's configuration


def _configured(registry: str, app: str) -> dict[str, str] | None:
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    config = _load(path, app)
    names = (*sorted(_HUB_NAMES), _HUB_KEY) if registry == HUB else (registry,)
    helpers = config.get("credHelpers") or {}
    helper = next((helpers[name] for name in names if name in helpers), config.get("credsStore"))
    if helper:
        server = _HUB_KEY if registry == HUB else registry
        found = _ask_helper(str(helper), server, app)
        if found:
            return found
    for key, entry in (config.get("auths") or {}).items():
        if _host_of(key) in map(_host_of, names) and entry:
            return _decode(entry, path, app)
    return None


def _load(path: Path, app: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _broken(path, error.strerror or str(error), app) from None
    except ValueError:
        raise _broken(path, "it isn't JSON", app) from None
    return config if isinstance(config, dict) else {}


def _broken(path: Path, reason: str, app: str) -> SecretError:
    return SecretError(
        f"docker's configuration {path} can't be used: {reason}",
        app=app,
        todo="Repair it with `docker login`, or give credentials by reference in the spec.",
    )


def _host_of(key: str) -> str:
    return re.sub(r"^https?://", "", key).partition("/")[0]


def _decode(entry: Mapping[str, str], path: Path, app: str) -> dict[str, str] | None:
    if token := entry.get("identitytoken"):
        return {"identitytoken": token}
    if "username" in entry and "password" in entry:
        return {"username": entry["username"], "password": entry["password"]}
    if not entry.get("auth"):
        return None
    try:
        pair = base64.b64decode(entry["auth"], validate=True).decode()
    except ValueError:
        raise _broken(path, "an 'auth' in it isn't base64", app) from None
    username, _, password = pair.partition(":")
    return {"username": username, "password": password.strip("\0")}


def _ask_helper(helper: str, server: str, app: str) -> dict[str, str] | None:
    done = _run_helper(helper, server, app)
    said = (done.stdout + done.stderr).strip()
    if done.returncode and "not found" in said:
        return None
    try:
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        # Not what it printed: that may hold half a secret.
        raise _helper_failed(helper, server, f"it exited with {done.returncode}", app) from None
    if username == _TOKEN_USER:
        return {"identitytoken": secret}
    return {"username": username, "password": secret}


def _run_helper(helper: str, server: str, app: str) -> Finished:
    command = Command([f"docker-credential-{helper}", "get"], stdin=server.encode())
    try:
        with limited(Job(app), _HELPER_SECONDS) as job:
            return run_command(command, job)
    except TimedOut as error:
        raise _helper_failed(helper, server, error.what, app) from None


def _helper_failed(helper: str, server: str, reason: str, app: str) -> SecretError:
    return SecretError(
        f"docker's credential helper {helper} gave nothing for {server}: {reason}",
        app=app,
        todo=f"Try `echo {server} | docker-credential-{helper} get`, or give credentials by "
        "reference in the spec.",
    )
