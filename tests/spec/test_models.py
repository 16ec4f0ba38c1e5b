"""Models as values: made in code, compared, copied, and told without secrets."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, is_dataclass, replace

import pytest

from reconciler.spec import models
from reconciler.spec.declare import Section, default_of, fields_of
from reconciler.spec.models import App, Build, EnvRef, GitSource, Health, ImageSource, PathSource
from reconciler.spec.shapes import NOTHING, shape_of
from tests.spec.support import APP, load_app

SECTIONS = [
    one
    for one in vars(models).values()
    if isinstance(one, type) and issubclass(one, Section) and one is not Section
]


def test_model_from_code_equals_model_from_a_file():
    assert load_app(
        "title: Shop",
        "build: {args: {A: hunter2}, secrets: {t: {env: T}}}",
        "env: {A: hunter2, B: {env: B}}",
        "command: [serve, hunter2]",
        "ports: ['80:80']",
        "resources: {cpus: 1.5}",
        "health: {http: {port: 80}}",
    ) == replace(APP, source=PathSource(path="."))


@pytest.mark.parametrize("section", SECTIONS)
def test_section_is_a_frozen_dataclass(section):
    assert is_dataclass(section)
    assert section.__dataclass_params__.frozen
    assert section.__doc__
    assert not section.__doc__.startswith(section.__name__)


def test_model_is_frozen():
    with pytest.raises(FrozenInstanceError):
        APP.title = "x"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del APP.title


def test_model_survives_pickle_and_copy():
    assert pickle.loads(pickle.dumps(APP)) == APP == copy.deepcopy(APP)


def test_model_equality_and_hash():
    assert PathSource(path="a") != ImageSource(image="a")
    assert PathSource(path="a") != "a"
    assert len({PathSource(path="a"), PathSource(path="a"), PathSource(path="b")}) == 2


def test_model_defaults_are_not_shared():
    one, other = App(source=PathSource(path=".")), App(source=PathSource(path="."))
    one.env["A"] = one.build.args["A"] = "x"
    assert other.env == other.build.args == {}


def test_default_of_a_field():
    assert default_of(App, "env") == {}
    assert default_of(App, "health") == Health()
    assert default_of(App, "restart") == "unless-stopped"
    assert default_of(App, "source") is None


def test_repr_hides_what_may_be_secret():
    assert "hunter2" not in repr(APP)
    assert repr(APP).startswith("App(title='Shop', source=GitSource(git=…, watch=('lib',)), build=")


def test_shape_of_a_field():
    app = shape_of(App)
    assert app.at("build").section is Build
    assert app.at("build").at("secrets").at("x").at("env").marker
    assert app.at("source").at("git").expects == "the URL of a git repository"
    assert app.at("source").at("watch", ["git"]).expects == "a list of paths"
    assert app.at("env").at("A").is_text
    assert app.at("nothing") is app.at("source").at("nothing") is NOTHING
    assert next(iter(fields_of(GitSource))) == "git"
    assert not fields_of(EnvRef(env="X").env)
