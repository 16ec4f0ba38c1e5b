"""A project with very many apps that are all as they shall be: its spec in several files, its state
with some history, and what a list of containers shows, without an engine.

Of twenty apps, seventeen run an image by its digest, two come from one of four git repositories
(with a directory of their own in it), and one is a directory beside the spec. One in ten has a
secret. On several hosts, each has its share of the apps.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from reconciler.engine.desired import Resolver, Target
from reconciler.engine.requests import Asked, target_request
from reconciler.host.engine import Engine
from reconciler.host.hosts import Hosts
from reconciler.host.labels import LABEL_BUILD_HASH, LABEL_REVISION, LABEL_RUN_HASH
from reconciler.host.secrets import Redactor
from reconciler.pipeline.tools import Tools
from reconciler.plan.hashes import build_hash, run_hash
from reconciler.plan.states import Container, Recorded
from reconciler.runtime.base import Workload
from reconciler.runtime.fleet import Fleet
from reconciler.spec.loader import load_spec
from reconciler.spec.models import App
from reconciler.spec.plain import from_plain
from reconciler.state.apps import Version, adopt, record_version
from reconciler.state.store import Store
from reconciler.testing import SERVING, FakeContainer, FakeRuntime
from tests.support.gitrepo import GitRepo

SomeRuntime = TypeVar("SomeRuntime", bound=FakeRuntime)
PROJECT = "shop"
REPOSITORIES = 4
APPS_IN_FILE = 250
HISTORY = 4
"""Older deployments of each app."""


@dataclass(frozen=True)
class Listed:
    """One container, as far as a list shows it."""

    app: str
    id: str
    deployment: str
    image_id: str
    build_hash: str
    run_hash: str
    revision: str
    host: str


@dataclass(frozen=True)
class Estate:
    """The project below `directory`."""

    directory: Path

    @property
    def spec(self) -> Path:
        return self.directory / "spec" / "apps.yaml"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def listed(self) -> list[Listed]:
        """What runs."""
        return [Listed(**one) for one in json.loads((self.directory / "listed.json").read_text())]


def make_estate(directory: Path, apps: int, hosts: int = 1) -> Estate:
    """Write everything down, as though it had been deployed. One host is the local one."""
    estate = Estate(directory)
    sections = {f"app-{number:05}": _section(directory, number) for number in range(apps)}
    names = [f"host-{number:03}" for number in range(hosts)] if hosts > 1 else []
    for number, section in enumerate(sections.values() if names else ()):
        section["host"] = names[number % hosts]
    _make_sources(directory, apps)
    _write_spec(estate, sections, names)
    with closing(Store(estate.state)) as store:
        tools = make_tools(store, {})
        loaded = load_spec(estate.spec, estate.state / "spec")
        names = [f"{PROJECT}/{name}" for name in loaded.spec.apps]
        targets = Resolver(tools, loaded, Recorded({})).resolve(names)
        listed = [_listed(number, target) for number, target in enumerate(targets.values())]
        (directory / "listed.json").write_text(json.dumps([asdict(one) for one in listed]))
        with store.transaction() as connection:
            for one, target in zip(listed, targets.values(), strict=True):
                _record(connection, one, target)
            _write_history(connection)
    return estate


def make_tools(store: Store, runtimes: Mapping[str, FakeRuntime]) -> Tools:
    """Tools whose engines are these runtimes, by the name of their host."""
    engine = Engine("unix:///nonexistent")
    fleet = Fleet(
        Hosts(engine),
        store.directory,
        {"docker": lambda _, _dir, host: runtimes[host]},
        ping=lambda _engine: None,
    )
    return Tools(
        store=store,
        engine=engine,
        runtime=fleet,
        redactor=Redactor(),
        clock=time.time,
        retry_delay=lambda _error, _attempts: None,
    )


def make_runtimes(
    listed: Iterable[Listed], make: Callable[[], SomeRuntime]
) -> dict[str, SomeRuntime]:
    """A runtime for each host, in which the containers run already."""
    app = from_plain(App, {"source": {"image": "app"}})
    runtimes: dict[str, SomeRuntime] = defaultdict(make)
    for number, one in enumerate(listed):
        labels = {
            LABEL_BUILD_HASH: one.build_hash,
            LABEL_RUN_HASH: one.run_hash,
            LABEL_REVISION: one.revision,
        }
        workload = Workload(
            app=one.app,
            deployment=one.deployment,
            image_id=one.image_id,
            spec=app,
            env={},
            base_dir=Path("/"),
            labels=labels,
            host=one.host,
        )
        container = FakeContainer(one.id, workload, number, "running", SERVING)
        runtimes[one.host].containers[one.id] = container
    return dict(runtimes)


def _section(directory: Path, number: int) -> dict[str, Any]:
    section: dict[str, Any] = {
        "env": {"LOG_LEVEL": "info", "NUMBER": number, "FEATURES": "search,cart,checkout"},
        "ports": [f"127.0.0.1:{20000 + number}:8000"],
        "volumes": [f"data-{number}:/var/lib/app"],
        "resources": {"cpus": 0.5, "memory": "256m"},
        "health": {"http": {"port": 8000, "path": "/healthz"}, "timeout": "60s"},
    }
    if number % 10 == 3:
        section["env"]["DATABASE_URL"] = {"file": f"secrets/database_url_{number}"}
    if number % 20 == 0:
        return {"source": {"path": f"local/app-{number}"}, **section}
    if number % 20 in (5, 15):
        url = f"file://{directory}/repositories/{number // 10 % REPOSITORIES}"
        return {"source": {"git": url, "subdir": f"app-{number}"}, "revision": "main", **section}
    image = {"image": f"registry.example.com/{PROJECT}/app-{number % 50}"}
    return {"source": image, "revision": _digest(number), **section}


def _digest(number: int) -> str:
    return f"sha256:{number:064x}"


def _make_sources(directory: Path, apps: int) -> None:
    spec = directory / "spec"
    (spec / "secrets").mkdir(parents=True)
    for number in range(3, apps, 10):
        secret = spec / "secrets" / f"database_url_{number}"
        secret.write_text(f"postgres://shop:secret-{number}@db/shop\n")
    local = {f"local/app-{number}/Dockerfile": f"FROM {number}\n" for number in range(0, apps, 20)}
    GitRepo(spec).commit({".gitignore": "/secrets\n", **local})
    for one in range(REPOSITORIES):
        numbers = [n for n in range(5, apps, 10) if n // 10 % REPOSITORIES == one]
        files = {f"app-{number}/Dockerfile": f"FROM {number}\n" for number in numbers}
        GitRepo(directory / "repositories" / str(one)).commit({"README": "shop\n", **files})


def _write_spec(estate: Estate, sections: dict[str, Any], hosts: Sequence[str]) -> None:
    """In the YAML that JSON is: it is quick to write."""
    names = list(sections)
    for start in range(0, len(names), APPS_IN_FILE):
        apps = {name: sections[name] for name in names[start : start + APPS_IN_FILE]}
        path = estate.spec.parent / f"apps-{start // APPS_IN_FILE:03}.yaml"
        path.write_text(json.dumps({"apps": apps}, indent=1))
    top = {"version": 1, "project": PROJECT, "include": ["apps-*.yaml"]}
    if hosts:
        top["hosts"] = {name: {"docker": f"ssh://deploy@{name}.example.com"} for name in hosts}
    estate.spec.write_text(json.dumps(top, indent=1))


def _listed(number: int, target: Target) -> Listed:
    desired, image_id = target.desired, _digest(number)
    assert desired.trouble is None, desired.trouble
    return Listed(
        desired.app,
        f"{number:064x}",
        f"d{number:07}",
        image_id,
        build_hash(desired.build),
        run_hash(image_id, desired.run),
        desired.resolved,
        target.app.host[0],
    )


def _record(connection: sqlite3.Connection, listed: Listed, target: Target) -> None:
    """As a pass does it that finds a container after the state was lost."""
    desired, asked = target.desired, Asked("deploy", "test", "container runs exactly this")
    container = Container(
        app=listed.app,
        id=listed.id,
        name=listed.app.replace("/", "-"),
        deployment=listed.deployment,
        state="running",
        image_id=listed.image_id,
        build_hash=listed.build_hash,
        run_hash=listed.run_hash,
    )
    facts = json.dumps({"build": dict(desired.build), "run": dict(desired.run)})
    request = target_request(target, asked, listed.image_id)
    adopt(connection, (request, container, facts), time.time())
    version = Version(desired.revision, desired.resolved, desired.settings)
    record_version(connection, listed.app, version)


def _write_history(connection: sqlite3.Connection) -> None:
    """Copies of what serves, as though it had been deployed before."""
    row = connection.execute("SELECT * FROM deployments LIMIT 1").fetchone()
    columns = [name for name in row.keys() if name not in ("seq", "id")]  # noqa: SIM118
    names = ", ".join(columns)
    for age in range(HISTORY):
        connection.execute(
            f"INSERT INTO deployments (seq, id, {names}) "
            f"SELECT -seq - 100000 * {age}, id || '-{age}', {names} FROM deployments "
            "WHERE seq > 0"
        )
