"""One pass: load, resolve, observe, plan, enqueue. Whatever starts a pass, it is this one."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from reconciler.engine.desired import Policy
from reconciler.engine.front import FrontState, settle_front
from reconciler.engine.snapshot import Snapshot, renew_snapshot, take_snapshot
from reconciler.host.job import Job
from reconciler.host.lock import locked
from reconciler.pipeline.tools import Tools
from reconciler.spec.loaded import LoadedSpec
from reconciler.values import frozen

if TYPE_CHECKING:
    from reconciler.state.records import Deployment

LOCK_SECONDS = 60.0


@frozen
class Pass:
    """What a pass did: the plan, the deployments it asked for and those already on their way, and
    how the project's proxy is."""

    snapshot: Snapshot
    queued: tuple[Deployment, ...]
    on_their_way: tuple[str, ...]
    front: FrontState = field(default_factory=FrontState)


def run_pass(tools: Tools, loaded: LoadedSpec, policy: Policy, trigger: str) -> Pass:
    """Plan, write down what needs no deployment, and ask for the deployments that are due.

    Passes on one state directory act one after the other; nobody waits for another's hosts.
    Raises `Locked` after a minute.
    """
    version = tools.store.version()
    snapshot = take_snapshot(tools, loaded, policy)
    with locked(tools.store.directory / "pass.lock", Job(), LOCK_SECONDS):
        if tools.store.version() != version:  # somebody acted meanwhile
            snapshot = renew_snapshot(tools, loaded, policy, snapshot)
        front = settle_front(tools, loaded, snapshot.recorded, snapshot.observed)
        if not snapshot.plan.actions and not snapshot.plan.notes:
            return Pass(snapshot, (), (), front)
        from reconciler.engine.enqueue import Enqueuer

        enqueuer = Enqueuer(tools, snapshot, trigger)
        # What goes may hold the port of what comes.
        actions = sorted(snapshot.plan.actions, key=lambda action: action.kind != "remove")
        queued = [row for action in actions if (row := enqueuer.apply(action))]
        enqueuer.write_notes()
    due = {row.app for row in queued}
    waiting = [
        deployment.deployment
        for action in snapshot.plan.actions
        if action.kind == "wait" and action.app not in due
        for deployment in snapshot.in_flight(action.app)
    ]
    return Pass(snapshot, tuple(queued), tuple(waiting), front)
