"""Checks of what reconciling needs: what works, what doesn't, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from reconciler.engine.doctor_hosts import examine_hosts, needs_local, read_auth, registries_of
from reconciler.engine.findings import Finding, guarded, measure_space
from reconciler.host.engine import Engine
from reconciler.host.hosts import Hosts
from reconciler.host.job import Job
from reconciler.host.process import Command, run_command
from reconciler.host.ready import is_ready
from reconciler.queue import is_orphan
from reconciler.spec.hosts import LOCAL
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import ImageSource
from reconciler.state.store import Store


def examine(state_dir: Path, loaded: LoadedSpec | None, now: float) -> Iterator[Finding]:
    """All checks in order, each as soon as it has been made. Changes nothing but a test file."""
    engine = Engine()
    hosts = Hosts(engine)
    if loaded is not None:
        hosts.learn(loaded.spec.hosts, loaded.path.parent, loaded.spec.build_host)
    try:
        if loaded is None or needs_local(loaded):
            yield from guarded("engine", lambda: _engine(engine))
        else:
            yield _NOT_LOCAL
        if loaded is None or _builds(loaded):
            yield from guarded("builder", lambda: _builder(hosts))
        yield from guarded("git", _git)
        yield from guarded("state", lambda: _state(state_dir, now))
        if loaded is not None:
            for name, repository in registries_of(loaded, ""):
                yield from guarded("registry", partial(_registry, loaded, name, repository))
            yield from examine_hosts(hosts, loaded)
    finally:
        hosts.close()
        engine.close()


def examine_quickly(state_dir: Path, loaded: LoadedSpec | None) -> Iterator[Finding]:
    """Only whether the local engine answers, where it is needed, the state can be read, and the
    daemon is ready where that is asked for: for a container's HEALTHCHECK. Another host that is
    away is no fault of the daemon's."""
    if (ready := is_ready()) is not None:
        text = "the daemon leads or stands by" if ready else "no daemon is ready here"
        todo = "" if ready else "Wait, or look at its log."
        yield Finding("ok" if ready else "error", "daemon", text, todo)
    if loaded is None or needs_local(loaded):
        yield from guarded("engine", _ping)
    else:
        yield _NOT_LOCAL
    yield from guarded("state", lambda: _readable(state_dir))


_NOT_LOCAL = Finding("ok", "engine", "no app needs the local engine")


def _builds(loaded: LoadedSpec) -> bool:
    return any(not isinstance(app.source, ImageSource) for app in loaded.spec.apps.values())


def _ping() -> Iterator[Finding]:
    engine = Engine()
    version = engine.get("/version")["Version"]
    yield Finding("ok", "engine", f"{engine.url}: Docker {version}")


def _readable(state_dir: Path) -> Iterator[Finding]:
    store = Store(state_dir)
    count = len(store.unfinished())
    store.close()
    yield Finding("ok", "state", f"{state_dir}: {count} deployments on their way")


def _engine(engine: Engine) -> Iterator[Finding]:
    version = engine.get("/version")
    yield Finding(
        "ok", "engine", f"{engine.url}: Docker {version['Version']}, API {version['ApiVersion']}"
    )
    info = engine.get("/info")
    root = str(info.get("DockerRootDir") or "")
    if root and Path(root).is_dir():
        yield from measure_space("engine", Path(root))


def _builder(hosts: Hosts) -> Iterator[Finding]:
    from reconciler.builder.backend import choose_backend

    where = "" if hosts.build_host == LOCAL else f" on {hosts.build_host}"
    choice = choose_backend(hosts.engine(hosts.build_host))
    level = "ok" if choice.backend.name == "buildkit" else "warning"
    todo = "" if level == "ok" else "For build secrets, install a docker CLI with BuildKit."
    yield Finding(level, "builder", f"{choice.backend.name}{where}: {choice.reason}", todo)


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
        yield from measure_space("state", state_dir)
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


def _registry(loaded: LoadedSpec, name: str, repository: str) -> Iterator[Finding]:
    from reconciler.host.registry import check_registry

    auth = read_auth(loaded, name, repository)
    yield Finding("ok", "registry", check_registry(repository, auth))
