"""Puts the spec together from its files, and finds every mistake with its place.

    bytes ─nodes─▶ nodes ─data─▶ laid over defaults, plain ─validation─▶ models ─▶ checks

Any mistake in any file: `SpecError` with all of them, and nothing is loaded.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.errors import SpecError
from reconciler.spec.checks import Checkable, check_apps, say_place
from reconciler.spec.data import lay_over, to_data
from reconciler.spec.declare import Text
from reconciler.spec.fields import RelativePath
from reconciler.spec.files import find_included, read_file
from reconciler.spec.host_checks import check_hosts
from reconciler.spec.loaded import LoadedSpec, digest_files
from reconciler.spec.messages import NO_APPS
from reconciler.spec.models import App, Spec
from reconciler.spec.nodes import compose, count_values
from reconciler.spec.reading import Entry, MergedNode, Node, Reading, entries, is_nothing
from reconciler.spec.route_checks import check_routes
from reconciler.spec.shapes import shape_of
from reconciler.spec.validation import SPEC, valid_apps, valid_name, validate
from reconciler.values import frozen, without_collector

_APP = shape_of(App)

MAX_MERGED = 1_000_000
"""Values that the defaults may come to, counted once for each app."""


@frozen
class _Declared:
    """An app as a file declares it. `file`: that file's name in messages."""

    key: Node
    node: Node
    file: str
    directory: Path


def _reuse_nothing(_data: Mapping[str, Any]) -> Spec | None:
    return None


@dataclass
class Assembly:
    """One load. `name`: the main file as the user wrote it, for messages.

    `reuse` may know the spec that `data`, what the files say, gives; else it is validated.
    """

    path: Path
    name: str
    to: Reading = field(default_factory=Reading)
    files: dict[Path, bytes] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    declared: dict[str, _Declared] = field(default_factory=dict)
    reuse: Callable[[Mapping[str, Any]], Spec | None] = _reuse_nothing
    data: Mapping[str, Any] = field(default_factory=dict)

    def run(self, data: bytes) -> LoadedSpec:
        """The loaded spec. Raises `SpecError` with the problems in the order of the files."""
        with without_collector():
            spec = self._read(data)
        if spec is None or self.to.problems:
            place = {name: index for index, name in enumerate(self.order)}
            key = operator.attrgetter("line", "column")
            raise SpecError(
                sorted(self.to.problems, key=lambda one: (place.get(one.file, -1), key(one)))
            )
        base_dirs = {name: one.directory for name, one in self.declared.items()}
        digest = digest_files(self.path, self.files)
        return LoadedSpec(spec, self.path, base_dirs, tuple(self.files), digest)

    def _read(self, data: bytes) -> Spec | None:
        top = self._compose(self.path, self.name, data)
        if top is None:
            return None
        if top.id != "mapping":
            self.to.wrong_type(top, "", "a mapping with version, project and apps")
            return None
        found = entries(top, "", self.to)
        self._declare(found, self.name, self.path.parent)
        self._include(found)
        if "apps" not in found and not self.declared:
            self.to.wrong(top, "", "'apps' is missing", NO_APPS)
        self.to.file = self.name
        plain = {
            name: to_data(node, SPEC.at(name), name, self.to)
            for name, (_, node) in found.items()
            if name != "apps"
        }
        apps = MergedNode(top.start_mark, self._lay_over(found.get("defaults")))
        plain["apps"] = self._read_apps(apps)
        return self._validate(plain, MergedNode(top.start_mark, dict(found)), apps)

    def _compose(self, path: Path, name: str, data: bytes) -> Node | None:
        self.files[path] = data
        self.order.append(name)
        return compose(data, name, self.to)

    def _declare(self, found: Mapping[str, Entry], file: str, directory: Path) -> None:
        """Take the apps of one file down, whatever they are like."""
        _, node = found.get("apps", (None, None))
        if node is None:
            return
        if node.id != "mapping":
            hint = NO_APPS if is_nothing(node) else ""
            self.to.wrong_type(node, "apps", "a mapping of apps by name", hint)
            return
        for name, (key, value) in entries(node, "apps", self.to).items():
            first = self.declared.get(name)
            if first is None:
                self.declared[name] = _Declared(key, value, file, directory)
            else:
                place = say_place(first.key)
                self.to.wrong(key, f"apps.{name}", f"declared twice; first at {place}")

    def _include(self, found: Mapping[str, Entry]) -> None:
        _, node = found.get("include", (None, None))
        if node is None or node.id != "sequence":
            return

        def complain(index: int, message: str, hint: str) -> None:
            self.to.wrong(node.value[index], f"include[{index}]", message, hint)

        patterns = [_read_pattern(item) for item in node.value]
        for relative in find_included(patterns, self.path, complain):
            self._read_included(
                self.path.parent / relative,
                os.path.join(os.path.dirname(self.name), relative),  # noqa: PTH118, PTH120
            )

    def _read_included(self, path: Path, name: str) -> None:
        try:
            data = read_file(path, name)
        except SpecError as error:
            self.to.problems += error.problems
            return
        top = self._compose(path, name, data)
        if top is None:
            return
        if top.id != "mapping":
            self.to.wrong_type(top, "", "a mapping with apps")
            return
        found = entries(top, "", self.to)
        for field_name, (key, _) in found.items():
            if field_name != "apps":
                hint = "an included file has apps only"
                self.to.wrong(key, field_name, "this field isn't possible here", hint)
        self._declare(found, name, path.parent)

    def _lay_over(self, defaults: Entry | None) -> dict[str, Entry]:
        """The apps of all files, laid over the defaults."""
        if defaults and count_values(defaults[1]) * len(self.declared) > MAX_MERGED:
            message = f"laid under {len(self.declared)} apps, these are too many values"
            self.to.wrong(defaults[0], "defaults", message)
            return {}
        return {
            name: (
                one.key,
                lay_over(defaults[1], one.node, _APP, f"apps.{name}", self.to)
                if defaults
                else one.node,
            )
            for name, one in self.declared.items()
        }

    def _read_apps(self, apps: MergedNode) -> dict[str, Any]:
        data = {}
        for name, (_, node) in apps.entries.items():
            self.to.file = self.declared[name].file
            data[name] = to_data(node, _APP, f"apps.{name}", self.to)
        return data

    def _validate(self, data: Mapping[str, Any], top: MergedNode, apps: MergedNode) -> Spec | None:
        """The spec; what is wrong in it, and between those apps that are valid, is reported."""
        top.entries["apps"] = (apps, apps)
        self.data = data
        spec = (not self.to.problems and self.reuse(data)) or validate(data, top, self.to)
        valid = spec.apps if spec else valid_apps(data["apps"])
        checkable = {name: Checkable(app, *apps.entries[name]) for name, app in valid.items()}
        check_apps(spec.project if spec else valid_name(data.get("project")), checkable, self.to)
        check_routes(checkable, spec.proxy if spec else None, self.to)
        if spec:
            check_hosts(spec, checkable, top, self.to)
        return spec


_PATTERN: Text = shape_of(RelativePath).marker


def _read_pattern(node: Node) -> str:
    """A pattern of `include`; empty when it isn't valid, which validation reports."""
    with suppress(ValueError):
        return _PATTERN.read(node.value) if node.id == "scalar" else ""
    return ""
