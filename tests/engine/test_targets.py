"""Targets that one pass has of the one before it, and what makes them new."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.engine.desired import Policy, Target
from reconciler.engine.snapshot import take_snapshot
from reconciler.engine.wiring import open_tools
from reconciler.pipeline.tools import Tools
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.loader import load_spec
from reconciler.testing import FakeRuntime

SPEC = """
version: 1
project: shop
apps:
  api: {source: {path: api}, env: {TOKEN: {file: token}, LEVEL: info}}
  web: {source: {path: web}, health: {timeout: 5s}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("api", "web"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "token").write_text("first-token\n")
    (tmp_path / "apps.yaml").write_text(SPEC)
    return tmp_path


@pytest.fixture
def tools(home: Path) -> Iterator[Tools]:
    with open_tools(home / "state", runtime=FakeRuntime()) as made:
        yield made


def write_file(home: Path, loaded: LoadedSpec) -> LoadedSpec:
    (home / "api" / "main.py").write_text("print()\n")
    return loaded


def rotate_secret(home: Path, loaded: LoadedSpec) -> LoadedSpec:
    (home / "token").write_text("second-token\n")
    return loaded


def lose_secret(home: Path, loaded: LoadedSpec) -> LoadedSpec:
    (home / "token").unlink()
    return loaded


def edit_spec(home: Path, loaded: LoadedSpec) -> LoadedSpec:
    (home / "apps.yaml").write_text(SPEC.replace("info", "debug"))
    return replace(loaded, spec=load_spec(home / "apps.yaml").spec)


@pytest.mark.parametrize("change", [write_file, rotate_secret, lose_secret, edit_spec])
def test_targets_of_the_pass_before_until_something_changes(
    home: Path, tools: Tools, change: Callable[[Path, LoadedSpec], LoadedSpec]
) -> None:
    policy, loaded = Policy(), load_spec(home / "apps.yaml")

    def targets(loaded: LoadedSpec, policy: Policy = policy) -> dict[str, Target]:
        return dict(take_snapshot(tools, loaded, policy).targets)

    first, second = targets(loaded), targets(loaded)
    assert first["shop/api"] is second["shop/api"]
    assert first["shop/web"] is second["shop/web"]
    changed = change(home, loaded)
    third = targets(changed)
    assert third["shop/api"].desired != first["shop/api"].desired
    assert third["shop/web"].desired == first["shop/web"].desired
    anew = targets(changed, Policy())
    assert {n: one.desired for n, one in anew.items()} == {n: t.desired for n, t in third.items()}


def test_targets_of_another_revision_of_the_spec_say_so(home: Path, tools: Tools) -> None:
    policy, loaded = Policy(), load_spec(home / "apps.yaml")
    take_snapshot(tools, loaded, policy)
    newer = take_snapshot(tools, replace(loaded, revision="c0ffee"), policy)
    assert newer.targets["shop/api"].spec_revision == "c0ffee"
