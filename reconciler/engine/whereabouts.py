"""Which places are looked at: where apps shall be, where they were recorded, and every host that
the spec has, as something may be left over there.
"""

from __future__ import annotations

from collections.abc import Iterable

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
        known = [app.serving for app in recorded.apps.values() if app.serving is not None]
        return self._look((one.deployment, one.settings) for one in known)

    def by_rows(self) -> Observed:
        """The same, without a recorded state at hand."""
        self._learn()
        rows = self.store.list_apps(self.loaded.spec.project)
        return self._look((row.serving, row.settings) for row in rows if row.serving)

    def learn_of(self, app: str) -> None:
        """Make the hosts known where one app may be."""
        self._learn()
        row = self.store.find_app(app)
        if row is not None and row.serving:
            self._remember(places_of(row.settings), row.serving)

    def _learn(self) -> None:
        spec = self.loaded.spec
        self.fleet.hosts.learn(spec.hosts, self.loaded.path.parent, spec.build_host)

    def _look(self, served: Iterable[tuple[str, Facts]]) -> Observed:
        apps = self.loaded.spec.apps.values()
        builds = any(not isinstance(app.source, ImageSource) for app in apps)
        builder = self.loaded.spec.build_host if builds else ""
        found = places_in(self.loaded)
        for deployment, settings in served:
            places = places_of(settings)
            if places not in found:
                found[places] = None
                self._remember(places, deployment)
        greeted = (Places(hosts=(builder,)),) if builder else ()
        self.fleet.looked_at = (*found, *greeted)
        return self.fleet.observe(self.loaded.spec.project, found, builder)

    def _remember(self, places: Places, deployment: str) -> None:
        """Hosts that are gone from the spec, as the deployment knew them."""
        if all(map(self.fleet.hosts.knows, places.hosts)):
            return
        row = self.store.find_deployment(deployment)
        if row is not None:
            self.fleet.hosts.learn_described(row.read_request().hosts)
