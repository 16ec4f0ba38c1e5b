"""What every stage is given: the deployment, the tools, and what earlier stages committed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.events import Event
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.host.labels import (
    LABEL_APP,
    LABEL_BUILD_HASH,
    LABEL_DEPLOYMENT,
    LABEL_HOST,
    LABEL_PROJECT,
    LABEL_REVISION,
    LABEL_RUN_HASH,
)
from reconciler.host.secrets import Secrets
from reconciler.pipeline.tools import (
    Tools,
    fingerprint,
    fingerprint_env,
    read_env,
    read_swarm_secrets,
)
from reconciler.plan.facts import build_facts, run_facts
from reconciler.plan.hashes import build_hash, run_hash
from reconciler.plan.places import SWARM, Places, places_of
from reconciler.plan.states import Facts, Place
from reconciler.queue import Claim
from reconciler.runtime.base import Instance, Runtime, Workload
from reconciler.runtime.fleet import Station
from reconciler.source.base import Resolved, Source, Wanted
from reconciler.spec.hosts import LOCAL
from reconciler.spec.models import App, ImageSource
from reconciler.state.records import Deployment, Request
from reconciler.values import frozen

if TYPE_CHECKING:
    from reconciler.host.images import Auth

Copy = tuple[Place, int]
"""One of the app's containers: where it runs, and its number there, from 1."""


@dataclass
class Found:
    """What the stages of this run have found or made so far, for those after them.

    `instances`: the app's new containers, by place and the number of the replica. `holder`: a host
    whose engine has the image, empty for none. `lacking`: hosts that it has to be brought to.
    `reference`: the image as `repository@sha256:…` where a registry has it, and `auth` what that
    registry asks the nodes of a Swarm for. `columns`: what else the deployment's row shall say,
    whether the stage that found it has anything to do or not.
    """

    image_id: str | None = None
    holder: str = ""
    lacking: tuple[str, ...] = ()
    reference: str = ""
    auth: Auth | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    build_context: Path | None = None
    unchanged: str | None = None
    instances: dict[Copy, Instance] = field(default_factory=dict)


@frozen
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

    @property
    def owner(self) -> str:
        """The deployment that the containers belong to."""
        return self.request.joins or self.row.id

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
    def swarm_secrets(self) -> Mapping[str, str]:
        """Values; read once. Raises `SecretError`."""
        return read_swarm_secrets(self.name, self.app, self.secrets)

    @functools.cached_property
    def build_facts(self) -> Facts:
        return build_facts(self.app, self.request.content, self._fingerprints)

    @functools.cached_property
    def run_facts(self) -> Facts:
        key = self.tools.store.fingerprint_key()
        kept = {name: fingerprint(value, key) for name, value in self.swarm_secrets.items()}
        return run_facts(self.app, self._fingerprints, kept)

    @functools.cached_property
    def build_hash(self) -> str:
        return build_hash(self.build_facts)

    @property
    def _fingerprints(self) -> Mapping[str, str]:
        return fingerprint_env(self.app, self.env, self.tools.store.fingerprint_key())

    @functools.cached_property
    def source(self) -> Source:
        from reconciler.source import SOURCES, kind_of

        workplace = replace(self.tools.workplace(self.base_dir), engine=self.image_engine)
        return SOURCES[kind_of(self.app.source)](workplace)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.name, self.app.source, self.app.revision)

    @property
    def resolved(self) -> Resolved:
        return Resolved(self.request.resolved, self.request.revision, self.request.reference)

    @property
    def checkout(self) -> Path:
        return self.tools.store.checkout_path(self.row.id)

    # -- where -------------------------------------------------------------------------------

    @functools.cached_property
    def station(self) -> Station:
        """Where this deployment works. Another may have moved the app while this one waited."""
        places = Places(self.app.runtime, self.app.host)
        row = self.tools.store.find_app(self.name)
        served = places_of(row.settings).all if row and row.serving else ()
        leaves = dict.fromkeys((*self.request.leaves, *served))
        return Station(
            places, self.request.places, tuple(one for one in leaves if one not in places.all)
        )

    @functools.cached_property
    def runtime(self) -> Runtime:
        """For all that concerns this app's containers."""
        return self.tools.runtime.at(self.station)

    @property
    def copies(self) -> list[Copy]:
        """The containers that there shall be, in the order in which they are rolled out."""
        here = self.station.here
        return [one for one in self.station.places.copies(self.app.replicas) if one[0] in here]

    @functools.cached_property
    def image_host(self) -> str:
        """Where the image is made: on the host that builds, or, one that is ready, on the first
        of the app's hosts that isn't away."""
        if not isinstance(self.app.source, ImageSource):
            return self.request.build_host
        is_swarm = self.app.runtime == SWARM
        hosts = self.app.host if is_swarm else tuple(host for _, host in self.station.here)
        return next((one for one in hosts if not self.tools.hosts.is_away(one)), hosts[0])

    @property
    def image_engine(self) -> Engine:
        """The engine of that host. Raises `EngineUnavailable`."""
        return self.tools.hosts.engine(self.image_host)

    def workload(self, image_id: str, copy: Copy) -> Workload:
        """A container that shall run."""
        (_, host), replica = copy
        project = self.name.partition("/")[0]
        labels = {
            LABEL_PROJECT: project,
            LABEL_APP: self.name,
            LABEL_DEPLOYMENT: self.owner,
            LABEL_BUILD_HASH: self.build_hash,
            LABEL_RUN_HASH: run_hash(image_id, self.run_facts),
            LABEL_REVISION: self.request.resolved,
        }
        if host != LOCAL:
            labels[LABEL_HOST] = host
        return replace(
            self.bare_workload(),
            image_id=image_id,
            env=self.env,
            labels=labels,
            host=host,
            replica=replica,
            image=self.found.reference,
            auth=self.found.auth,
            secrets=self.swarm_secrets,
        )

    def bare_workload(self) -> Workload:
        """The same for undoing it, which needs no secret: one may be out of reach by now."""
        former = self.tools.store.former_names(self.name)
        return Workload(self.name, self.owner, "", self.app, {}, self.base_dir, former=former)

    def emit(self, kind: str, **data: object) -> None:
        """Tell whoever listens."""
        self.tools.listen(Event(kind, self.name, self.row.id, data))
