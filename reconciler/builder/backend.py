"""Which backend this host builds with: decided at the first build, shown by `reconcile doctor`.

BuildKit needs a docker CLI that speaks it (built in from 18.09 to 22, a plugin from 23 on) and an
engine that serves it. Several CLIs may be installed, and the first on PATH may be the one that
can't.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from reconciler.builder.base import Backend
from reconciler.builder.buildkit import BuildKit
from reconciler.builder.classic import GET_BUILDKIT, Classic
from reconciler.errors import BuildError, ReconcilerError, UsageError
from reconciler.host.engine import Engine, Request
from reconciler.values import frozen

OVERRIDE = "RECONCILE_BUILDER"
_USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", "/snap/bin")
_VERSION = re.compile(r"Docker version (\d+)\.(\d+)\.(\S+?),")
_FIRST_WITH_BUILDKIT = (18, 9)
_FIRST_WITH_PLUGIN = (23, 0)
_FIRST_API = (1, 39)
_lock = threading.Lock()


@frozen
class Choice:
    """The backend, and why it and no other, in one sentence for people."""

    backend: Backend
    reason: str


@frozen
class Cli:
    """A docker CLI. `lacks` says why it can't use BuildKit; empty when it can."""

    path: str
    version: str
    lacks: str = ""


def choose_backend(engine: Engine) -> Choice:
    """The backend for this host. Tens of milliseconds the first time, nothing later, until a
    docker CLI is installed, replaced or removed.

    `RECONCILE_BUILDER=buildkit|classic` decides it. Raises `UsageError` for another value,
    `BuildError` when BuildKit is demanded and can't be used, `EngineUnavailable`.
    """
    with _lock:
        return _choose(engine, os.environ.get(OVERRIDE, ""), find_clis(os.environ))


@functools.lru_cache(maxsize=8)
def _choose(engine: Engine, wanted: str, clis: tuple[tuple[str, int], ...]) -> Choice:
    if wanted == "classic":
        return Choice(Classic(engine), f"the classic builder, as {OVERRIDE} says")
    if wanted not in ("", "buildkit"):
        raise UsageError(
            f"{OVERRIDE} is {wanted!r}", todo=f"Set {OVERRIDE} to buildkit or classic, or unset it."
        )
    lacks = [engine_lacks(engine)]
    for path, _ in () if lacks[0] else clis:
        cli = probe_cli(path)
        if not cli.lacks:
            return Choice(BuildKit(engine, cli.path), f"BuildKit by {cli.path} {cli.version}")
        lacks.append(cli.lacks)
    why = "; ".join(filter(None, lacks)) or "no docker CLI is installed"
    if wanted == "buildkit":
        raise BuildError(f"BuildKit can't be used: {why}", todo=GET_BUILDKIT)
    return Choice(Classic(engine), f"the classic builder, as BuildKit can't be used: {why}")


def start_choosing(engine: Engine) -> threading.Thread:
    """Choose in the background, so that the answer is there when the source is.

    Whatever goes wrong shows up again in `choose_backend`.
    """

    def choose() -> None:
        with contextlib.suppress(ReconcilerError):
            choose_backend(engine)

    thread = threading.Thread(target=choose, name="choose-backend", daemon=True)
    thread.start()
    return thread


def find_clis(environ: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Each docker CLI on PATH and in the usual folders, in that order, with its file's time."""
    folders = [*environ.get("PATH", os.defpath).split(os.pathsep), *_USUAL_FOLDERS]
    found: dict[str, tuple[str, int]] = {}
    for folder in folders:
        path = Path(folder, "docker")
        if folder and os.access(path, os.X_OK) and path.is_file():
            found.setdefault(os.path.realpath(path), (str(path), path.stat().st_mtime_ns))
    return tuple(found.values())


def engine_lacks(engine: Engine) -> str:
    """Why the engine can't serve BuildKit; empty when it can. One GET."""
    headers = engine.send(Request("GET", "/_ping")).headers
    version = headers.get("api-version", "0.0")
    if "libpod-api-version" in headers:
        return "the engine is Podman"
    if headers.get("ostype") == "windows":
        return "the engine runs Windows containers"
    if tuple(int(part) for part in version.split(".")) < _FIRST_API:
        return f"the engine's API is {version}, and BuildKit came with 1.39"
    return ""


def probe_cli(path: str) -> Cli:
    """Ask one CLI for its version, and for its plugin if it needs one. Never asks the engine."""
    match = _VERSION.match(_say(path, "--version"))
    if match is None:
        return Cli(path, "", f"{path} is no docker CLI")
    version, number = f"{match[1]}.{match[2]}.{match[3]}", (int(match[1]), int(match[2]))
    if number < _FIRST_WITH_BUILDKIT:
        return Cli(path, version, f"{path} {version} is too old")
    if number >= _FIRST_WITH_PLUGIN and "buildx" not in _say(path, "buildx", "version"):
        return Cli(path, version, f"{path} {version} has no buildx plugin")
    return Cli(path, version)


def _say(*argv: str) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
