"""What isn't done says what a person can do about it."""

from __future__ import annotations

from typing import Any

from reconciler.plan.planner import make_plan
from tests.plan.building import NOW, make_desired, make_observed, make_recorded


def todos(desired: dict[str, Any], names: list[str]) -> set[str]:
    plan = make_plan(
        make_desired(desired),
        make_recorded({name: {"serving": {}} for name in names}),
        make_observed({name: [{}] for name in names}),
        NOW,
    )
    return {action.todo for action in plan.actions if action.kind == "keep"}


def test_app_gone_without_pruning_names_prune() -> None:
    assert todos({"apps": {"api": {}}}, ["api", "old"]) == {"`reconcile apply --prune` removes it."}


def test_apps_gone_without_pruning_and_beyond_the_limit_name_both() -> None:
    wanted = "`reconcile apply --prune --allow-removals 3` removes them."
    assert todos({"apps": {}}, ["a", "b", "c"]) == {wanted}


def test_too_many_removals_name_the_number_to_allow() -> None:
    wanted = "If that is meant: `reconcile apply --allow-removals 3`."
    assert todos({"apps": {}, "prune": True}, ["a", "b", "c"]) == {wanted}
