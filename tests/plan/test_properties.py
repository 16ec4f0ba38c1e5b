"""What holds for every plan, whatever the three states are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.plan.actions import CHANGING, DEPLOYING, Action, Plan
from reconciler.plan.hashes import run_hash, target_hash
from reconciler.plan.places import places_of
from reconciler.plan.planner import make_plan
from reconciler.plan.renaming import follow_renames
from reconciler.plan.states import (
    Container,
    Desired,
    DesiredApp,
    Failure,
    Hold,
    InFlight,
    Note,
    Observed,
    Place,
    Recorded,
    RecordedApp,
    Serving,
    Trouble,
)
from reconciler.plan.windows import HELD_OUTSIDE
from reconciler.spec.models import Schedule, Window
from tests.plan.building import IMAGE, NOW

few = settings(max_examples=40)
"""A world takes as long to make as ten plans."""
NAMES = ("shop/api", "shop/db", "shop/web", "shop/worker")
names = st.sampled_from(NAMES)
trees = st.sampled_from(["tree-1", "tree-2", "tree-3"])
facts = st.dictionaries(st.sampled_from(["env.A", "env.B", "ports"]), st.sampled_from("xy"))
HOSTS = ("local", "web1", "web2")
places = st.sampled_from([(), (), ("web1",), ("web2",), ("web1", "web2"), ("local", "web1")])
moments = st.sampled_from([None, NOW.replace(hour=11), NOW.replace(hour=13)])
notes = st.builds(
    Note, flaps=st.integers(0, 3), flaps_until=moments, cause=st.sampled_from(["", "broken"])
)
push_targets = st.sampled_from(["", "registry.example.com/app"])


windows = st.sampled_from(
    [
        (),
        (Window(allow="0 11 * * *", lasts="2h"),),
        (Window(allow="0 9 * * mon-fri", lasts="8h", tz="Europe/Berlin"),),
        (Window(deny="0 0 * * sat", lasts="24h"),),
    ]
)
schedules = st.sampled_from([None, Schedule(cron="0 4 * * *"), Schedule(cron="0 4 1 * *")])
times = st.sampled_from([NOW - timedelta(seconds=s) for s in (1, 30, 60, 90, 200, 299, 400)])


@st.composite
def settings_of(draw: st.DrawFn) -> dict[str, str]:
    hosts = draw(places)
    return {**draw(facts), **({"host": json.dumps(hosts)} if hosts else {})}


@st.composite
def desired_apps(draw: st.DrawFn, name: str) -> DesiredApp:
    # Only on names before its own, so that no circle comes up; some of them aren't there.
    smaller = [other for other in sorted(NAMES) if other < name]
    needs = tuple(draw(st.sets(st.sampled_from(smaller)))) if smaller else ()
    renamed = draw(st.sampled_from(["", "", f"{name}-old"]))
    bound = DesiredApp(
        name,
        depends_on=needs,
        windows=draw(windows),
        schedule=draw(schedules),
        previously=renamed,
    )
    if draw(st.integers(0, 5)) == 0:
        return replace(bound, trouble=Trouble("the git host is away"))
    tree = draw(trees)
    return replace(
        bound,
        revision="main",
        resolved=draw(st.sampled_from(["a" * 40, "b" * 40])),
        build={"source..": tree},
        run=draw(facts),
        settings=draw(settings_of()),
        push_to=draw(push_targets),
        suspended=draw(st.booleans()),
    )


@st.composite
def recorded_apps(draw: st.DrawFn, name: str, desired: DesiredApp | None) -> RecordedApp:
    build, run = {"source..": draw(trees)}, draw(facts)
    target = target_hash(DesiredApp(app=name, build=build, run=run))
    serving = Serving(
        "dep-serving",
        target,
        "main",
        "a" * 40,
        build,
        run,
        draw(settings_of()),
        IMAGE,
        draw(push_targets),
        "c",
    )
    wanted = target_hash(desired) if desired and not desired.trouble else "other"
    failures = {
        key: Failure("dep-failed", "it broke", 1, draw(moments))
        for key in draw(st.sets(st.sampled_from([wanted, target])))
    }
    in_flight = draw(st.sampled_from([(), (InFlight("dep-1", "running", wanted),)]))
    hold = draw(
        st.sampled_from([None, Hold("suspended", "by hand"), Hold("pinned", "x", None, wanted)])
    )
    has = draw(st.booleans())
    return RecordedApp(
        name,
        serving if has else None,
        failures,
        in_flight,
        hold,
        heals=tuple(draw(st.lists(times, max_size=6))),
        built_at=draw(st.sampled_from([None, NOW - timedelta(days=2), NOW])),
        note=draw(notes),
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Desired, Recorded, Observed]:
    desired = {name: draw(desired_apps(name)) for name in draw(st.sets(names))}
    recorded = {name: draw(recorded_apps(name, desired.get(name))) for name in draw(st.sets(names))}
    containers = st.builds(
        Container,
        app=st.just(""),
        id=st.sampled_from(["c", "d"]),
        name=st.just("x"),
        deployment=st.sampled_from(["dep-serving", "dep-old"]),
        state=st.sampled_from(["running", "exited", "created", "restarting"]),
        image_id=st.just(IMAGE),
        health=st.sampled_from(["", "healthy", "unhealthy"]),
        host=st.sampled_from(HOSTS),
    )
    labels = st.sampled_from([*NAMES, *(f"{name}-old" for name in NAMES)])
    observed = {
        name: tuple(draw(st.lists(containers, max_size=2, unique_by=lambda c: c.id)))
        for name in draw(st.sets(labels))
    }
    for name in draw(st.sets(names)):
        recorded[f"{name}-old"] = draw(recorded_apps(f"{name}-old", desired.get(name)))
    policy = {
        "prune": draw(st.booleans()),
        "allow_removals": draw(st.sampled_from([None, 1, 9])),
        "hosts": draw(st.sampled_from([frozenset(HOSTS), frozenset({"local", "web1"})])),
    }
    away = {("docker", host): "away" for host in draw(st.sets(st.sampled_from(HOSTS), max_size=2))}
    seen = {
        name: tuple(one for one in found if one.place not in away)
        for name, found in observed.items()
    }
    return Desired("shop", desired, **policy), Recorded(recorded), Observed(seen, away)


def apply_plan(
    plan: Plan, desired: Desired, recorded: Recorded, observed: Observed
) -> tuple[Recorded, Observed]:
    """What a perfect executor would leave behind, without failures and holds."""
    apps, seen = dict(recorded.apps), dict(observed.apps)
    for action in plan.actions:
        if action.renamed_from:
            old = apps.pop(action.renamed_from, RecordedApp(action.app))
            apps[action.app] = replace(old, app=action.app)
            found = [*seen.get(action.app, ()), *seen.pop(action.renamed_from, ())]
            seen[action.app] = tuple(found)
            continue
        known = apps.get(action.app, RecordedApp(action.app))
        if action.kind == "remove":
            apps.pop(action.app, None)
            seen.pop(action.app, None)
        elif action.kind == "clean":
            seen[action.app] = tuple(c for c in seen[action.app] if c.id not in action.containers)
        elif action.kind == "heal":
            assert known.serving
            seen[action.app] = _swapped(seen.get(action.app, ()), action, known.serving, ())
        elif action.kind in ("deploy", "restart", "move", "push", "record"):
            serving = _serving(desired.apps[action.app], known.serving, action.kind)
            apps[action.app] = replace(known, serving=serving)
            if action.kind in ("deploy", "restart", "move"):
                left = places_of(known.serving.settings).all if known.serving else ()
                seen[action.app] = _swapped(seen.get(action.app, ()), action, serving, left)
        elif action.kind == "redeploy":
            apps[action.app] = replace(known, built_at=NOW)
    for name, note in plan.notes.items():
        apps[name] = replace(apps.get(name, RecordedApp(name)), note=note)
    return Recorded(apps), Observed(seen, observed.away)


def _swapped(
    found: Sequence[Container], action: Action, serving: Serving, left: Sequence[Place]
) -> tuple[Container, ...]:
    """New ones where the action works, or where one is missing; what is elsewhere stays, unless
    that was left."""
    here = action.places or places_of(serving.settings).all
    works = {
        one.place: one
        for one in found
        if action.replicas and one.deployment == "dep-serving" and one.state == "running"
    }
    new = [works.get(place) or _container(action.app, serving, place) for place in here]
    return (*new, *(one for one in found if one.place not in (*here, *left)))


def _serving(app: DesiredApp, old: Serving | None, kind: str) -> Serving:
    pushed = app.push_to if kind != "record" or not old else old.pushed_to
    return Serving(
        "dep-serving", target_hash(app), app.revision, app.resolved, app.build, app.run,
        app.settings if kind != "push" or not old else old.settings, IMAGE, pushed, "c",
    )  # fmt: skip


def _container(name: str, serving: Serving, place: Place) -> Container:
    return Container(
        name, f"c-{place[1]}", "x", "dep-serving", "running", IMAGE,
        run_hash=run_hash(IMAGE, serving.run), host=place[1],
    )  # fmt: skip


def _calm(world: tuple[Desired, Recorded, Observed]) -> tuple[Desired, Recorded, Observed]:
    """Without what holds an app back, and all hosts there: then a plan must reach the spec."""
    desired, recorded, observed = world
    observed = Observed(observed.apps)
    apps = {
        name: replace(app, suspended=False, windows=(), trouble=None)
        for name, app in desired.apps.items()
    }
    calm = {
        name: replace(app, failures={}, in_flight=(), hold=None, heals=(), note=Note())
        for name, app in recorded.apps.items()
    }
    return replace(desired, apps=apps), Recorded(calm), observed


@given(worlds())
def test_plan_input_order_does_not_matter(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = world
    turned = (
        replace(desired, apps=dict(reversed(desired.apps.items()))),
        Recorded(dict(reversed(recorded.apps.items()))),
        Observed(dict(reversed(observed.apps.items())), observed.away),
    )
    assert make_plan(*turned, NOW) == make_plan(desired, recorded, observed, NOW)


@few
@given(worlds())
def test_plan_declared_app_is_never_removed(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = world
    for action in make_plan(desired, recorded, observed, NOW).actions:
        assert action.kind not in ("remove", "keep") or action.app not in desired.apps


@few
@given(worlds())
def test_plan_removes_nothing_without_pruning(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = world
    plan = make_plan(replace(desired, prune=False), recorded, observed, NOW)
    assert not [action for action in plan.actions if action.kind == "remove"]


@few
@given(worlds())
def test_plan_every_action_has_a_cause(world: tuple[Desired, Recorded, Observed]) -> None:
    plan = make_plan(*world, NOW)
    assert all(action.causes and all(action.causes) for action in plan.actions)
    assert all(bool(action.stages) == (action.kind in DEPLOYING) for action in plan.actions)


@few
@given(worlds())
def test_plan_one_deployment_for_each_app(world: tuple[Desired, Recorded, Observed]) -> None:
    plan = make_plan(*world, NOW)
    deploying = [action.app for action in plan.actions if action.kind in DEPLOYING]
    assert len(deploying) == len(set(deploying))


@given(worlds())
def test_plan_applied_reaches_the_spec(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = _calm(world)
    # A restart, then a push, then leftovers; and one link of the dependencies after the other.
    for _ in range(4 + len(desired.apps)):
        plan = make_plan(desired, recorded, observed, NOW)
        recorded, observed = apply_plan(plan, desired, recorded, observed)
    for name, app in desired.apps.items():
        serving = recorded.apps[name].serving
        assert serving is not None
        assert (serving.build, serving.run, serving.resolved) == (app.build, app.run, app.resolved)
        found = [c.place for c in observed.apps[name] if c.deployment == "dep-serving"]
        assert sorted(found) == sorted(places_of(app.settings).all)
    assert not [
        action
        for action in make_plan(desired, recorded, observed, NOW).actions
        if action.kind in CHANGING or action.kind in ("record", "wait")
    ]


@few
@given(worlds())
def test_plan_does_nothing_on_a_host_that_is_away(
    world: tuple[Desired, Recorded, Observed],
) -> None:
    desired, recorded, observed = world[0], *follow_renames(*world)
    for action in make_plan(*world, NOW).actions:
        app, known = desired.apps.get(action.app), recorded.apps.get(action.app)
        touched: tuple[Place, ...] = ()
        if action.kind == "heal" and known and known.serving:
            touched = action.places or places_of(known.serving.settings).all
        elif action.kind == "remove" and known and known.serving:
            served = places_of(known.serving.settings).all
            touched = tuple(place for place in served if place[1] in desired.hosts)
        elif action.kind in CHANGING and app:
            touched = places_of(app.settings).all
        assert action.kind == "clean" or observed.away.keys().isdisjoint(touched)


@few
@given(worlds())
def test_plan_for_one_host_does_not_depend_on_others(
    world: tuple[Desired, Recorded, Observed],
) -> None:
    desired, recorded, observed = world
    alone = {name: replace(app, depends_on=()) for name, app in desired.apps.items()}
    desired = replace(desired, apps=alone)
    away = {("docker", "elsewhere"): "away"}
    assert (
        make_plan(desired, recorded, Observed(observed.apps), NOW).actions
        == make_plan(desired, recorded, Observed(observed.apps, away), NOW).actions
    )


@few
@given(worlds())
def test_plan_suspended_app_is_left_alone(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = world
    held = replace(
        desired, apps={name: replace(app, suspended=True) for name, app in desired.apps.items()}
    )
    for action in make_plan(held, recorded, observed, NOW).actions:
        assert (
            action.app not in desired.apps or action.kind in ("hold", "wait") or action.renamed_from
        )


@few
@given(worlds())
def test_plan_notes_are_written_once(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = world
    plan = make_plan(*world, NOW)
    noted = {
        name: replace(recorded.apps.get(name, RecordedApp(name)), note=note)
        for name, note in plan.notes.items()
    }
    after = Recorded({**recorded.apps, **noted})
    again = make_plan(desired, after, observed, NOW)
    renamed = {action.app for action in plan.actions if action.renamed_from}
    assert not again.notes.keys() - renamed
    assert [a for a in again.actions if a.app not in renamed] == [
        a for a in plan.actions if a.app not in renamed
    ]


@few
@given(worlds())
def test_plan_dependency_comes_first(world: tuple[Desired, Recorded, Observed]) -> None:
    """Nothing that changes an app is done beside a change of what it needs."""
    plan = make_plan(*world, NOW)
    changed = {a.app for a in plan.actions if a.kind in ("deploy", "restart", "redeploy")}
    for name in changed:
        needs = world[0].apps[name].depends_on
        assert changed.isdisjoint(needs)


@few
@given(worlds())
def test_plan_changes_nothing_outside_windows(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = world
    closed = {
        name: replace(app, windows=(Window(deny="0 0 * * *", lasts="24h"),))
        for name, app in desired.apps.items()
    }
    plan = make_plan(replace(desired, apps=closed), recorded, observed, NOW)
    for action in plan.actions:
        assert action.kind not in HELD_OUTSIDE


@few
@given(worlds())
def test_plan_next_moment_is_to_come(world: tuple[Desired, Recorded, Observed]) -> None:
    plan = make_plan(*world, NOW)
    untils = [a.until for a in plan.actions if a.until and a.until > NOW]
    assert plan.next_at is None or plan.next_at > NOW
    assert not untils or (plan.next_at is not None and plan.next_at <= min(untils))
