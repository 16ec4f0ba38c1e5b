"""The three states at one moment, and the plan that follows. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from reconciler.engine.desired import Policy, Resolver, Target, make_desired
from reconciler.engine.whereabouts import Look
from reconciler.errors import ReconcilerError
from reconciler.host.job import Job
from reconciler.pipeline.tools import Tools
from reconciler.plan.actions import Plan
from reconciler.plan.healing import CALM
from reconciler.plan.planner import make_plan
from reconciler.plan.renaming import follow_renames
from reconciler.plan.states import Desired, InFlight, Observed, Recorded
from reconciler.source.fanout import ask_all
from reconciler.spec.loaded import LoadedSpec
from reconciler.state.recorded import read_recorded
from reconciler.values import frozen, without_collector


@frozen
class Snapshot:
    """The three states, the targets behind desired, the spec's revision, and the plan.

    Renamed apps have their new names everywhere.
    """

    targets: Mapping[str, Target]
    recorded: Recorded
    observed: Observed
    plan: Plan
    spec_revision: str = ""

    def in_flight(self, app: str) -> tuple[InFlight, ...]:
        """Deployments of an app that were on their way before."""
        recorded = self.recorded.apps.get(app)
        return recorded.in_flight if recorded else ()


@without_collector()
def take_snapshot(
    tools: Tools, loaded: LoadedSpec, policy: Policy, job: Job | None = None
) -> Snapshot:
    """Resolve and observe side by side, and plan.

    Raises `EngineUnavailable` when the engine can't be observed; errors of single apps are
    `block` actions in the plan.
    """
    tools.learn(loaded)
    look = Look(tools.store, tools.runtime, loaded)
    if policy.retry_now:
        tools.hosts.ask_all()
    names = _names(loaded)
    now = datetime.fromtimestamp(tools.clock(), UTC)
    recorded = _read_recorded(tools, loaded, now)
    resolver = Resolver(tools, loaded, recorded, job or Job(), policy.memory, policy.made)
    questions: dict[str, Callable[[], Any]] = {
        "observed": lambda: look.by_recorded(recorded),
        "targets": lambda: resolver.resolve(names),
    }
    answers: dict[str, Any] = ask_all(questions, resolver.job)
    for answer in answers.values():
        if isinstance(answer, ReconcilerError):
            raise answer
    desired = make_desired(loaded, answers["targets"], policy)
    return _snapshot(loaded, answers["targets"], desired, (recorded, answers["observed"]), now)


@without_collector()
def renew_snapshot(tools: Tools, loaded: LoadedSpec, policy: Policy, before: Snapshot) -> Snapshot:
    """State and engine as they are now; no source is asked again."""
    now = datetime.fromtimestamp(tools.clock(), UTC)
    recorded = _read_recorded(tools, loaded, now)
    observed = Look(tools.store, tools.runtime, loaded).by_recorded(recorded)
    desired = make_desired(loaded, before.targets, policy)
    return _snapshot(loaded, before.targets, desired, (recorded, observed), now)


def _names(loaded: LoadedSpec) -> list[str]:
    return [f"{loaded.spec.project}/{name}" for name in loaded.spec.apps]


def _read_recorded(tools: Tools, loaded: LoadedSpec, now: datetime) -> Recorded:
    apps = loaded.spec.apps
    scheduled = [name for name in _names(loaded) if apps[name.partition("/")[2]].schedule]
    return read_recorded(tools.store, loaded.spec.project, (now - CALM).timestamp(), scheduled)


def _snapshot(
    loaded: LoadedSpec,
    targets: Mapping[str, Target],
    desired: Desired,
    states: tuple[Recorded, Observed],
    now: datetime,
) -> Snapshot:
    recorded, observed = follow_renames(desired, *states)
    plan = make_plan(desired, recorded, observed, now)
    return Snapshot(targets, recorded, observed, plan, loaded.revision)
