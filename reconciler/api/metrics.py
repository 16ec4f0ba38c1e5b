"""Figures for Prometheus. What happened to deployments is read from the state when somebody asks,
so that it has the deployments of every process; passes are told by the process that runs them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.errors import (
    DiskFull,
    EngineUnavailable,
    GitUnavailable,
    ReconcilerError,
    RegistryUnavailable,
    SecretError,
    SourceError,
    SpecError,
)
from reconciler.state.changes import (
    changes_since,
    count_unfinished,
    find_problem,
    last_change,
    stages_of,
)

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from reconciler.api.backend import Backend
    from reconciler.engine.reconcile import Pass
    from reconciler.events import Event
    from reconciler.runtime.fleet import Fleet
    from reconciler.state.store import Store

STATUSES = ("idle", "running", "done", "error")
_PASS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)
_STAGE_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (GitUnavailable, "git"),
    (RegistryUnavailable, "registry"),
    (EngineUnavailable, "engine"),
    (DiskFull, "disk"),
    (SourceError, "source"),
    (SecretError, "secret"),
    (SpecError, "spec"),
    (ReconcilerError, "other"),
)


class Metrics:
    """The figures of one process. Its methods may be called from any thread. `fleet`: of whose
    hosts it tells whether they are there.

    `leader` and `last_pass` are for whoever wants to know whether the process does its work:
    `last_pass` is None before the first one, then whether it went through.
    """

    def __init__(self, store: Store, fleet: Fleet | None = None) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.leader = True
        self.last_pass: bool | None = None
        self._store = store
        self._fleet = fleet
        self._seen = last_change(store)
        self._lock = threading.Lock()
        self.registry = registry = CollectorRegistry()
        self._passes = Counter(
            "reconciler_passes", "Passes of the loop.", ["result"], registry=registry
        )
        self._pass_seconds = Histogram(
            "reconciler_pass_duration_seconds",
            "How long passes took.",
            buckets=_PASS_SECONDS,
            registry=registry,
        )
        self._deployments = Counter(
            "reconciler_deployments",
            "Deployments that ended, by any process on this state.",
            ["app", "outcome"],
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "reconciler_stage_duration_seconds",
            "How long the stages of deployments took.",
            ["stage"],
            buckets=_STAGE_SECONDS,
            registry=registry,
        )
        self._heals = Counter(
            "reconciler_heals",
            "Containers that weren't as recorded, and were brought back.",
            ["app", "cause"],
            registry=registry,
        )
        self._errors = Counter(
            "reconciler_errors",
            "Errors that passes met: one for each app and pass.",
            ["kind"],
            registry=registry,
        )
        self._webhooks = Counter(
            "reconciler_webhooks", "Webhooks that came.", ["provider", "result"], registry=registry
        )
        self._last_success = 0.0
        for result in ("ok", "failed"):
            self._passes.labels(result)
        for _, kind in _KINDS:
            self._errors.labels(kind)

    # -- what is told ------------------------------------------------------------------------

    def pass_finished(self, seconds: float, ok: bool) -> None:
        """A pass has ended; `ok`: it went through."""
        self._passes.labels("ok" if ok else "failed").inc()
        self._pass_seconds.observe(seconds)
        self.last_pass = ok
        if ok:
            from time import time

            self._last_success = time()

    def pass_done(self, done: Pass) -> None:
        """What a pass met that went through: a source that doesn't answer, a missing secret."""
        for target in done.snapshot.targets.values():
            if target.error is not None:
                self.met(target.error)

    def met(self, error: BaseException) -> None:
        """An error, such as the one that a pass ended with."""
        self._errors.labels(kind_of_error(error)).inc()

    def heard(self, provider: str, result: str) -> None:
        """A webhook came. `result`: looked, nothing, replayed, or refused."""
        self._webhooks.labels(provider, result).inc()

    # -- what is asked -----------------------------------------------------------------------

    def expose(self, backend: Backend, accept: str = "") -> tuple[bytes, str]:
        """All figures as Prometheus reads them, and their content type."""
        from prometheus_client.exposition import choose_encoder

        with self._lock:
            self._catch_up()
        encode, content_type = choose_encoder(accept)
        return encode(_Everything(self, backend)), content_type

    def _catch_up(self) -> None:
        """Count what happened since the last time."""
        ended: list[str] = []
        for number, event in changes_since(self._store, self._seen):
            self._seen = number
            if event.kind == "finished":
                self._deployments.labels(event.app, str(event.data.get("outcome"))).inc()
                ended.append(event.deployment)
            elif event.kind == "queued" and event.data.get("kind") == "heal":
                self._heals.labels(event.app, kind_of_drift(event)).inc()
        for stage in stages_of(self._store, ended):
            if stage.status in ("done", "failed") and stage.seconds is not None:
                self._stage_seconds.labels(stage.name).observe(stage.seconds)

    def collect_state(self, backend: Backend) -> Iterator[Metric]:
        """Figures of this moment."""
        from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily

        def gauge(name: str, about: str, value: float) -> Metric:
            return GaugeMetricFamily(f"reconciler_{name}", about, value=value)

        yield InfoMetricFamily("reconciler_build", "This program.", {"version": __version__})
        yield gauge(
            "last_pass_success_timestamp_seconds",
            "When a pass last went through, in seconds since 1970; 0 for never.",
            self._last_success,
        )
        yield gauge("leader", "Whether this process is the one that deploys.", self.leader)
        counts = count_unfinished(self._store)
        yield gauge("queue_length", "Deployments that wait.", counts["queued"])
        yield gauge("deployments_running", "Deployments in progress.", counts["running"])
        problem = find_problem(self._store, backend.configuration.place)
        yield gauge(
            "configuration_problem",
            "Whether the newest spec is refused, and an older one in force.",
            bool(problem),
        )
        hosts = GaugeMetricFamily(
            "reconciler_host_up", "Whether the engine of a host answers.", labels=["host"]
        )
        for name, up in self._hosts():
            hosts.add_metric([name], up)
        yield hosts
        status = GaugeMetricFamily(
            "reconciler_app_status", "1 for the status that an app has.", labels=["app", "status"]
        )
        for app, current in self._statuses(backend):
            for name in STATUSES:
                status.add_metric([app, name], current == name)
        yield status

    def _hosts(self) -> list[tuple[str, bool]]:
        if self._fleet is None:
            return []
        away = self._fleet.hosts.away()
        names = {name for places in self._fleet.looked_at for name in places.hosts}
        return [(name, name not in away) for name in sorted(names)]

    def _statuses(self, backend: Backend) -> Iterable[tuple[str, str]]:
        try:
            spec = backend.spec().spec
        except ReconcilerError:
            return []
        rows = {row.app: row.status for row in self._store.list_apps(spec.project)}
        names = [f"{spec.project}/{name}" for name in spec.apps]
        return [(name, rows.get(name, "idle")) for name in names]


class _Everything:
    """A registry, as the encoders of prometheus_client see one."""

    def __init__(self, metrics: Metrics, backend: Backend) -> None:
        self._metrics = metrics
        self._backend = backend

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics.collect_state(self._backend)
        yield from self._metrics.registry.collect()


def kind_of_error(error: BaseException) -> str:
    """Whose fault it was: git, registry, engine, disk, source, secret, spec or other."""
    return next((name for kind, name in _KINDS if isinstance(error, kind)), "other")


def kind_of_drift(event: Event) -> str:
    """missing, exited, unhealthy and so on, from a cause such as `container exited with 137`."""
    words = re.search(r"container (?:is )?([a-z]+)", str(event.data.get("cause")))
    return words[1] if words else "other"
