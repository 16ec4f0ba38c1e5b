"""The environment of one app, shown and saved: saving is an edit of the spec.

Called by the API's saveEnvironment and by `reconcile env`. A value by reference is shown as
`${{env.NAME}}` or `${{file.PATH}}`, never as what it stands for, and stays a reference when it is
saved like that, empty, hidden, or as the very text that it stands for. What `defaults` of the
spec give an app stays there: an app's own value overrides it.
"""

from __future__ import annotations

import hmac
import os.path
import re
from collections.abc import Collection, Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from reconciler.engine.configuration import Configuration
from reconciler.errors import SecretError, UsageError
from reconciler.host.secrets import HIDDEN, Secrets
from reconciler.spec import dotenv
from reconciler.spec.declare import HostPath
from reconciler.spec.editing import DEFAULTS, SpecFile, Value, Way, find_file
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import App, EnvRef, FileRef, ImageSource
from reconciler.values import frozen

_SHOWN = re.compile(r"\$\{\{(env|file)\.(.+)\}\}")
_ENV: Way = ("env",)
_ARGS: Way = ("build", "args")
_SECRETS: Way = ("build", "secrets")


class Unset(Enum):
    """The one value that means: not said, stays as it is."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@frozen
class EnvironmentChange:
    """What an app's environment becomes: texts of KEY=VALUE lines that replace what is there.

    None clears, UNSET keeps. `create_env_file` is the spec's `env_file`. `new_references`: a
    value of the form `${{env.NAME}}` may make a reference that the app doesn't have yet; whoever
    may say so can read each secret of the host.
    """

    env: str | Unset | None = UNSET
    build_args: str | Unset | None = UNSET
    build_secrets: str | Unset | None = UNSET
    create_env_file: bool | Unset | None = UNSET
    new_references: bool = False


def show_environment(app: App) -> str:
    """The app's whole environment as KEY=VALUE lines, references in the form of the module."""
    return _show(app.env)


def show_build_args(app: App) -> str:
    """The build arguments, likewise."""
    return _show(app.build.args)


def show_build_secrets(app: App) -> str:
    """The build secrets, likewise: references all."""
    return _show(app.build.secrets)


def _show(values: Mapping[str, Value]) -> str:
    return dotenv.render(
        {name: show_value(value) for name, value in values.items() if dotenv.has_line(name)}
    )


def show_value(value: Value) -> str:
    """A text itself, a reference as `${{env.NAME}}` or `${{file.PATH}}`."""
    if isinstance(value, EnvRef):
        return f"${{{{env.{value.env}}}}}"
    return f"${{{{file.{value.file}}}}}" if isinstance(value, FileRef) else value


def find_reference(text: str) -> EnvRef | FileRef | None:
    """The reference that a text of that form shows; None for any other text."""
    match = _SHOWN.fullmatch(text)
    if match is None:
        return None
    return EnvRef(env=match[2]) if match[1] == "env" else FileRef(file=match[2])


def save_environment(
    configuration: Configuration,
    loaded: LoadedSpec,
    app: str,
    change: EnvironmentChange,
    message: str,
) -> str:
    """Edit the spec so that `app` (`<project>/<name>`) has this environment; the new revision.

    Raises `UsageError` for a text that isn't understood or a reference that may not be made,
    `ReadOnly`, `SpecError` when the spec would be invalid, and what `Configuration.edit` raises.
    """
    name = _name_in(loaded, app)
    texts = {
        way: dotenv.parse(text or "")
        for way, text in (
            (_ENV, change.env),
            (_ARGS, change.build_args),
            (_SECRETS, change.build_secrets),
        )
        if not isinstance(text, Unset)
    }
    takes_env_file = not isinstance(loaded.spec.apps[name].source, ImageSource)

    def edit(files: Mapping[Path, bytes]) -> Mapping[Path, bytes]:
        declared = _Declared(files, name)
        for way, lines in texts.items():
            resolving = _Resolving(way, declared.values(way), loaded, name, change.new_references)
            declared.replace(way, resolving.wanted(lines))
        if takes_env_file and not isinstance(change.create_env_file, Unset):
            declared.switch("env_file", to=bool(change.create_env_file))
        return declared.edited()

    return configuration.edit(edit, message)


def set_variables(
    configuration: Configuration,
    loaded: LoadedSpec,
    app: str,
    values: Mapping[str, Value],
    message: str,
) -> str:
    """Give `app` these variables beside those that it has; the new revision. Raises as above."""
    name = _name_in(loaded, app)

    def edit(files: Mapping[Path, bytes]) -> Mapping[Path, bytes]:
        declared = _Declared(files, name)
        declared.replace(_ENV, {**declared.values(_ENV), **values})
        return declared.edited()

    return configuration.edit(edit, message)


