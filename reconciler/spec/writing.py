"""Values as YAML text that every reader takes for the same: quoted whenever one might not."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

import yaml

from reconciler.spec.messages import plain_type
from reconciler.spec.models import EnvRef, FileRef
from reconciler.values import frozen

Written = str | bool | EnvRef | FileRef | Mapping[str, "Written"]
"""A text, a switch, a reference, or a mapping of these."""

_PLAIN = re.compile(r"[A-Za-z0-9_/.](?:[A-Za-z0-9_/.:@%+=~ -]*[A-Za-z0-9_/.@%+=~-])?")
_NUMBERS = ("int", "float", "bool")
_SHOWN = r"!-~\xa1-\u167f"
_LINES = re.compile(
    rf"[{_SHOWN}](?:[ {_SHOWN}]*[{_SHOWN}])?(?:\n(?:[ {_SHOWN}]*[{_SHOWN}])?)*(?<!\n)\n?"
)
"""Lines that a literal block keeps: no blanks at their ends, where editors remove them, none at
the beginning, and at most one line break at the end."""


@frozen
class Place:
    """Where a value is going to stand. `column`: of the key before it. `step`: of indentation.

    `flow`: inside of { }. `alone`: nothing follows on its line. `style`: how the text that it
    replaces is quoted; None for a new one. `was_number`: that text looks like a number or a truth.
    """

    column: int
    step: int = 2
    newline: str = "\n"
    flow: bool = False
    alone: bool = True
    style: str | None = None
    was_number: bool = False

    def inside(self, column: int, *, flow: bool) -> Place:
        """The place of a new value further in."""
        return Place(column, self.step, self.newline, flow or self.flow)


def write_text(text: str, place: Place) -> str:
    """One scalar that is read back as exactly this text."""
    if "\n" in text:
        return _literal_block(text, place) if _fits_block(text, place) else _dump(text, '"')
    if place.style not in ("'", '"') and _may_be_plain(text, place):
        return text
    single = place.style == "'" or (place.style != '"' and '"' in text)
    return _dump(text, "'" if single and text.isprintable() else '"')


def _may_be_plain(text: str, place: Place) -> bool:
    if not _PLAIN.fullmatch(text) or ": " in text or len(text) > 1000:
        return False
    if place.was_number and plain_type(text) in _NUMBERS:
        return True
    return plain_type(text) == "text" and _is_text_in_yaml_1_1(text)


def _is_text_in_yaml_1_1(text: str) -> bool:
    """Whether editors and tools of the older YAML agree: yes, 22:22 and dates aren't text there."""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(text[0], ())
    return not any(pattern.match(text) for _, pattern in resolvers)


def _dump(text: str, style: str) -> str:
    return yaml.dump(text, default_style=style, allow_unicode=True, width=sys.maxsize).rstrip("\n")


def _fits_block(text: str, place: Place) -> bool:
    in_quotes = place.style in ("'", '"')
    return not (place.flow or in_quotes) and place.alone and _LINES.fullmatch(text) is not None


def _literal_block(text: str, place: Place) -> str:
    indent = " " * (place.column + place.step)
    lines = [indent + line if line else "" for line in text.removesuffix("\n").split("\n")]
    return place.newline.join(["|" if text.endswith("\n") else "|-", *lines])


def write_key(name: str, place: Place) -> str:
    """The name as a key: never the merge key, a number or a truth."""
    return write_text(name, Place(place.column, flow=place.flow, style=None)) if name else '""'


def write_value(value: Written, place: Place) -> str:
    """What comes after `key:`, with the blank or line break before it."""
    if isinstance(value, bool):
        return " true" if value else " false"
    if isinstance(value, str):
        return " " + write_text(value, place)
    if isinstance(value, EnvRef | FileRef):
        return " " + _write_flow(reference_data(value), place)
    if place.flow or not value:
        return " " + _write_flow(value, place)
    return place.newline + write_entries(value, place.column + place.step, place)


def reference_data(ref: EnvRef | FileRef) -> dict[str, str]:
    """A reference as the spec says it."""
    return {"env": ref.env} if isinstance(ref, EnvRef) else {"file": ref.file}


def write_entries(values: Mapping[str, Written], column: int, place: Place) -> str:
    """A block mapping's lines, each from its first column, the last without a line break."""
    inside = place.inside(column, flow=False)
    lines = [
        " " * column + write_key(name, inside) + ":" + write_value(value, inside)
        for name, value in values.items()
    ]
    return place.newline.join(lines)


def _write_flow(values: Mapping[str, Written], place: Place) -> str:
    return "{" + ", ".join(write_flow_entries(values, place)) + "}"


def write_flow_entries(values: Mapping[str, Written], place: Place) -> list[str]:
    """Each `key: value` of a mapping in { }."""
    inside = place.inside(place.column, flow=True)
    return [
        write_key(name, inside) + ":" + write_value(value, inside) for name, value in values.items()
    ]
