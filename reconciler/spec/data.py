"""From nodes to plain data: defaults laid under an app, and scalars typed as YAML 1.2 does.

Both follow the models' types (`shapes`): what excludes each other isn't inherited, and text that
may look like a number stays as it was written.
"""

from __future__ import annotations

import os.path
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from reconciler.spec.declare import HostPath, Number
from reconciler.spec.messages import TRUTHS, plain_type
from reconciler.spec.models import App
from reconciler.spec.reading import PLAIN, Entry, MergedNode, Node, Reading, entries, is_nothing
from reconciler.spec.shapes import NOTHING, Shape

# -- defaults --------------------------------------------------------------------------------


def lay_over(base: Node, own: Node, shape: Shape, at: str, to: Reading) -> Node:
    """One node from a default and what the app says itself: mappings by name, else the app's."""
    if base.id != "mapping" or own.id != "mapping":
        return own
    inherited, given = entries(base, at, to), entries(own, at, to)
    kinds = [[tag for tag in shape.tags if tag in found] for found in (inherited, given)]
    if all(kinds) and kinds[0] != kinds[1]:
        return own  # sections of different kinds have nothing in common
    merged = dict(inherited)
    for name, (key, value) in given.items():
        if name in inherited:
            inner = shape.at(name, [*inherited, *given])
            value = lay_over(inherited[name][1], value, inner, f"{at}.{name}", to)  # noqa: PLW2901
        merged[name] = (key, value)
    for name in [*_not_inherited(shape, merged, given)]:
        merged.pop(name, None)
    return MergedNode(own.start_mark, merged)


_NOT_FOR_IMAGES = {"build", "image", "env_file"}


def _not_inherited(shape: Shape, merged: dict[str, Entry], own: dict[str, Entry]) -> Iterator[str]:
    """Names of `merged` that make no sense beside what the section itself says.

    Defaults for apps that are built don't concern ready images, nor revisions directories.
    """
    given = {name for name, (_, value) in own.items() if not is_nothing(value)}
    groups = shape.section.exclusive if shape.section else ()
    if any(given.intersection(group) for group in groups):
        yield from (name for group in groups if not given.intersection(group) for name in group)
    if shape.section is App:
        source: Collection[str] = ()
        if "source" in merged and merged["source"][1].id == "mapping":
            source = entries(merged["source"][1], "", Reading())
        if "image" in source:
            yield from _NOT_FOR_IMAGES - own.keys()
        if "path" in source and "revision" not in own:
            yield "revision"


# -- data ------------------------------------------------------------------------------------


def to_data(node: Node, shape: Shape, at: str, to: Reading) -> Any:
    """A node as plain data: dicts, lists, text, numbers, true, false and None."""
    if node.id == "mapping":
        found = entries(node, at, to)
        prefix = f"{at}." if at else ""
        return {
            name: to_data(value, shape.at(name, found), prefix + name, to)
            for name, (_, value) in found.items()
        }
    if node.id == "sequence":
        item = shape.item or NOTHING
        return [
            to_data(inner, item, f"{at}[{index}]", to) for index, inner in enumerate(node.value)
        ]
    if node.tag == PLAIN and not (shape.is_text and not is_nothing(node)):
        kind = plain_type(node.value)
        if kind != "text":
            return _typed(node, kind, shape, at, to)
    return _moved(node, shape, to) if isinstance(shape.marker, HostPath) else node.value


def _typed(node: Node, kind: str, shape: Shape, at: str, to: Reading) -> Any:
    text: str = node.value
    if kind == "nothing":
        return None
    if kind == "bool":
        return TRUTHS[text]
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if text.lstrip("+-")[:1] == "0" and text.strip("+-0") and isinstance(shape.marker, Number):
        to.wrong(node, at, "expected a decimal number that doesn't begin with 0")
        return shape.marker.low
    return int(text[:20], 0 if text[1:2] in "ox" else 10)


def _moved(node: Node, shape: Shape, to: Reading) -> str:
    """A path in `defaults` of another directory than the app's, rewritten to start there."""
    text: str = node.value
    here = os.path.dirname(node.start_mark.name) or "."  # noqa: PTH120
    there = os.path.dirname(to.file) or "."  # noqa: PTH120
    if here != there:
        with suppress(ValueError):
            path: HostPath = shape.marker
            return path.move(path.read(text), os.path.relpath(here, there))
    return text
