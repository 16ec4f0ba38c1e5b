"""Edits an app's environment in the bytes of a spec's file; every other byte stays.

    find_file(files, app)   the file that declares the app, as a `SpecFile`
    SpecFile                what it says of an app's values, and itself with other ones

Only entries that differ are written anew, each in its place (`splicing`); comments, order,
quotes, indentation and line breaks of the rest are untouched. Afterwards the file is read again:
unless it says what was wanted, and elsewhere what it said before, the edit is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reconciler.errors import SpecError, UsageError
from reconciler.spec.nodes import compose
from reconciler.spec.pieces import Piece, read_pieces
from reconciler.spec.reading import Reading
from reconciler.spec.sources import EnvRef, FileRef
from reconciler.spec.splicing import Splicing, TooCleverError

Value = str | EnvRef | FileRef
Way = tuple[str, ...]
"""Names that lead to a mapping inside of an app: ("env",), ("build", "args")."""
DEFAULTS = ""
"""Stands for `defaults` where an app's name is expected."""

_BOM = b"\xef\xbb\xbf"


class SpecFile:
    """A file of the spec. `data`: its bytes, `name`: for messages. Raises `SpecError`."""

    def __init__(self, data: bytes, name: str = "the spec") -> None:
        self.data = data
        self._name = name
        self._top = _read(data, name)

    def declares(self, app: str) -> bool:
        """Whether the app (its name in the spec) is in this file."""
        apps = self._top.entries().get("apps")
        return apps is not None and app in apps.entries()

    def mapping(self, app: str, way: Way) -> dict[str, Value]:
        """The values that the file gives `app` (or `DEFAULTS`) there, merge keys (<<) followed.

        What is neither text nor a reference is left out.
        """
        piece = _find(self._top, app, way)
        return values_of(piece.entries()) if piece else {}

    def switch(self, app: str, name: str) -> bool | None:
        """What the file says of a switch of `app` (or `DEFAULTS`); None when nothing."""
        piece = _find(self._top, app, (name,))
        return None if piece is None else piece.text.lower() == "true"

    def with_mapping(self, app: str, way: Way, values: Mapping[str, Value]) -> SpecFile:
        """The file with exactly `values` there.

        Raises `UsageError` when the file is written in a way in which more would change.
        """
        if self.mapping(app, way) == values:
            return self

        def edit(splicing: Splicing) -> None:
            splicing.set_mapping(app, way, values, value_of)

        return self._edited((app, *way), edit, dict(values))

    def with_switch(self, app: str, name: str, *, to: bool) -> SpecFile:
        """The file with this switch of the app. Raises as `with_mapping` does."""
        if self.switch(app, name) is to:
            return self

        def edit(splicing: Splicing) -> None:
            splicing.set_entry(app, name, to)

        return self._edited((app, name), edit, to)

    def _edited(
        self, where: Way, edit: Callable[[Splicing], None], wanted: dict[str, Value] | bool
    ) -> SpecFile:
        splicing = Splicing(_text(self.data), self._top)
        try:
            edit(splicing)
            bom = _BOM if self.data.startswith(_BOM) else b""
            after = SpecFile(bom + splicing.spliced().encode("utf-8"), self._name)
        except (TooCleverError, SpecError, UnicodeEncodeError) as error:
            raise _refusal(where) from error
        path = ("apps", *where)
        right = _says(_find(after._top, where[0], where[1:]), wanted)
        if not right or _without(self._top, path) != _without(after._top, path):
            raise _refusal(where)
        return after


def find_file(files: Mapping[Path, bytes], app: str) -> tuple[Path, SpecFile]:
    """The file that declares `app`. Raises `UsageError` when none does, `SpecError`."""
    for path, data in files.items():
        file = SpecFile(data, str(path))
        if file.declares(app):
            return path, file
    raise UsageError(
        f"no file of the spec declares the app {app!r} any more",
        todo="Look at the newest version of the spec.",
    )


def _says(piece: Piece | None, wanted: dict[str, Value] | bool) -> bool:
    if isinstance(wanted, bool):
        return piece is not None and piece.text == str(wanted).lower()
    entries = piece.entries() if piece else {}
    return values_of(entries) == wanted and entries.keys() == wanted.keys()


def values_of(entries: Mapping[str, Piece]) -> dict[str, Value]:
    """Texts and references by name."""
    read = {name: value_of(piece) for name, piece in entries.items()}
    return {name: value for name, value in read.items() if value is not None}


def value_of(piece: Piece) -> Value | None:
    """What a piece says; None when it is neither text nor a reference."""
    piece = piece.meant
    if piece.kind == "scalar":
        return piece.text
    entries = piece.entries()
    kind, inner = next(iter(entries.items()), ("", piece))
    if len(entries) != 1 or inner.kind != "scalar":
        return None
    if kind == "env":
        return EnvRef(env=inner.text)
    return FileRef(file=inner.text) if kind == "file" else None


def _refusal(where: Way) -> UsageError:
    return UsageError(
        f"apps.{'.'.join(where)} can't be edited without changing other parts of the file: it "
        "shares its text with them, or is written in an unusual way",
        todo="Edit the file by hand.",
    )


def _text(data: bytes) -> str:
    return data.removeprefix(_BOM).decode("utf-8")


def _read(data: bytes, name: str) -> Piece:
    to = Reading()
    node = compose(data, name, to)
    if node is not None and node.id != "mapping":
        to.wrong_type(node, "", "a mapping with version, project and apps")
    if to.problems:
        raise SpecError(to.problems)
    return read_pieces(_text(data))


def _find(top: Piece, app: str, way: Way) -> Piece | None:
    path = ("apps", app, *way) if app else ("defaults", *way)
    piece: Piece | None = top
    for name in path:
        piece = piece.entries().get(name) if piece else None
    return piece


def _without(piece: Piece, path: Way) -> Any:
    """What is said, but for what is at `path`, and mappings that have nothing else in them."""
    piece = piece.meant
    if piece.kind != "mapping":
        return piece.plain_data()
    left = []
    for key, value in piece.pairs:
        if key.text != path[0]:
            left.append([key.plain_data(), value.plain_data()])
        elif path[1:] and (inner := _without(value, path[1:])):
            left.append([key.plain_data(), inner])
    return left
