"""The three states at one moment, and the plan that follows. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from reconciler.engine.desired import Policy, Resolver, Target, make_desired
from reconciler.errors import ReconcilerError
from reconciler.host.job import Job
from reconciler.pipeline.tools import Tools
from reconciler.plan.actions import Plan
from reconciler.plan.healing import CALM
from reconciler.plan.planner import make_plan
from reconciler.plan.renaming import follow_renames
from reconciler.plan.states import InFlight, Observed, Recorded
from reconciler.source.fanout import ask_all
from reconciler.spec.loaded import LoadedSpec
from reconciler.state.recorded import read_recorded
from reconciler.values import frozen


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


def take_snapshot(
    tools: Tools, loaded: LoadedSpec, policy: Policy, job: Job | None = None
) -> Snapshot:
    """Resolve and observe side by side, and plan.

    Raises `EngineUnavailable` when the engine can't be observed; errors of single apps are
    `block` actions in the plan.
    """
    project, apps = loaded.spec.project, loaded.spec.apps
    names = [f"{project}/{name}" for name in apps]
    now = datetime.fromtimestamp(tools.clock(), UTC)
    scheduled = [name for name in names if apps[name.partition("/")[2]].schedule]
    recorded = read_recorded(tools.store, project, (now - CALM).timestamp(), scheduled)
    resolver = Resolver(tools, loaded, recorded, job or Job(), policy.memory)
    questions: dict[str, Callable[[], Any]] = {
        "observed": lambda: tools.runtime.observe(project),
        "targets": lambda: resolver.resolve(names),
    }
    answers: dict[str, Any] = ask_all(questions, resolver.job)
    for answer in answers.values():
        if isinstance(answer, ReconcilerError):
            raise answer
    targets, observed = answers["targets"], answers["observed"]
    desired = make_desired(loaded, targets, policy)
    recorded, observed = follow_renames(desired, recorded, observed)
    plan = make_plan(desired, recorded, observed, now)
    return Snapshot(targets, recorded, observed, plan, loaded.revision)
