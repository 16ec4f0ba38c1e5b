"""Saving an app's environment: texts become values, references stay references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.config_file import ConfigFile
from reconciler.engine.configuration import Lasting, Unchangeable
from reconciler.engine.environment import (
    EnvironmentChange,
    save_environment,
    set_variables,
    show_build_args,
    show_build_secrets,
    show_environment,
    unset_variables,
)
from reconciler.errors import ReadOnly, SpecError, UsageError
from reconciler.spec.models import App, EnvRef, FileRef

SPEC = """\
version: 1
project: shop
include: [apps/*.yaml]
defaults:
  env: {REGION: eu, SHARED: {file: shared}}
apps:
  api:
    source: {path: .}
    build:
      args: {NODE_ENV: production}
      secrets: {npm: {env: NPM_TOKEN}}
    env:
      LEVEL: info   # or debug
      # the database
      DB: {file: db}
      TOKEN: {env: API_TOKEN}
  image:
    source: {image: nginx}
"""
INCLUDED = "apps:\n  web:\n    source: {path: .}\n    env: {A: one}\n"


class Editor:
    """A spec in files, and one app of it at a time."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "apps").mkdir()
        (home / "apps.yaml").write_text(SPEC)
        (home / "apps/web.yaml").write_text(INCLUDED)
        (home / "db").write_text("hunter2\n")
        self.configuration: Lasting = ConfigFile(home / "apps.yaml", home / "state")

    def app(self, name: str = "api") -> App:
        return self.configuration.load().spec.apps[name]

    def save(self, name: str = "api", **change: Any) -> App:
        loaded = self.configuration.load()
        wanted = EnvironmentChange(**change)
        save_environment(self.configuration, loaded, f"shop/{name}", wanted, "why")
        return self.app(name)

    def edit(self, how: Callable[..., str], what: Any, name: str = "api") -> App:
        how(self.configuration, self.configuration.load(), f"shop/{name}", what, "why")
        return self.app(name)


@pytest.fixture
def editor(tmp_path: Path) -> Editor:
    return Editor(tmp_path)


INHERITED = {"REGION": "eu", "SHARED": FileRef(file="shared")}
REFERENCES = {"DB": FileRef(file="db"), "TOKEN": EnvRef(env="API_TOKEN")}


def test_saving_what_is_shown_changes_nothing(editor: Editor) -> None:
    before = (editor.home / "apps.yaml").read_bytes()
    for name in ("api", "image", "web"):
        app = editor.app(name)
        same = editor.save(
            name,
            env=show_environment(app),
            build_args=show_build_args(app),
            build_secrets=show_build_secrets(app),
            create_env_file=app.env_file,
        )
        assert same == app
    assert (editor.home / "apps.yaml").read_bytes() == before
    assert (editor.home / "apps/web.yaml").read_text() == INCLUDED


def test_text_replaces_the_environment_but_not_the_defaults(editor: Editor) -> None:
    app = editor.save(env="LEVEL=debug\r\n\r\nREGION=eu\nEXTRA='a # b'\n")
    assert app.env == INHERITED | {"LEVEL": "debug", "EXTRA": "a # b"}
    text = (editor.home / "apps.yaml").read_text()
    assert "      LEVEL: debug   # or debug\n" in text
    assert "      # the database\n" in text
    assert text.count("REGION") == 1
    assert editor.save(env="REGION=us").env == INHERITED | {"REGION": "us"}
    assert editor.save(env=None).env == INHERITED


@pytest.mark.parametrize(
    "text",
    [
        "DB=${{file.db}}\nTOKEN=${{env.API_TOKEN}}",
        "DB=\nTOKEN=''",
        "DB=*****\nTOKEN=*****",
        "DB=hunter2\nTOKEN=t0ken",  # what they stand for
    ],
)
def test_reference_stays_a_reference(
    text: str, editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "t0ken")
    assert editor.save(env=text).env == INHERITED | REFERENCES


def test_reference_can_be_replaced_removed_renamed_and_not_made(editor: Editor) -> None:
    assert editor.save(env="DB=sqlite\nT2=${{env.API_TOKEN}}").env == INHERITED | {
        "DB": "sqlite",
        "T2": EnvRef(env="API_TOKEN"),
    }
    before = (editor.home / "apps.yaml").read_bytes()
    with pytest.raises(UsageError, match=r"env\.X would refer") as caught:
        editor.save(env="X=${{file./etc/shadow}}")
    assert caught.value.app == "shop/api"
    assert (editor.home / "apps.yaml").read_bytes() == before
    app = editor.save(env="X=${{file./etc/shadow}}", new_references=True)
    assert app.env["X"] == FileRef(file="/etc/shadow")


def test_text_that_looks_like_a_reference_stays_text(editor: Editor) -> None:
    app = editor.edit(set_variables, {"T": "${{env.X}}"})
    assert app.env["T"] == "${{env.X}}"
    assert editor.save(env=show_environment(app)) == app


def test_fields_that_are_left_out_stay_and_none_clears(editor: Editor) -> None:
    before = editor.app()
    app = editor.save(build_args="A=1\nB=${{env.X}}", create_env_file=True)
    args = replace(before.build, args={"A": "1", "B": "${{env.X}}"})
    assert app == replace(before, build=args, env_file=True)
    app = editor.save(build_args=None, build_secrets=None, create_env_file=None)
    assert app == replace(before, build=replace(before.build, args={}, secrets={}))


def test_build_secret_with_a_value_is_refused(editor: Editor) -> None:
    with pytest.raises(UsageError, match=r"build\.secrets\.npm") as caught:
        editor.save(build_secrets="npm=hunter2")
    assert "hunter2" not in str(caught.value)


def test_ready_image_has_no_env_file_and_no_build_arguments(editor: Editor) -> None:
    app = editor.save("image", env="A=1", create_env_file=True, build_args="", build_secrets=None)
    assert app.env == INHERITED | {"A": "1"}
    assert not app.env_file
    with pytest.raises(SpecError, match="build"):
        editor.save("image", build_args="A=1")


def test_included_file_is_edited_where_the_app_is(editor: Editor) -> None:
    shown = show_environment(editor.app("web"))
    assert "SHARED=${{file.../shared}}\n" in shown
    app = editor.save("web", env=shown.replace("one", "two"))
    assert (editor.home / "apps/web.yaml").read_text() == INCLUDED.replace("one", "two")
    assert (editor.home / "apps.yaml").read_text() == SPEC
    assert app.env["SHARED"] == FileRef(file="../shared")


def test_variables_are_set_and_unset_beside_the_others(editor: Editor) -> None:
    before = editor.app().env
    app = editor.edit(set_variables, {"LEVEL": "debug", "NEW": EnvRef(env="X")})
    assert app.env == before | {"LEVEL": "debug", "NEW": EnvRef(env="X")}
    app = editor.edit(unset_variables, ["LEVEL", "NEW"])
    assert app.env == INHERITED | REFERENCES
    for name, why in (("REGION", "defaults"), ("NOPE", "no variable")):
        with pytest.raises(UsageError, match=why):
            editor.edit(unset_variables, [name])


def test_spec_that_may_only_be_read_is_not_edited(editor: Editor) -> None:
    editor.configuration = Unchangeable(editor.configuration, "the daemon runs with --read-only")
    with pytest.raises(ReadOnly, match="--read-only"):
        editor.save(env="A=1")
    assert (editor.home / "apps.yaml").read_text() == SPEC
