"""The files in examples/ are valid, and show what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.spec.loader import load_spec
from reconciler.spec.models import GitSource, ImageSource, PathSource
from reconciler.spec.revisions import parse_range

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*/apps.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_example_is_valid(path):
    assert load_spec(path).spec.apps


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("**/*.yaml")), ids=str)
def test_example_names_a_schema_that_is_there(path):
    match = re.search(r"^# yaml-language-server: \$schema=(\S+)$", path.read_text(), re.MULTILINE)
    assert match
    assert (path.parent / match[1]).is_file()


def test_examples_cover_the_common_cases():
    apps = {path.parent.name: load_spec(path).spec.apps for path in FILES}
    assert {"git-dockerfile", "monorepo", "prebuilt-image", "static-site", "private-registry"} <= (
        apps.keys()
    )
    strategies = {name: app.strategy for name, app in apps["rollouts"].items()}
    assert strategies == {"database": "recreate", "api": "blue-green", "web": "canary"}
    assert apps["git-dockerfile"]["api"].build.args == {"NODE_VERSION": "22.10"}
    assert all(isinstance(app.source, GitSource) for app in apps["monorepo"].values())
    assert apps["monorepo"]["api"].env["LOG_LEVEL"] == "debug"
    assert parse_range(apps["prebuilt-image"]["database"].revision or "")
    assert isinstance(apps["static-site"]["www"].source, PathSource)
    assert isinstance(apps["private-registry"]["reports"].source, ImageSource)


def test_static_example_has_its_page():
    app = load_spec(EXAMPLES / "static-site" / "apps.yaml").spec.apps["www"]
    assert (EXAMPLES / "static-site" / (app.build.static or "") / "index.html").is_file()
