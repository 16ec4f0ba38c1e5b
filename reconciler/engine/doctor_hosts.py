"""Checks of every host that the spec names, side by side, and of the Swarms behind them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from reconciler.engine.doctor_swarm import CALL_SECONDS, examine_swarm, swarms_of
from reconciler.engine.findings import Finding, guarded, measure_space
from reconciler.host.engine import Answer, Engine, Request
from reconciler.host.hosts import Hosts
from reconciler.host.secrets import Secrets
from reconciler.spec.hosts import LOCAL
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import App, ImageSource

REGISTRY_SECONDS = 15.0
PATIENCE_SECONDS = 45.0
"""The longest wait for all that is asked side by side."""
_MOST_AT_ONCE = 16
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404

Check = tuple[str, Callable[[], Iterator[Finding]]]


def needs_local(loaded: LoadedSpec) -> bool:
    """Whether anything runs, or is built, on the local engine."""
    apps = loaded.spec.apps.values()
    builds = any(not isinstance(app.source, ImageSource) for app in apps)
    return (
        not apps
        or any(LOCAL in app.host for app in apps)
        or (builds and loaded.spec.build_host == LOCAL)
    )


def examine_hosts(hosts: Hosts, loaded: LoadedSpec) -> Iterator[Finding]:
    """In the order of the spec."""
    apps = loaded.spec.apps
    checks: list[Check] = [
        (f"host {name}", functools.partial(_examine_host, hosts, loaded, name))
        for name in loaded.spec.hosts
    ]
    for managers, names in swarms_of(loaded).items():
        own = {name: apps[name] for name in names}
        check = functools.partial(examine_swarm, hosts, managers, own)
        checks.append((f"swarm {managers[0]}", check))
    yield from run_side_by_side(checks)


def run_side_by_side(
    checks: Sequence[Check], patience: float = PATIENCE_SECONDS
) -> Iterator[Finding]:
    """What they find, in their order. One that takes longer than all may is a finding as well."""
    if not checks:
        return
    from concurrent.futures import ThreadPoolExecutor
    from concurrent.futures import TimeoutError as TooLate

    pool = ThreadPoolExecutor(min(len(checks), _MOST_AT_ONCE))
    try:
        asked = [(subject, pool.submit(lambda s, c: list(guarded(s, c)), subject, check))
                 for subject, check in checks]  # fmt: skip
        for subject, answer in asked:
            try:
                yield from answer.result(patience)
            except TooLate:
                yield Finding("error", subject, f"no answer within {patience:g} s")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _examine_host(hosts: Hosts, loaded: LoadedSpec, name: str) -> Iterator[Finding]:
    subject, engine = f"host {name}", hosts.engine(name)
    version = engine.get("/version", timeout=CALL_SECONDS)
    text = f"{engine.url}: Docker {version['Version']}, API {version['ApiVersion']}"
    yield Finding("ok", subject, text)
    if engine.access.scheme == "tcp" and not engine.access.uses_tls:
        yield Finding(
            "warning", subject, "its connection is neither secret nor protected", "Give `tls`."
        )
    if engine.access.is_here and not engine.access.address:
        root = Path(str(engine.get("/info", timeout=CALL_SECONDS).get("DockerRootDir") or ""))
        if root.name and root.is_dir():
            yield from measure_space(subject, root)
    for app, repository in registries_of(loaded, name):
        check = functools.partial(_registry_from, engine, loaded, app, repository)
        yield from guarded(subject, check)


def registries_of(loaded: LoadedSpec, host: str) -> list[tuple[str, str]]:
    """`(app, repository)`: the first app of each registry that images come from to a host; an
    empty `host` stands for all, and for those that are pushed to."""
    from reconciler.host.registry import split_image

    found: dict[str, tuple[str, str]] = {}
    for name, app in loaded.spec.apps.items():
        if host and host not in app.host:
            continue
        names = [app.source.image] if isinstance(app.source, ImageSource) else []
        names += [app.image.repository] if app.image and app.image.push else []
        for repository in names:
            found.setdefault(split_image(repository)[0], (name, repository))
    return sorted(found.values())


def read_auth(loaded: LoadedSpec, name: str, repository: str) -> dict[str, str] | None:
    """What the registry wants, of an app that uses the repository. Raises `SecretError`."""
    from reconciler.host.registry import registry_auth

    app: App = loaded.spec.apps[name]
    image = app.image if app.image and app.image.repository == repository else None
    credentials = image.credentials if image else getattr(app.source, "credentials", None)
    secrets = Secrets(loaded.base_dir(name))
    return registry_auth(repository, credentials, secrets, f"{loaded.spec.project}/{name}")


def _registry_from(
    engine: Engine, loaded: LoadedSpec, app: str, repository: str
) -> Iterator[Finding]:
    """The engine asks it for an image, whether that is there or not; nothing is pulled."""
    from reconciler.host.images import encode_auth

    auth = read_auth(loaded, app, repository)
    headers = {"X-Registry-Auth": encode_auth(auth)} if auth else {}
    request = Request("GET", f"/distribution/{repository}:latest/json", headers=headers)
    yield judge_registry(engine.access.name, repository, engine.send(request, REGISTRY_SECONDS))


def judge_registry(host: str, repository: str, answer: Answer) -> Finding:
    """What an engine's answer says of the way to a registry."""
    from reconciler.host.registry import split_image

    registry = split_image(repository)[0]
    if answer.ok or answer.status == _NOT_FOUND or "manifest unknown" in answer.message:
        return Finding("ok", f"host {host}", f"reaches the registry {registry}")
    if answer.status in (_UNAUTHORIZED, _FORBIDDEN):
        text = f"{registry} refuses it: {answer.message}"
        return Finding("warning", f"host {host}", text, "Check the app's credentials.")
    text = f"doesn't reach the registry {registry}: {answer.message}"
    todo = "Check names, firewalls and `insecure-registries` on that host."
    return Finding("error", f"host {host}", text, todo)
