"""Reads `apps.yaml` with what it includes, and finds every mistake with its place.

    load_spec(path)         what the commands and the daemon call
    load_text(bytes, name)  the same for bytes that are already at hand

Bytes become nodes (`nodes`), the apps of all files are laid over `defaults` (`sections`), every
node is read by its kind (`kinds`), and what only shows between apps is checked (`checks`). Any
mistake in any file: `SpecError` with all of them, and nothing is loaded.

Relative paths in a file (`source.path`, `{file: …}`, bind mounts) start from the directory of
that file, also when they stand in `defaults`.
"""

from __future__ import annotations

import gc
import operator
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from reconciler.errors import SpecError
from reconciler.spec.base import kind_of
from reconciler.spec.checks import Checkable, check_apps, say_place
from reconciler.spec.files import find_included, read_file
from reconciler.spec.kinds import Text
from reconciler.spec.messages import NO_APPS
from reconciler.spec.models import App, Spec
from reconciler.spec.nodes import compose, count_values
from reconciler.spec.reading import INVALID, DataNode, Entry, Node, Reading, entries, is_nothing
from reconciler.spec.scalars import Name
from reconciler.spec.sections import Section

_APP = Section(App)
_NAME: Text = kind_of(Name)  # type: ignore[assignment]
_INCLUDE = Spec.model_fields["include"].kind

MAX_MERGED = 1_000_000
"""Values that the defaults may come to, counted once for each app."""


@dataclass(frozen=True)
class LoadedSpec:
    """A valid spec and where it came from.

    `path` is the main file, absolute. `base_dirs`: app name → absolute directory of the file
    that declares it, where its relative paths start. `files`: every file that was read, the main
    one first. `digest`: hex SHA-256 over their names and bytes; equal digest, equal spec.
    """

    spec: Spec
    path: Path
    base_dirs: Mapping[str, Path]
    files: tuple[Path, ...]
    digest: str

    def base_dir(self, app_name: str) -> Path:
        """Where the relative paths of this app start; for an unknown app, the main file's."""
        return self.base_dirs.get(app_name, self.path.parent)


def load_spec(path: Path) -> LoadedSpec:
    """Read the file at `path` and all that it includes. Raises `SpecError`."""
    to = Reading()
    data = read_file(path, str(path), to)
    if data is None:
        raise SpecError(to.problems)
    return _Load(path.absolute(), str(path), to).run(data)


def load_text(text: bytes, name: str, directory: Path | None = None) -> LoadedSpec:
    """The same for bytes; `name` stands for the file in messages.

    Included files and relative paths are looked for in `directory`, by default where the
    process is. Raises `SpecError`.
    """
    path = (directory or Path()).absolute() / os.path.basename(name)  # noqa: PTH119
    return _Load(path, name, Reading()).run(text)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Many small objects that all stay: the garbage collector would look at them in vain.

    Measured: half of the time of a load.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True, slots=True)
class _Declared:
    """An app as a file declares it. `file`: that file's name in messages."""

    key: Node
    node: Node
    file: str
    directory: Path


@dataclass
class _Load:
    """One load. `name`: the main file as the user wrote it, for messages."""

    path: Path
    name: str
    to: Reading
    files: dict[Path, bytes] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    declared: dict[str, _Declared] = field(default_factory=dict)

    def run(self, data: bytes) -> LoadedSpec:
        """The loaded spec. Raises `SpecError` with the problems in the order of the files."""
        with _without_collector():
            spec = self._read(data)
        if spec is None or self.to.problems:
            place = {name: index for index, name in enumerate(self.order)}
            key = operator.attrgetter("line", "column")
            raise SpecError(
                sorted(self.to.problems, key=lambda one: (place.get(one.file, -1), key(one)))
            )
        base_dirs = {name: one.directory for name, one in self.declared.items()}
        return LoadedSpec(spec, self.path, base_dirs, tuple(self.files), self._digest())

    def _digest(self) -> str:
        digest = sha256()
        for path, data in self.files.items():
            name = os.fsencode(os.path.relpath(path, self.path.parent))
            digest.update(b"%d %s %d %s" % (len(name), name, len(data), data))
        return digest.hexdigest()

    def _read(self, data: bytes) -> Spec | None:
        top = self._compose(self.path, self.name, data)
        if top is None:
            return None
        if top.id != "mapping":
            self.to.wrong_type(top, "", "a mapping with version, project and apps")
            return None
        found = entries(top, "", self.to)
        self.to.file = self.name
        rest = {name: entry for name, entry in found.items() if name != "apps"}
        spec = Section(Spec).read(DataNode("mapping", "", [], top.start_mark, rest), "", self.to)
        self._declare(found, self.name, self.path.parent)
        self._include(found)
        if "apps" not in found and not self.declared:
            self.to.wrong(top, "", "'apps' is missing", NO_APPS)
        apps = self._read_apps(found.get("defaults"))
        project = spec.project if isinstance(spec, Spec) else ""
        check_apps(project, apps, self.to)
        if not isinstance(spec, Spec):
            return None
        return spec.model_copy(update={"apps": {name: one.app for name, one in apps.items()}})

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
        patterns = _INCLUDE.read(node, "include", self.to) if node else ()
        if node is None or patterns is INVALID:
            return
        items = zip(patterns, node.value, strict=True)
        for relative in find_included([*items], self.path, self.to):
            self._read_included(
                self.path.parent / relative,
                os.path.join(os.path.dirname(self.name), relative),  # noqa: PTH118, PTH120
            )

    def _read_included(self, path: Path, name: str) -> None:
        data = read_file(path, name, self.to)
        top = None if data is None else self._compose(path, name, data)
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

    def _read_apps(self, defaults: Entry | None) -> dict[str, Checkable]:
        """The apps that are valid by themselves, laid over the defaults."""
        apps: dict[str, Checkable] = {}
        if defaults and count_values(defaults[1]) * len(self.declared) > MAX_MERGED:
            message = f"laid under {len(self.declared)} apps, these are too many values"
            self.to.wrong(defaults[0], "defaults", message)
            return apps
        for name, one in self.declared.items():
            at = f"apps.{name}"
            self.to.file = one.file
            node = _APP.merge(defaults[1], one.node, at, self.to) if defaults else one.node
            app = _APP.read(node, at, self.to)
            if _NAME.check(one.key, at, self.to) is not INVALID and app is not INVALID:
                apps[name] = Checkable(app, one.key, node)
        return apps
