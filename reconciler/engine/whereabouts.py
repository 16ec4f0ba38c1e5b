"""Which places are looked at: where apps shall be, where they were recorded, and every host that
the spec has, as something may be left over there.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.host.hosts import Hosts
from reconciler.plan.places import Places, places_of
from reconciler.plan.states import Facts, Observed, Recorded
from reconciler.runtime.fleet import Fleet
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import ImageSource
from reconciler.state.store import Store
from reconciler.values import frozen


def places_in(loaded: LoadedSpec) -> dict[Places, None]:
    """What the spec names."""
    named = dict.fromkeys((app.runtime, app.host) for app in loaded.spec.apps.values())
    found = {Places(runtime, hosts): None for runtime, hosts in named}
    found |= {Places(hosts=(host,)): None for host in loaded.spec.hosts}
    return found or {Places(): None}


@frozen
class Look:
    """Looks at a project. `store` and `fleet` are read, and hosts that are gone from the spec are
    made known to the fleet."""

    store: Store
    fleet: Fleet
    loaded: LoadedSpec

    def by_recorded(self, recorded: Recorded) -> Observed:
        """What runs, everywhere. Raises `EngineUnavailable` when no place answers."""
        return self._look(
            (app.app, app.serving.settings) for app in recorded.apps.values() if app.serving
        )

    def by_rows(self) -> Observed:
        """The same, without a recorded state at hand."""
        self._learn()
        rows = self.store.list_apps(self.loaded.spec.project)
        return self._look((row.app, row.settings) for row in rows if row.serving)

    def learn_of(self, app: str) -> None:
        """Make the hosts known where one app may be."""
        self._learn()
        row = self.store.find_app(app)
        if row is not None and row.serving:
            remember_hosts(self.store, self.fleet.hosts, app, places_of(row.settings).hosts)

    def _learn(self) -> None:
        spec = self.loaded.spec
        self.fleet.hosts.learn(spec.hosts, self.loaded.path.parent, spec.build_host)

    def _look(self, served: Iterable[tuple[str, Facts]]) -> Observed:
        apps = self.loaded.spec.apps.values()
        builds = any(not isinstance(app.source, ImageSource) for app in apps)
        builder = self.loaded.spec.build_host if builds else ""
        found = places_in(self.loaded)
        for app, settings in served:
            places = places_of(settings)
            if places not in found:
                found[places] = None
                remember_hosts(self.store, self.fleet.hosts, app, places.hosts)
        greeted = (Places(hosts=(builder,)),) if builder else ()
        self.fleet.looked_at = (*found, *greeted)
        return self.fleet.observe(self.loaded.spec.project, found, builder)


def remember_hosts(store: Store, hosts: Hosts, app: str, names: Iterable[str]) -> None:
    """Make hosts known that are gone from the spec, as the app's last deployments knew them."""
    missing = [name for name in names if not hosts.knows(name)]
    for row in store.list_deployments(app, -1) if missing else ():
        known = row.read_request().hosts
        hosts.learn_described({name: known[name] for name in missing if name in known})
        if all(map(hosts.knows, missing)):
            return