def unset_variables(
    configuration: Configuration,
    loaded: LoadedSpec,
    app: str,
    names: Collection[str],
    message: str,
) -> str:
    """Take variables from `app`; the new revision. Raises as above, and for a name that isn't
    there or comes from the defaults.
    """
    name = _name_in(loaded, app)

    def edit(files: Mapping[Path, bytes]) -> Mapping[Path, bytes]:
        declared = _Declared(files, name)
        for variable in names:
            _check_own(declared, app, variable)
        left = {key: one for key, one in declared.values(_ENV).items() if key not in names}
        declared.replace(_ENV, left)
        return declared.edited()

    return configuration.edit(edit, message)


def _check_own(declared: _Declared, app: str, variable: str) -> None:
    if variable in declared.own(_ENV):
        return
    if variable in declared.values(_ENV):
        raise UsageError(
            f"{variable} comes from the spec's defaults, for every app",
            app=app,
            todo="Give the app a value of its own with `reconcile env set`, or edit the defaults.",
        )
    raise UsageError(f"there is no variable {variable}", app=app, todo="See `reconcile env list`.")


def _name_in(loaded: LoadedSpec, app: str) -> str:
    name = app.removeprefix(f"{loaded.spec.project}/")
    if name not in loaded.spec.apps:
        raise UsageError(f"there is no app {name!r} in {loaded.path}")
    return name


class _Declared:
    """An app in the spec's files, the main one first, as it is and as it becomes."""

    def __init__(self, files: Mapping[Path, bytes], name: str) -> None:
        self.name = name
        self.path, self.file = find_file(files, name)
        main = next(iter(files))
        self._main = self.file if main == self.path else SpecFile(files[main], str(main))
        self._way_to_main = os.path.relpath(main.parent, self.path.parent)

    def own(self, way: Way) -> dict[str, Value]:
        return self.file.mapping(self.name, way)

    def inherited(self, way: Way) -> dict[str, Value]:
        """What the defaults give, as it reads where the app is declared."""
        values = self._main.mapping(DEFAULTS, way)
        return {name: self._moved(value) for name, value in values.items()}

    def _moved(self, value: Value) -> Value:
        if self._way_to_main == "." or not isinstance(value, FileRef):
            return value
        return FileRef(file=HostPath().move(value.file, self._way_to_main))

    def values(self, way: Way) -> dict[str, Value]:
        """The defaults' values with the app's own over them."""
        return {**self.inherited(way), **self.own(way)}

    def replace(self, way: Way, values: Mapping[str, Value]) -> None:
        """Make the app's own values such that it has these, as far as the defaults let it."""
        own, inherited = self.own(way), self.inherited(way)
        needed = {
            name: value
            for name, value in values.items()
            if name in own or inherited.get(name) != value
        }
        self.file = self.file.with_mapping(self.name, way, needed)

    def switch(self, name: str, *, to: bool) -> None:
        inherited = bool(self._main.switch(DEFAULTS, name))
        if self.file.switch(self.name, name) is not None or to is not inherited:
            self.file = self.file.with_switch(self.name, name, to=to)

    def edited(self) -> dict[Path, bytes]:
        return {self.path: self.file.data}


@frozen
class _Resolving:
    """What texts mean for an app that has the values `current` at `way`."""

    way: Way
    current: Mapping[str, Value]
    loaded: LoadedSpec
    name: str
    new_references: bool

    def wanted(self, lines: Mapping[str, str]) -> dict[str, Value]:
        """The values; a name that no line can say stays as it is."""
        unsayable = {
            name: value for name, value in self.current.items() if not dotenv.has_line(name)
        }
        return unsayable | {name: self._value(name, text) for name, text in lines.items()}

    def _value(self, name: str, text: str) -> Value:
        current = self.current.get(name)
        if isinstance(current, EnvRef | FileRef) and self._keeps(current, name, text):
            return current
        ref = None if self.way == _ARGS or text == current else find_reference(text)
        if ref is not None:
            self._check_allowed(ref, name)
            return ref
        if self.way == _SECRETS:
            raise self._wrong(
                name,
                "has a value; a build secret is a reference",
                "Put the value into a file or a variable, and refer to it in the spec.",
            )
        return text

    def _keeps(self, current: EnvRef | FileRef, name: str, text: str) -> bool:
        if text in ("", HIDDEN, show_value(current)):
            return True
        secrets = Secrets(self.loaded.base_dir(self.name))
        try:
            value = secrets.read(current, app=self.name, what=name)
        except SecretError:
            return False
        return hmac.compare_digest(value.encode(), text.encode("utf-8", "surrogatepass"))

    def _check_allowed(self, ref: EnvRef | FileRef, name: str) -> None:
        if not (self.new_references or ref in self.current.values()):
            raise self._wrong(
                name,
                "would refer to a secret that this app doesn't have",
                "Make the reference in the spec, or with `reconcile env set` on the host.",
            )

    def _wrong(self, name: str, what: str, todo: str) -> UsageError:
        where = ".".join((*self.way, name))
        return UsageError(
            f"{where} {what}", app=f"{self.loaded.spec.project}/{self.name}", todo=todo
        )
