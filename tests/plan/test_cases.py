"""Each case is a file's entry: desired, recorded, observed, and the plan as text."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.plan.actions import Plan
from reconciler.plan.planner import make_plan
from tests.plan.building import NOW, make_desired, make_note, make_observed, make_recorded


def load_cases() -> list[Any]:
    cases = []
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml")):
        for name, case in yaml.safe_load(path.read_text()).items():
            cases.append(pytest.param(case, id=f"{path.stem}: {name}"))
    return cases


def describe(plan: Plan) -> list[str]:
    lines = []
    for action in plan.actions:
        line = f"{action.app.removeprefix('shop/')} {action.kind}: {action.cause}"
        if action.stages:
            line += f" [{' '.join(action.stages)}]"
        if action.until:
            line += f" until +{(action.until - NOW).total_seconds():.0f}s"
        lines.append(line)
    return lines


@pytest.mark.parametrize("case", load_cases())
def test_plan(case: dict[str, Any]) -> None:
    plan = make_plan(
        make_desired(case["desired"]),
        make_recorded(case.get("recorded", {})),
        make_observed(case.get("observed", {}), case.get("away")),
        NOW,
    )
    assert describe(plan) == case["plan"]
    assert plan.chained == case.get("chained", False)
    if "next_in" in case:
        assert plan.next_at == NOW + timedelta(seconds=case["next_in"])
    if "notes" in case:
        notes = {f"shop/{name}": make_note(note) for name, note in case["notes"].items()}
        assert plan.notes == notes
    for name, details in case.get("details", {}).items():
        (action, *_) = plan.for_app(f"shop/{name}")
        found = {
            "joins": action.replicas,
            "places": [host for _, host in action.places],
            "todo": action.todo,
        }
        assert {key: found[key] for key in details} == details
    assert plan.changes == case.get(
        "changes", any(line.split()[1].rstrip(":") in CHANGE_WORDS for line in case["plan"])
    )


CHANGE_WORDS = {"deploy", "restart", "redeploy", "push", "heal", "scale", "move", "remove", "clean"}
