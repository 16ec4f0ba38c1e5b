"""What every stage is given: the deployment, the tools, and what earlier stages committed."""

from __future__ import annotations

import functools
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.events import Event, Listener, ignore
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.host.labels import (
    LABEL_APP,
    LABEL_BUILD_HASH,
    LABEL_DEPLOYMENT,
    LABEL_PROJECT,
    LABEL_REVISION,
    LABEL_RUN_HASH,
)
from reconciler.host.secrets import Redactor, Secrets
from reconciler.plan.facts import build_facts, run_facts
from reconciler.plan.hashes import build_hash, run_hash
from reconciler.plan.states import Facts
from reconciler.queue import Claim
from reconciler.runtime.base import Instance, Runtime, Workload
from reconciler.source.base import Resolved, Source, Wanted, Workplace
from reconciler.spec.models import App, GitSource
from reconciler.spec.urls import has_credentials, strip_credentials
from reconciler.state.records import Deployment, Request
from reconciler.state.store import Store


@dataclass(frozen=True)
class Tools:
    """What a process makes once and all its deployments share.

    `clock`: seconds since 1970. `retry_delay`: from an error and the number of failed tries to
    the seconds until the next, None when trying the same again can't help. `urls`: from git URLs
    as they are written down to those of the spec, with the credentials inside them.
    """

    store: Store
    engine: Engine
    runtime: Runtime
    redactor: Redactor
    clock: Callable[[], float]
    retry_delay: Callable[[BaseException, int], float | None]
    listen: Listener = ignore
    urls: dict[str, str] = field(default_factory=dict)

    def secrets(self, base_dir: Path) -> Secrets:
        """A reader of references for a spec in `base_dir`."""
        return Secrets(base_dir, self.redactor)

    def workplace(self, base_dir: Path) -> Workplace:
        """Where sources work for a spec in `base_dir`."""
        return Workplace(self.store.directory, base_dir, self.secrets(base_dir), self.engine)


def learn_urls(apps: Iterable[App], urls: dict[str, str]) -> None:
    """Remember the git URLs that carry credentials, for `with_credentials`."""
    for app in apps:
        if isinstance(app.source, GitSource) and has_credentials(app.source.git):
            urls[strip_credentials(app.source.git)] = app.source.git


def with_credentials(app: App, urls: Mapping[str, str]) -> App:
    """The section with the git URL that the spec has, where this process has read the spec."""
    if isinstance(app.source, GitSource) and app.source.git in urls:
        return replace(app, source=replace(app.source, git=urls[app.source.git]))
    return app


def read_env(app_name: str, app: App, secrets: Secrets) -> dict[str, str]:
    """The environment's values. Raises `SecretError`."""
    return {
        name: value
        if isinstance(value, str)
        else secrets.read(value, app=app_name, what=f"env.{name}")
        for name, value in app.env.items()
    }


def fingerprint_env(app: App, env: Mapping[str, str], key: bytes) -> dict[str, str]:
    """The environment for facts: plain text as it is, secrets as keyed fingerprints."""
    return {
        name: env[name]
        if isinstance(value, str)
        else "secret:" + hmac.digest(key, env[name].encode(), "sha256").hex()[:24]
        for name, value in app.env.items()
    }


@dataclass
class Found:
    """What the stages of this run have found or made so far, for those after them."""

    image_id: str | None = None
    build_context: Path | None = None
    instance: Instance | None = None


@dataclass(frozen=True)
class Context:
    """One claimed deployment. `row` is as it was claimed."""

    claim: Claim
    request: Request
    app: App
    tools: Tools
    job: Job
    found: Found = field(default_factory=Found)

    @property
    def row(self) -> Deployment:
        return self.claim.deployment

    @property
    def name(self) -> str:
        """`<project>/<name>`."""
        return self.row.app

    @functools.cached_property
    def base_dir(self) -> Path:
        return Path(self.request.base_dir)

    @functools.cached_property
    def secrets(self) -> Secrets:
        return self.tools.secrets(self.base_dir)

    @functools.cached_property
    def env(self) -> Mapping[str, str]:
        """Values; read once for the whole deployment. Raises `SecretError`."""
        return read_env(self.name, self.app, self.secrets)

    @functools.cached_property
    def build_facts(self) -> Facts:
        return build_facts(self.app, self.request.content, self._fingerprints)

    @functools.cached_property
    def run_facts(self) -> Facts:
        return run_facts(self.app, self._fingerprints)

    @functools.cached_property
    def build_hash(self) -> str:
        return build_hash(self.build_facts)

    @property
    def _fingerprints(self) -> Mapping[str, str]:
        return fingerprint_env(self.app, self.env, self.tools.store.fingerprint_key())

    @functools.cached_property
    def source(self) -> Source:
        from reconciler.source import SOURCES, kind_of

        return SOURCES[kind_of(self.app.source)](self.tools.workplace(self.base_dir))

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.name, self.app.source, self.app.revision)

    @property
    def resolved(self) -> Resolved:
        return Resolved(self.request.resolved, self.request.revision, self.request.reference)

    @property
    def checkout(self) -> Path:
        return self.tools.store.checkout_path(self.row.id)

    def workload(self, image_id: str) -> Workload:
        """The container that shall run."""
        project = self.name.partition("/")[0]
        labels = {
            LABEL_PROJECT: project,
            LABEL_APP: self.name,
            LABEL_DEPLOYMENT: self.row.id,
            LABEL_BUILD_HASH: self.build_hash,
            LABEL_RUN_HASH: run_hash(image_id, self.run_facts),
            LABEL_REVISION: self.request.resolved,
        }
        return Workload(self.name, self.row.id, image_id, self.app, self.env, self.base_dir, labels)

    def emit(self, kind: str, **data: object) -> None:
        """Tell whoever listens."""
        self.tools.listen(Event(kind, self.name, self.row.id, data))
