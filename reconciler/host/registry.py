"""Image names, and the credentials for their registries."""

from __future__ import annotations

from reconciler.host.secrets import Secrets
from reconciler.spec.models import Credentials


def registry_auth(
    repository: str, credentials: Credentials | None, secrets: Secrets, app: str
) -> dict[str, str] | None:
    """`{"username", "password"}` for the registry of `repository`, or None for anonymous.

    From the reference if there is one, else from docker's own configuration (`config.json` and
    its credential helpers).
    """
    if credentials is not None:
        password = secrets.read(credentials.password, app=app, what="credentials.password")
        return {"username": credentials.username, "password": password}
    import docker.auth

    config = docker.auth.load_config()
    registry, _ = docker.auth.resolve_repository_name(repository)
    found = docker.auth.resolve_authconfig(config, registry)
    if not found:
        return None
    secrets.redactor.learn(found.get("password") or "")
    return {"username": found["username"], "password": found["password"]}
