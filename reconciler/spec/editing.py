"""Edits an app's environment in the bytes of a spec's file; every other byte stays.

    find_file(files, app)                  the file that declares the app
    read_mapping(data, app, path)          the values that the app has there
    set_mapping(data, app, path, values)   give it exactly these values there
    set_switch(data, app, name, value)     the same for true and false

Only entries that differ are written anew, each in its place (`splicing`); comments, order,
quotes, indentation and line breaks of the rest are untouched. Afterwards the file is read again:
unless it says what was wanted, and elsewhere what it said before, the edit is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def find_file(files: Mapping[Path, bytes], app: str) -> Path:
    """The file that declares `app` (its name in the spec). Raises `UsageError`, `SpecError`."""
    for path, data in files.items():
        apps = _read(data, str(path)).entries().get("apps")
        if apps is not None and app in apps.entries():
            return path
    raise UsageError(
        f"no file of the spec declares the app {app!r} any more",
        todo="Look at the newest version of the spec.",
    )


def read_mapping(data: bytes, app: str, way: Way) -> dict[str, Value]:
    """The values that the file gives `app` (or `DEFAULTS`) there, merge keys (<<) followed.

    What is neither text nor a reference is left out. Raises `SpecError`.
    """
    piece = _find(_read(data), app, way)
    return values_of(piece.entries()) if piece else {}


def read_switch(data: bytes, app: str, name: str) -> bool | None:
    """What the file says of a switch of `app` (or `DEFAULTS`); None when nothing."""
    piece = _find(_read(data), app, (name,))
    return None if piece is None else piece.text.lower() == "true"


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


def set_mapping(data: bytes, app: str, way: Way, values: Mapping[str, Value]) -> bytes:
    """The file's bytes with exactly `values` there.

    Raises `UsageError` when the file is written in a way in which more would change, `SpecError`
    when it isn't YAML.
    """
    if read_mapping(data, app, way) == values:
        return data

    def edit(splicing: Splicing) -> None:
        splicing.set_mapping(app, way, values, value_of)

    return _edited(data, (app, *way), edit, dict(values))


def set_switch(data: bytes, app: str, name: str, *, to: bool) -> bytes:
    """The file's bytes with this switch of the app. Raises as `set_mapping` does."""
    if read_switch(data, app, name) is to:
        return data

    def edit(splicing: Splicing) -> None:
        splicing.set_entry(app, name, to)

    return _edited(data, (app, name), edit, to)


def _edited(data: bytes, where: Way, edit: Any, wanted: Any) -> bytes:
    before = _read(data)
    splicing = Splicing(data.removeprefix(_BOM).decode("utf-8"), before)
    try:
        edit(splicing)
        bom = _BOM if data.startswith(_BOM) else b""
        edited = bom + splicing.spliced().encode("utf-8")
        after = _read(edited)
    except (TooCleverError, SpecError, UnicodeEncodeError) as error:
        raise _refusal(where) from error
    piece = _find(after, where[0], where[1:])
    if isinstance(wanted, bool):
        says: Any = piece is not None and piece.text == str(wanted).lower()
        right = says
    else:
        entries = piece.entries() if piece else {}
        right = values_of(entries) == wanted and entries.keys() == wanted.keys()
    path = ("apps", *where)
    if not right or _without(before, path) != _without(after, path):
        raise _refusal(where)
    return edited


def _refusal(where: Way) -> UsageError:
    return UsageError(
        f"apps.{'.'.join(where)} can't be edited without changing other parts of the file: it "
        "shares its text with them, or is written in an unusual way",
        todo="Edit the file by hand.",
    )


def _read(data: bytes, name: str = "the spec") -> Piece:
    to = Reading()
    node = compose(data, name, to)
    if node is not None and node.id != "mapping":
        to.wrong_type(node, "", "a mapping with version, project and apps")
    if to.problems:
        raise SpecError(to.problems)
    return read_pieces(data.removeprefix(_BOM).decode("utf-8"))


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
