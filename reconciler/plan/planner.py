"""The decision. Pure: no clock, no file, no network; the same input gives the same plan.

For each app, its dependencies first, the first rule that applies wins (`_act`):

    on its way → held by a person → serving is broken (heal) → blocked
    → nothing serves (deploy) → something differs (deploy, restart, push, record) → a build is due

and what comes out has to be admitted (`_admit`): a target that has failed before is quarantined or
waits, outside of its windows a change is held, and without its dependencies it waits. An app that
is gone from the spec is removed or kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.plan.actions import DEPLOYING, Action, Plan
from reconciler.plan.changing import change, first
from reconciler.plan.hashes import target_hash
from reconciler.plan.healing import CALM_FLAPS, broken, clean, flaps_of, heal
from reconciler.plan.order import Standing, in_order, judge, wait_for_dependencies
from reconciler.plan.places import DOCKER
from reconciler.plan.removing import Removals, judge_removals
from reconciler.plan.renaming import follow_renames, former_names
from reconciler.plan.states import (
    NO_NOTE,
    Desired,
    DesiredApp,
    Note,
    Observed,
    Recorded,
    RecordedApp,
    Serving,
)
from reconciler.plan.view import View, hold_in_force
from reconciler.plan.windows import keep_to_windows, next_rebuild, rebuild
from reconciler.values import frozen


def make_plan(desired: Desired, recorded: Recorded, observed: Observed, now: datetime) -> Plan:
    """The actions that take observed to desired, each with its causes.

    Apps with nothing to do have no action. Apps of other projects are left alone.
    """
    recorded, observed = follow_renames(desired, recorded, observed)
    views = _look(desired, recorded, observed, now)
    removals = judge_removals(desired, list(views.values()))
    decision = _Decision(removals, {}, views, former_names(recorded))
    actions: dict[str, tuple[Action, ...]] = {}
    for view in in_order(views):
        actions[view.app] = own = tuple(decision.decide(view))
        if view.desired is not None:
            decision.standings[view.app] = judge(view, own)
    notes = {name: _note(view, actions[name]) for name, view in views.items()}
    return Plan(
        tuple(action for name in views for action in actions[name]),
        {name: note for name, note in notes.items() if note != views[name].recorded.note},
        _next_moment(views.values(), actions, now),
    )


def _look(
    desired: Desired, recorded: Recorded, observed: Observed, now: datetime
) -> dict[str, View]:
    """All apps of the project, by name and in the order of their names."""
    names = {*desired.apps, *recorded.apps, *observed.apps}
    prefix = f"{desired.project}/"
    return {
        name: View(
            name,
            desired.apps.get(name),
            recorded.apps.get(name, RecordedApp(name)),
            observed.apps.get(name, ()),
            now,
            desired.retry_now,
            observed.away,
            desired.build_host,
        )
        for name in sorted(names)
        if name.startswith(prefix)
    }


def _next_moment(
    views: Iterable[View], actions: Mapping[str, tuple[Action, ...]], now: datetime
) -> datetime | None:
    moments = [action.until for own in actions.values() for action in own]
    moments += [next_rebuild(view) for view in views]
    return min((one for one in moments if one is not None and one > now), default=None)


def _note(view: View, actions: tuple[Action, ...]) -> Note:
    """What `status` shall show of the app from now on."""
    known, flaps = view.recorded.note, flaps_of(view)
    lasting = next((action for action in actions if action.lasting), None)
    paused = flaps.until is not None and view.now < flaps.until
    flapping = paused and (known.flaps, known.kind) == (flaps.count, "wait")
    if view.recorded.in_flight or (flapping and (lasting is None or not lasting.after)):
        return known  # a container that is started again and again looks well at times
    if lasting is None and flaps is CALM_FLAPS:
        return NO_NOTE
    if lasting is None:
        return Note(flaps=flaps.count, flaps_until=flaps.until)
    return Note(lasting.kind, lasting.cause, lasting.until, flaps.count, flaps.until)


# -- one app ---------------------------------------------------------------------------------


@frozen
class _Decision:
    """What is decided for all apps together, and for the dependencies of the one at hand."""

    removals: Removals
    standings: dict[str, Standing]
    views: Mapping[str, View]
    former: Mapping[str, str]

    def decide(self, view: View) -> Iterator[Action]:
        """The actions of one app."""
        if view.recorded.renamed_from:
            cause = f"renamed from {view.recorded.renamed_from.partition('/')[2]}"
            yield Action(view.app, "record", (cause,), renamed_from=view.recorded.renamed_from)
        if view.desired is None:
            yield from self.removals.decide(view)
            return
        action = self._act(view, view.desired)
        if action is not None:
            yield action
        if not view.recorded.in_flight and (action is None or action.kind != "hold"):
            yield from clean(view)

    def _act(self, view: View, desired: DesiredApp) -> Action | None:
        if view.recorded.in_flight:
            return self._on_its_way(view, desired)
        if held := self._name_taken(view, desired) or _held(view, desired):
            return held
        if view.serving is not None and broken(view):
            return self._heal(view, desired, view.serving)
        if reason := view.missing_place(desired.settings):
            return Action(view.app, "block", (reason,), passing=True, lasting=True)
        if trouble := desired.trouble:
            return Action(
                view.app, "block", (trouble.reason,), passing=trouble.passing, todo=trouble.todo
            )
        return self._change(view, desired)

    def _change(self, view: View, desired: DesiredApp) -> Action | None:
        wanted = _wanted(view, desired)
        if wanted is None or (wanted.kind == "record" and not wanted.containers):
            due = rebuild(view, desired)
            return self._gate(view, due) if due else wanted
        return self._admit(view, wanted, target_hash(desired))

    def _on_its_way(self, view: View, desired: DesiredApp) -> Action | None:
        newest = view.recorded.in_flight[-1]
        wait = Action(view.app, "wait", (f"deployment {newest.deployment} is {newest.status}",))
        wanted = "" if desired.trouble else target_hash(desired)
        coming = {one.target for one in view.recorded.in_flight if one.kind != "remove"}
        by_hand = newest.forced or newest.kind not in DEPLOYING
        if not wanted or wanted in coming or by_hand or _held(view, desired):
            return wait
        if view.missing_place(desired.settings):
            return wait
        action = _wanted(view, desired)
        if action is None or action.kind == "record":
            return wait
        admitted = self._admit(view, action, wanted)
        return wait if admitted.kind in ("hold", "block") or admitted.after else admitted

    def _heal(self, view: View, desired: DesiredApp, serving: Serving) -> Action:
        """A change that replaces the broken container anyway does both."""
        due = None
        away = view.missing_place(desired.settings)
        if not desired.trouble and not away and not hold_in_force(view, desired):
            due = change(view, desired, serving)
        if due is not None and (
            "deploy" not in due.stages or self._admit(view, due, target_hash(desired)) is not due
        ):
            due = None
        return heal(view, serving, due, lambda action, target: self._admit(view, action, target))

    def _name_taken(self, view: View, desired: DesiredApp) -> Action | None:
        """Its former name is being deployed, or its name is still on another app's container."""
        before = self.views.get(desired.previously)
        if view.serving is None and before and before.recorded.in_flight:
            return Action(view.app, "wait", (f"{before.name} is being deployed, and then renamed",))
        if view.app not in self.former:
            return None
        other = self.former[view.app].partition("/")[2]
        cause = f"the container of {other}, which was renamed, still carries this name"
        todo = f"`reconcile deploy {other}` gives it one with its own name."
        return Action(view.app, "block", (cause,), todo=todo)

    # -- what stands in the way --------------------------------------------------------------

    def _admit(self, view: View, action: Action, target: str) -> Action:
        """The action, unless the same target has failed before, or its time hasn't come."""
        failure = view.recorded.failures.get(target)
        if failure is None or action.kind == "record":
            return self._gate(view, action)
        if failure.retry_at is None:
            cause = f"failed before ({failure.deployment}): {failure.reason}"
            todo = f"Push or edit something, or try the same again: `reconcile deploy {view.name}`."
            return Action(view.app, "quarantine", (cause,), todo=todo)
        if failure.retry_at > view.now and not view.retry_now:
            cause = f"try {failure.attempts} failed: {failure.reason}"
            return Action(view.app, "wait", (cause,), until=failure.retry_at)
        retry = f"try {failure.attempts + 1} after: {failure.reason}"
        return self._gate(view, replace(action, causes=(*action.causes, retry)))

    def _gate(self, view: View, action: Action) -> Action:
        away = view.away.get((DOCKER, view.build_host))
        if away is not None and "build" in action.stages:
            cause = f"the build host {view.build_host} is away: {away}"
            return Action(view.app, "block", (cause,), passing=True)
        return wait_for_dependencies(view, keep_to_windows(view, action), self.standings)


def _wanted(view: View, desired: DesiredApp) -> Action | None:
    serving = view.serving
    return first(view, desired) if serving is None else change(view, desired, serving)


def _held(view: View, desired: DesiredApp) -> Action | None:
    if desired.suspended:
        return Action(view.app, "hold", ("suspended in the spec",))
    hold = hold_in_force(view, desired)
    if hold is None or (hold.kind == "pinned" and broken(view)):
        return None  # what it is pinned to is kept alive
    return Action(view.app, "hold", (hold.reason,), until=hold.until)
