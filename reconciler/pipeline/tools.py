"""What a process makes once and all its deployments share, and how secrets are read with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path

from reconciler.events import Listener, ignore
from reconciler.host.engine import Engine
from reconciler.host.hosts import Hosts
from reconciler.host.secrets import Redactor, Secrets
from reconciler.runtime.fleet import Fleet
from reconciler.runtime.proxy import Proxy
from reconciler.source.base import Workplace
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import App, GitSource
from reconciler.spec.urls import has_credentials, strip_credentials
from reconciler.state.store import Store
from reconciler.values import frozen


@frozen
class Tools:
    """What a process makes once and all its deployments share.

    `engine`: the local one. `runtime`: all places where apps run. `clock`: seconds since 1970.
    `retry_delay`: from an error and the number of failed tries to the seconds until the next, None
    when trying the same again can't help. `urls`: from git URLs as they are written down to those
    of the spec, with the credentials inside them. `proxy`: what leads to apps with `expose`, where
    the runtime has one.
    """

    store: Store
    engine: Engine
    runtime: Fleet
    redactor: Redactor
    clock: Callable[[], float]
    retry_delay: Callable[[BaseException, int], float | None]
    listen: Listener = ignore
    urls: dict[str, str] = field(default_factory=dict)
    proxy: Proxy | None = None

    @property
    def hosts(self) -> Hosts:
        """The engines by host name."""
        return self.runtime.hosts

    def learn(self, loaded: LoadedSpec) -> None:
        """What the spec says of hosts, and credentials in URLs, for whatever comes next."""
        spec = loaded.spec
        self.hosts.learn(spec.hosts, loaded.path.parent, spec.build_host)
        learn_urls(spec.apps.values(), self.urls)

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


def read_swarm_secrets(app_name: str, app: App, secrets: Secrets) -> dict[str, str]:
    """The values of the files that a Swarm keeps for the app, by name. Raises `SecretError`."""
    return {
        name: secrets.read(ref, app=app_name, what=f"swarm.secrets.{name}")
        for name, ref in (app.swarm.secrets if app.swarm else {}).items()
    }


def fingerprint_env(app: App, env: Mapping[str, str], key: bytes) -> dict[str, str]:
    """The environment for facts: plain text as it is, secrets as keyed fingerprints."""
    return {
        name: env[name] if isinstance(value, str) else fingerprint(env[name], key)
        for name, value in app.env.items()
    }


def fingerprint(value: str, key: bytes) -> str:
    """What a secret is compared by; without the key it says nothing of the secret."""
    import hmac

    return "secret:" + hmac.digest(key, value.encode(), "sha256").hex()[:24]
