"""`api`: a server that really listens, on real SQLite and git, with containers in memory.

api.post("application.deploy", applicationId="api")      with the admin's token
api.as_("reader").get("application.one?applicationId=api")
api.work()                                               runs what waits in the queue
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from reconciler.api.server import RunningServer, start_server
from reconciler.engine.configuration import Change
from reconciler.engine.wiring import retry_delay
from reconciler.engine.worker import Workers
from reconciler.host.engine import Engine
from reconciler.host.secrets import Redactor
from reconciler.pipeline.tools import Tools
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.loader import load_spec
from reconciler.state.store import Store
from reconciler.state.tokens import Token, create_token
from reconciler.testing import FakeRuntime


@dataclass
class FileConfiguration:
    """A spec in a file here."""

    path: Path

    @property
    def place(self) -> str:
        return str(self.path)

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def load(self) -> LoadedSpec:
        return load_spec(self.path)

    def edit(self, change: Change, message: str) -> str:  # noqa: ARG002
        for path, data in change({self.path: self.path.read_bytes()}).items():
            path.write_bytes(data)
        return ""


@dataclass
class FakeBackend:
    """A daemon without a loop: it remembers what was asked of it."""

    tools: Tools
    configuration: FileConfiguration
    looks: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    wakes: int = 0

    def spec(self) -> LoadedSpec:
        return self.configuration.load()

    def look(self, cause: str, apps: Collection[str] = ()) -> None:
        self.looks.append((cause, tuple(apps)))

    def wake(self) -> None:
        self.wakes += 1


@dataclass
class Api:
    """A running server and a client of it."""

    backend: FakeBackend
    server: RunningServer
    runtime: FakeRuntime
    client: httpx.Client
    tokens: dict[str, str]
    name: str = "admin"

    @property
    def store(self) -> Store:
        return self.backend.tools.store

    @property
    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.tokens[self.name]} if self.name else {}

    def as_(self, name: str) -> Api:
        """The same with another token; with none for an empty name."""
        return Api(self.backend, self.server, self.runtime, self.client, self.tokens, name)

    def token(self, name: str, **fields: Any) -> str:
        """Make a token."""
        now = self.backend.tools.clock()
        plain = create_token(self.store, Token(**{"name": name, "scope": "read", **fields}), now)
        self.tokens[name] = plain
        return plain

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.client.get(f"/api/{path}", params=params or None, headers=self.headers)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.client.post(f"/api/{path}", json=body, headers=self.headers)

    def write(self, **apps: Any) -> None:
        """Write the spec: its apps by name."""
        document = {"version": 1, "project": "shop", "apps": apps}
        self.backend.configuration.path.write_text(yaml.safe_dump(document, sort_keys=False))

    def work(self) -> None:
        """Run everything that waits to its end."""
        ids = [row.id for row in self.store.unfinished()]
        Workers(self.backend.tools, 4, ids).run_to_end()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """With the apps `api` and `web`, whose source is an image, and a token for each scope."""
    path = tmp_path / "config" / "apps.yaml"
    path.parent.mkdir()
    store, engine, runtime = Store(tmp_path / "state"), Engine(), FakeRuntime()
    tools = Tools(store, engine, runtime, Redactor(), time.time, retry_delay)
    backend = FakeBackend(tools, FileConfiguration(path))
    server = start_server(backend, "127.0.0.1:0")
    with httpx.Client(base_url=server.url, timeout=30) as client:
        made = Api(backend, server, runtime, client, {})
        for scope in ("read", "deploy", "admin"):
            made.token(scope, scope=scope)
        (path.parent / "web").mkdir()
        made.write(
            api={"source": {"path": "./web"}, "env": {"LOG_LEVEL": "info"}},
            web={"source": {"path": "./web"}},
        )
        yield made
    server.stop()
    store.close()
    engine.close()
