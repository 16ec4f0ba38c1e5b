"""`api`: a server that really listens, on real SQLite and git, with containers in memory.

api.post("application.deploy", applicationId="api")      with the admin's token
api.as_("reader").get("application.one?applicationId=api")
api.work()                                               runs what waits in the queue
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from reconciler import queue
from reconciler.api.server import RunningServer, start_server
from reconciler.engine.config_file import ConfigFile
from reconciler.engine.wiring import retry_delay
from reconciler.host.engine import Engine
from reconciler.host.hosts import Hosts
from reconciler.host.owner import current_owner
from reconciler.host.secrets import Redactor
from reconciler.pipeline.tools import Tools
from reconciler.runtime.fleet import fleet_of
from reconciler.spec.loaded import LoadedSpec
from reconciler.state.store import Store
from reconciler.state.tokens import Token, create_token
from reconciler.testing import FakeRuntime
from tests.support.gitrepo import GitRepo


@dataclass
class FakeBackend:
    """A daemon without a loop: it remembers what was asked of it."""

    tools: Tools
    configuration: ConfigFile
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
        self.backend.configuration.file.write_text(yaml.safe_dump(document, sort_keys=False))

    def claim(self, app: str = "api", owner: str = "") -> queue.Claim:
        """Begin the deployment of the app that waits, as a worker of this process does."""
        (row,) = [row for row in self.store.unfinished(f"shop/{app}") if row.status == "queued"]
        now = self.backend.tools.clock()
        claim = queue.claim(self.store, owner or current_owner(), now, [row.id])
        assert claim is not None
        return claim

    def finish(
        self, outcome: str = "succeeded", reason: str = "", todo: str = "", app: str = "api"
    ) -> str:
        """Begin the deployment of the app, and end it like that; its id."""
        claim = self.claim(app)
        ending = queue.Ending(outcome, reason, todo=todo)
        queue.finish(self.store, claim, ending, self.backend.tools.clock())
        return claim.id


@pytest.fixture(scope="session")
def closing() -> Iterator[ThreadPoolExecutor]:
    """Closes what a test had while the next one runs: a server takes its time to end."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def api(
    tmp_path: Path, git_repo: Callable[[str], GitRepo], closing: ThreadPoolExecutor
) -> Iterator[Api]:
    """With the apps `api` and `web`, whose source is a repository, and a token for each scope."""
    path = tmp_path / "config" / "apps.yaml"
    path.parent.mkdir()
    store, engine, runtime = Store(tmp_path / "state"), Engine(), FakeRuntime()
    fleet = fleet_of(runtime, Hosts(engine), tmp_path)
    tools = Tools(store, engine, fleet, Redactor(), time.time, retry_delay)
    backend = FakeBackend(tools, ConfigFile(path, store.directory))
    server = start_server(backend, "127.0.0.1:0")
    with httpx.Client(base_url=server.url, timeout=30) as client:
        made = Api(backend, server, runtime, client, {})
        for scope in ("read", "deploy", "admin"):
            made.token(scope, scope=scope)
        repo = git_repo("app")
        repo.commit({"Dockerfile": "FROM busybox:stable\n"})
        made.write(
            api={"source": {"git": repo.url}, "env": {"LOG_LEVEL": "info"}},
            web={"source": {"git": repo.url}},
        )
        yield made

    def close() -> None:
        server.stop()
        store.close()
        engine.close()

    closing.submit(close)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Where something listens and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
