"""Models as plain data: what the state keeps."""

from __future__ import annotations

import json

import pytest

from reconciler.spec.models import App, Build, GitSource, Health, ImageSource, PathSource
from reconciler.spec.plain import from_plain, to_plain
from tests.spec.support import APP


@pytest.mark.parametrize("exclude_defaults", [True, False])
@pytest.mark.parametrize(
    "app",
    [
        APP,
        App(source=PathSource(path=".")),
        App(source=ImageSource(image="nginx"), revision="1.27", command=None),
        App(source=PathSource(path="."), build=Build(static="public"), command=()),
        App(source=PathSource(path="."), health=Health(tcp=5), suspend=True),
    ],
)
def test_there_and_back(app, exclude_defaults):
    data = json.loads(json.dumps(to_plain(app, exclude_defaults=exclude_defaults)))
    assert from_plain(App, data) == app
    assert from_plain(App, dict(sorted(data.items()))) == app


def test_shapes():
    source = GitSource(git="/x", watch=("a", "b"))
    assert to_plain(source) == {"git": "/x", "watch": ["a", "b"]}
    assert to_plain(App(source=source)) == {"source": {"git": "/x", "watch": ["a", "b"]}}
    assert to_plain(Health(), exclude_defaults=False) == {
        "http": None,
        "tcp": None,
        "command": None,
        "timeout": "60s",
        "stable": "3s",
    }


def test_fields_of_other_versions_are_passed_over():
    data = {"source": {"path": ".", "new": 1}, "newer": {"x": 1}}
    assert from_plain(App, data) == App(source=PathSource(path="."))


def test_kind_of_source_of_another_version():
    with pytest.raises(ValueError, match="oci"):
        from_plain(App, {"source": {"oci": "x"}})


def test_made_models_share_nothing_that_can_change():
    data = to_plain(App(source=PathSource(path=".")))
    one, other = from_plain(App, data), from_plain(App, data)
    one.env["A"] = "x"
    assert other.env == {}
