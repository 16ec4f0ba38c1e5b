"""The spec that a child loads is the spec that loading it here gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.cli.ahead import start_loading
from reconciler.errors import SpecError
from reconciler.spec.loader import load_spec

TEXT = "version: 1\nproject: shop\napps:\n  api: {source: {path: ./api}, env: {A: %s}}\n"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "spec"


def test_loading_changed_file_in_a_child(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "apps.yaml"
    for value in ("one", "two"):
        path.write_text(TEXT % value)
        loading = start_loading(path, cache)
        assert (loading.found is None) == bool(loading.child)
        assert loading.result().spec.apps["api"].env == {"A": value}
        assert loading.result() == load_spec(path)


def test_loading_unchanged_file_needs_no_child(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "apps.yaml"
    path.write_text(TEXT % "one")
    load_spec(path, cache)
    loading = start_loading(path, cache)
    assert loading.child == 0
    assert loading.result() == load_spec(path)


def test_loading_broken_file_tells_its_mistakes_here(
    tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "apps.yaml"
    path.write_text(TEXT % "[1]")
    loading = start_loading(path, cache)
    with pytest.raises(SpecError, match="the spec has 1 problem"):
        loading.result()
    assert capfd.readouterr() == ("", "")


def test_loading_reaps_its_child(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "apps.yaml"
    path.write_text(TEXT % "one")
    loading = start_loading(path, cache)
    child = loading.child
    loading.result()
    assert child
    with pytest.raises(ChildProcessError):
        os.waitpid(child, 0)


def test_loading_without_a_state_directory(tmp_path: Path) -> None:
    path = tmp_path / "apps.yaml"
    path.write_text(TEXT % "one")
    loading = start_loading(path, tmp_path / "none" / "spec")
    assert loading.child == 0
    assert "api" in loading.result().spec.apps
