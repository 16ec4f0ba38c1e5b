"""What holds for every plan, whatever the three states are."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.actions import CHANGING, DEPLOYING, Plan
from reconciler.plan.hashes import run_hash, target_hash
from reconciler.plan.planner import make_plan
from reconciler.plan.states import (
    Container,
    Desired,
    DesiredApp,
    Failure,
    Hold,
    InFlight,
    Observed,
    Recorded,
    RecordedApp,
    Serving,
    Trouble,
)
from tests.plan.building import IMAGE, NOW

names = st.sampled_from(["shop/api", "shop/db", "shop/web", "shop/worker"])
trees = st.sampled_from(["tree-1", "tree-2", "tree-3"])
facts = st.dictionaries(st.sampled_from(["env.A", "env.B", "ports"]), st.sampled_from("xy"))
moments = st.sampled_from([None, NOW.replace(hour=11), NOW.replace(hour=13)])
push_targets = st.sampled_from(["", "registry.example.com/app"])


@st.composite
def desired_apps(draw: st.DrawFn, name: str) -> DesiredApp:
    if draw(st.integers(0, 5)) == 0:
        return DesiredApp(name, trouble=Trouble("the git host is away"))
    tree = draw(trees)
    return DesiredApp(
        app=name,
        revision="main",
        resolved=draw(st.sampled_from(["a" * 40, "b" * 40])),
        build={"source..": tree},
        run=draw(facts),
        settings=draw(facts),
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
        draw(facts),
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
    return RecordedApp(name, serving if has else None, failures, in_flight, hold)


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
    )
    observed = {
        name: tuple(draw(st.lists(containers, max_size=2, unique_by=lambda c: c.id)))
        for name in draw(st.sets(names))
    }
    policy = {"prune": draw(st.booleans()), "allow_removals": draw(st.sampled_from([None, 1, 9]))}
    return Desired("shop", desired, **policy), Recorded(recorded), Observed(observed)


def apply_plan(
    plan: Plan, desired: Desired, recorded: Recorded, observed: Observed
) -> tuple[Recorded, Observed]:
    """What a perfect executor would leave behind, without failures and holds."""
    apps, seen = dict(recorded.apps), dict(observed.apps)
    for action in plan.actions:
        known = apps.get(action.app, RecordedApp(action.app))
        if action.kind == "remove":
            apps.pop(action.app, None)
            seen.pop(action.app, None)
        elif action.kind == "clean":
            seen[action.app] = tuple(c for c in seen[action.app] if c.id not in action.containers)
        elif action.kind == "heal":
            assert known.serving
            seen[action.app] = (_container(action.app, known.serving),)
        elif action.kind in ("deploy", "restart", "push", "record"):
            serving = _serving(desired.apps[action.app], known.serving, action.kind)
            apps[action.app] = replace(known, serving=serving)
            if action.kind in ("deploy", "restart"):
                seen[action.app] = (_container(action.app, serving),)
    return Recorded(apps), Observed(seen)


def _serving(app: DesiredApp, old: Serving | None, kind: str) -> Serving:
    pushed = app.push_to if kind != "record" or not old else old.pushed_to
    return Serving(
        "dep-serving", target_hash(app), app.revision, app.resolved, app.build, app.run,
        app.settings if kind != "push" or not old else old.settings, IMAGE, pushed, "c",
    )  # fmt: skip


def _container(name: str, serving: Serving) -> Container:
    return Container(
        name, "c", "x", "dep-serving", "running", IMAGE, run_hash=run_hash(IMAGE, serving.run)
    )


def _calm(world: tuple[Desired, Recorded, Observed]) -> tuple[Desired, Recorded, Observed]:
    """Without what holds an app back: then a plan must reach the spec."""
    desired, recorded, observed = world
    apps = {
        name: replace(app, suspended=False) for name, app in desired.apps.items() if not app.trouble
    }
    calm = {
        name: replace(app, failures={}, in_flight=(), hold=None)
        for name, app in recorded.apps.items()
    }
    return replace(desired, apps=apps), Recorded(calm), observed


@given(worlds())
def test_plan_input_order_does_not_matter(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = world
    turned = (
        replace(desired, apps=dict(reversed(desired.apps.items()))),
        Recorded(dict(reversed(recorded.apps.items()))),
        Observed(dict(reversed(observed.apps.items()))),
    )
    assert make_plan(*turned, NOW) == make_plan(desired, recorded, observed, NOW)


@given(worlds())
def test_plan_declared_app_is_never_removed(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = world
    for action in make_plan(desired, recorded, observed, NOW).actions:
        assert action.kind not in ("remove", "keep") or action.app not in desired.apps


@given(worlds())
def test_plan_removes_nothing_without_pruning(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = world
    plan = make_plan(replace(desired, prune=False), recorded, observed, NOW)
    assert not [action for action in plan.actions if action.kind == "remove"]


@given(worlds())
def test_plan_every_action_has_a_cause(world: tuple[Desired, Recorded, Observed]) -> None:
    plan = make_plan(*world, NOW)
    assert all(action.causes and all(action.causes) for action in plan.actions)
    assert all(bool(action.stages) == (action.kind in DEPLOYING) for action in plan.actions)


@given(worlds())
def test_plan_one_deployment_for_each_app(world: tuple[Desired, Recorded, Observed]) -> None:
    plan = make_plan(*world, NOW)
    deploying = [action.app for action in plan.actions if action.kind in DEPLOYING]
    assert len(deploying) == len(set(deploying))


@given(worlds())
def test_plan_applied_reaches_the_spec(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = _calm(world)
    for _ in range(3):  # a restart, then a push, then leftovers: at most three passes
        plan = make_plan(desired, recorded, observed, NOW)
        recorded, observed = apply_plan(plan, desired, recorded, observed)
    for name, app in desired.apps.items():
        serving = recorded.apps[name].serving
        assert serving is not None
        assert (serving.build, serving.run, serving.resolved) == (app.build, app.run, app.resolved)
        assert [c.state for c in observed.apps[name] if c.deployment == "dep-serving"] == [
            "running"
        ]
    assert not [
        action
        for action in make_plan(desired, recorded, observed, NOW).actions
        if action.kind in CHANGING or action.kind == "record"
    ]


@given(worlds())
def test_plan_suspended_app_is_left_alone(world: tuple[Desired, Recorded, Observed]) -> None:
    desired, recorded, observed = world
    held = replace(
        desired, apps={name: replace(app, suspended=True) for name, app in desired.apps.items()}
    )
    for action in make_plan(held, recorded, observed, NOW).actions:
        assert action.app not in desired.apps or action.kind in ("hold", "wait")
