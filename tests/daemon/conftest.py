"""A daemon in this process, on the fake runtime, with everything else real."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

from reconciler.daemon.logs import make_listener
from reconciler.daemon.loop import Wish
from reconciler.daemon.service import Daemon, Settings
from reconciler.engine.config_file import ConfigFile
from reconciler.engine.desired import Policy
from reconciler.engine.kept import KeptConfiguration, Ledger
from reconciler.engine.reconcile import Pass
from reconciler.engine.wiring import open_tools
from reconciler.host.secrets import Redactor
from reconciler.pipeline.tools import Tools
from reconciler.runtime.fleet import Fleet
from reconciler.spec.loaded import LoadedSpec
from reconciler.testing import FakeRuntime
from tests.support.fake_engine import FakeEngine
from tests.support.machines import Listening

DIGEST = "sha256:" + "ab" * 32


class Watched(Daemon):
    """Remembers what its passes removed, and of how many."""

    def __init__(self, *arguments: Any) -> None:
        self.removals: list[tuple[int, int, int]] = []
        """Of each pass that removes: how many, of how many, and how many apps the spec has."""
        super().__init__(*arguments)

    def _done(self, loaded: LoadedSpec, done: Pass) -> None:
        removed = sum(action.kind == "remove" for action in done.snapshot.plan.actions)
        if removed:
            present = {app for app, found in done.snapshot.observed.apps.items() if found}
            present |= {app for app, one in done.snapshot.recorded.apps.items() if one.serving}
            self.removals.append((removed, len(present), len(loaded.spec.apps)))
        super()._done(loaded, done)


@dataclass
class Yard:
    """A running daemon, its runtime, and its spec's file."""

    daemon: Watched
    runtime: FakeRuntime
    spec: Path
    log: io.StringIO

    def shown(self) -> dict[str, str]:
        """App → what its variable says, of every running container."""
        return {
            one.workload.name: one.workload.env.get("SAYS", "")
            for one in list(self.runtime.containers.values())
            if one.state == "running"
        }

    def edited(self) -> None:
        """What a watcher of files does, at once."""
        self.daemon.ask(Wish("edited"))


def write_spec(
    apps: dict[str, str], at: Mapping[str, Sequence[str]] = MappingProxyType({}), **top: Any
) -> str:
    """A spec whose apps say something each, in the YAML that JSON is: it is quick to write. `at`:
    the hosts of apps that aren't on the local one."""
    section = {
        "source": {"image": "127.0.0.1:1/shop/app"},
        "revision": DIGEST,
        "health": {"command": ["true"]},
        "restart": "no",
    }
    document = {
        "version": 1,
        "project": "shop",
        "concurrency": 8,
        **top,
        "apps": {
            name: {**section, "env": {"SAYS": says}, **({"host": at[name]} if name in at else {})}
            for name, says in apps.items()
        },
    }
    return json.dumps(document, indent=1)


@contextmanager
def yard(
    text: str, machines: Mapping[str, Listening] | None = None, **policy: Any
) -> Iterator[Yard]:
    """A daemon that runs for the block. `machines`: hosts with runtimes of their own; there is no
    local engine then, unless one is named so."""
    with tempfile.TemporaryDirectory(prefix="yard-") as name:
        directory = Path(name)
        spec, state = directory / "apps.yaml", directory / "state"
        spec.write_text(text)
        log, runtime = io.StringIO(), FakeRuntime()
        listener = make_listener("text", log, Redactor())
        with (
            FakeEngine(directory) as engine,
            mock.patch.dict(
                "os.environ", DOCKER_HOST="unix:///nowhere" if machines else engine.url
            ),
            open_tools(state, listener.listen, runtime=runtime) as opened,
        ):
            tools = replace(opened, runtime=_fleet(opened, machines)) if machines else opened
            kept = KeptConfiguration(
                ConfigFile(spec, state), Ledger(tools.store, tools.clock, listener.listen)
            )
            settings = Settings(state, interval=3600, policy=Policy(**policy))
            daemon = Watched(tools, kept, settings, listener)
            daemon.start()
            try:
                yield Yard(daemon, runtime, spec, log)
            finally:
                assert daemon.stop(9.0)
        listener.close()


def _fleet(tools: Tools, machines: Mapping[str, Listening]) -> Fleet:
    def make(_engine: object, _directory: object, host: str) -> Listening:
        return machines[host]

    return Fleet(tools.hosts, tools.store.directory, {"docker": make})
