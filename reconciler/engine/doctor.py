"""Checks of what reconciling needs: what works, what doesn't, and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from reconciler.errors import ReconcilerError
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.host.process import Command, run_command
from reconciler.host.ready import is_ready
from reconciler.host.secrets import Secrets
from reconciler.queue import is_orphan
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import ImageSource
from reconciler.state.store import Store
from reconciler.values import frozen

LOW_DISK_BYTES = 1 << 30


@frozen
class Finding:
    """One check. `level`: ok, warning or error; `todo` what to do about it."""

    level: str
    subject: str
    text: str
    todo: str = ""


def examine(state_dir: Path, loaded: LoadedSpec | None, now: float) -> Iterator[Finding]:
    """All checks in order, each as soon as it has been made. Changes nothing but a test file."""
    engine = Engine()
    yield from _guarded("engine", lambda: _engine(engine))
    yield from _guarded("builder", lambda: _builder(engine))
    yield from _guarded("git", _git)
    yield from _guarded("state", lambda: _state(state_dir, now))
    if loaded is not None:
        for name, repository in _registries(loaded):
            yield from _guarded("registry", partial(_registry, loaded, name, repository))
    engine.close()


def examine_quickly(state_dir: Path) -> Iterator[Finding]:
    """Only whether the engine answers, the state can be read, and the daemon is ready where that is
    asked for: for a container's HEALTHCHECK."""
    if (ready := is_ready()) is not None:
        text = "the daemon leads or stands by" if ready else "no daemon is ready here"
        todo = "" if ready else "Wait, or look at its log."
        yield Finding("ok" if ready else "error", "daemon", text, todo)
    yield from _guarded("engine", _ping)
    yield from _guarded("state", lambda: _readable(state_dir))


def _ping() -> Iterator[Finding]:
    engine = Engine()
    version = engine.get("/version")["Version"]
    yield Finding("ok", "engine", f"{engine.url}: Docker {version}")


def _readable(state_dir: Path) -> Iterator[Finding]:
    store = Store(state_dir)
    count = len(store.unfinished())
    store.close()
    yield Finding("ok", "state", f"{state_dir}: {count} deployments on their way")


def _guarded(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except ReconcilerError as error:
        yield Finding("error", subject, error.what, error.todo)


def _engine(engine: Engine) -> Iterator[Finding]:
    version = engine.get("/version")
    yield Finding(
        "ok", "engine", f"{engine.url}: Docker {version['Version']}, API {version['ApiVersion']}"
    )
    info = engine.get("/info")
    root = str(info.get("DockerRootDir") or "")
    if root and Path(root).is_dir():
        yield from _space("engine", Path(root))


def _builder(engine: Engine) -> Iterator[Finding]:
    from reconciler.builder.backend import choose_backend

    choice = choose_backend(engine)
    level = "ok" if choice.backend.name == "buildkit" else "warning"
    todo = "" if level == "ok" else "For build secrets, install a docker CLI with BuildKit."
    yield Finding(level, "builder", f"{choice.backend.name}: {choice.reason}", todo)


def _git() -> Iterator[Finding]:
    done = run_command(Command(["git", "--version"]), Job())
    yield Finding("ok", "git", done.stdout.strip())


def _state(state_dir: Path, now: float) -> Iterator[Finding]:
    store = Store(state_dir)
    try:
        probe = state_dir / "doctor.tmp"
        probe.write_bytes(b"x")
        probe.unlink()
        yield Finding("ok", "state", f"{state_dir} is writable")
        yield from _space("state", state_dir)
        check = store.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        level = "ok" if check == "ok" else "error"
        yield Finding(level, "state", f"the database's integrity: {check}")
        for row in store.unfinished():
            if row.status == "running":
                yield _owner(row.app, row.id, orphan=is_orphan(row, now))
    except OSError as error:
        todo = "Free space, or choose another --state-dir."
        yield Finding("error", "state", f"{state_dir}: {error.strerror}", todo)
    finally:
        store.close()


def _owner(app: str, deployment: str, *, orphan: bool) -> Finding:
    if orphan:
        text = f"{app}: the process of deployment {deployment} has died"
        return Finding("warning", "queue", text, "Run `reconcile apply`; it resumes or ends it.")
    return Finding("ok", "queue", f"{app}: deployment {deployment} is running")


def _space(subject: str, directory: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(directory).free
    text = f"{directory} has {free >> 20} MiB free"
    if free < LOW_DISK_BYTES:
        todo = "Free space; `reconcile gc --dry-run` shows what could go."
        yield Finding("warning", subject, text, todo)
    else:
        yield Finding("ok", subject, text)


def _registries(loaded: LoadedSpec) -> list[tuple[str, str]]:
    """`(app, repository)`: the first app of each registry that the spec names."""
    from reconciler.host.registry import split_image

    found: dict[str, tuple[str, str]] = {}
    for name, app in loaded.spec.apps.items():
        names = [app.source.image] if isinstance(app.source, ImageSource) else []
        names += [app.image.repository] if app.image and app.image.push else []
        for repository in names:
            found.setdefault(split_image(repository)[0], (name, repository))
    return sorted(found.values())


def _registry(loaded: LoadedSpec, name: str, repository: str) -> Iterator[Finding]:
    from reconciler.host.registry import check_registry, registry_auth

    app = loaded.spec.apps[name]
    image = app.image if app.image and app.image.repository == repository else None
    credentials = image.credentials if image else getattr(app.source, "credentials", None)
    secrets = Secrets(loaded.base_dir(name))
    auth = registry_auth(repository, credentials, secrets, f"{loaded.spec.project}/{name}")
    yield Finding("ok", "registry", check_registry(repository, auth))
