"""Where containers run. A new runtime is one module here, one line below, one model.

The modules are imported at first use, so that reading the spec costs nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.host.engine import Engine
from reconciler.host.hosts import Hosts
from reconciler.host.secrets import Redactor
from reconciler.runtime.base import MakeRuntime, Runtime
from reconciler.runtime.fleet import Fleet
from reconciler.runtime.proxy import LaterProxy, Proxy


def _docker(engine: Engine, state_dir: Path, host: str) -> Runtime:
    from reconciler.runtime.docker import DockerRuntime

    return DockerRuntime(engine, state_dir, host=host)


def _swarm(engine: Engine, state_dir: Path, host: str) -> Runtime:
    from reconciler.runtime.swarm import SwarmRuntime

    return SwarmRuntime(engine, state_dir, host)


RUNTIMES: Mapping[str, MakeRuntime] = {"docker": _docker, "swarm": _swarm}


def make_fleet(engine: Engine, state_dir: Path, redactor: Redactor | None = None) -> Fleet:
    """Every place that the spec names; `engine` is the local one."""
    return Fleet(Hosts(engine, redactor or Redactor()), state_dir, RUNTIMES)


def make_proxy(engine: Engine, state_dir: Path) -> Proxy:
    """The proxies in front of the apps on one engine."""

    def make() -> Proxy:
        from reconciler.runtime.haproxy import HaProxy

        return HaProxy(engine, state_dir)

    return LaterProxy(make)
