"""What reading hands around: nodes with their places, and the mistakes found so far.

A node is what the YAML parser composes (`nodes`), or a mapping that was merged of two (`data`).
Whatever is wrong goes into one `Reading`, so that all mistakes of all files come out together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from reconciler.errors import Problem
from reconciler.spec.messages import NOTHING, describe, near_miss

PLAIN: Final = "?"
"""Tag of a scalar without quotes: it may mean a number, true, false or nothing."""
QUOTED: Final = "!"
"""Tag of a scalar that is text whatever it looks like."""

LONGEST_PATH = 300
HINTED_PROBLEMS = 100
"""Near misses are looked up for so many problems only: a garbage file shall fail quickly."""


class Mark(Protocol):
    """A place. `line` and `column` count from 0, `name` is the file."""

    name: str
    line: int
    column: int


class Node(Protocol):
    """A piece of the file. `id`: scalar, sequence or mapping.

    `value`: text, a list of nodes, or a list of pairs of nodes.
    """

    id: Any
    tag: Any
    value: Any

    @property
    def start_mark(self) -> Any: ...


@dataclass(slots=True)
class MergedNode:
    """A mapping that no file has: made of others. Its entries are in `entries` alone."""

    start_mark: Mark
    entries: dict[str, Entry]
    id: str = "mapping"
    tag: str = ""
    value: Any = ()


Entry = tuple[Node, Node]
"""Key and value of a mapping."""


@dataclass(slots=True)
class Reading:
    """One run over one spec. `problems` collects; `file` is where the app at hand is declared."""

    problems: list[Problem] = field(default_factory=list)
    file: str = ""
    known: dict[int, tuple[Node, dict[str, Entry]]] = field(default_factory=dict)
    """Entries of mappings by the id of their node, which is kept so that its id stays its own."""
    _seen: set[tuple[str, int, int, str]] = field(default_factory=set)

    def wrong(self, node: Node, at: str, message: str, hint: str = "") -> None:
        """Report a problem at `node`; the same one at the same place is reported once.

        A path is cut at '=': somebody may have written NAME=value where a name belongs.
        """
        mark: Mark = node.start_mark
        place = (mark.name, mark.line + 1, mark.column + 1)
        if (*place, message) not in self._seen:
            self._seen.add((*place, message))
            self.problems.append(Problem(*place, _shorten(at), message, hint))

    def wrong_type(self, node: Node, at: str, expects: str, hint: str = "") -> None:
        """Report that something of another type stands here. Never shows the value."""
        self.wrong(node, at, f"expected {expects}, got {describe(node)}", hint)

    def unknown(self, key: Node, at: str, names: Iterable[str]) -> None:
        """Report a field that doesn't exist, with the nearest one that does."""
        hint = near_miss(key.value, names) if len(self.problems) < HINTED_PROBLEMS else ""
        self.wrong(key, at, "there is no such field", hint)


def _shorten(at: str) -> str:
    path = at.partition("=")[0]
    return path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]}…"


def entries(node: Node, at: str, to: Reading) -> dict[str, Entry]:
    """The entries of a mapping by key, merge keys (`<<`) resolved; reports duplicate keys."""
    if isinstance(node, MergedNode):
        return node.entries
    known = to.known.get(id(node))
    if known is None:
        known = to.known[id(node)] = (node, _read_entries(node, at, to))
    return known[1]


def _read_entries(node: Node, at: str, to: Reading) -> dict[str, Entry]:
    pairs: list[Entry] = node.value
    try:
        found = {pair[0].value: pair for pair in pairs}
    except TypeError:
        found = {}
    if len(found) != len(pairs) or "<<" in found:
        return _careful_entries(node, at, to)
    return found


def _careful_entries(node: Node, at: str, to: Reading) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    merged: list[Node] = []
    for key, value in node.value:
        if key.id != "scalar":
            to.wrong(key, at, f"a field's name is text, not {describe(key)}")
        elif key.value in found:
            first = found[key.value][0].start_mark
            to.wrong(
                key,
                f"{at}.{key.value}".lstrip("."),
                f"written twice; first at line {first.line + 1}, column {first.column + 1}",
            )
        else:
            found[key.value] = (key, value)
            if key.value == "<<" and key.tag == PLAIN:
                merged = value.value if value.id == "sequence" else [value]
    if merged or ("<<" in found and found["<<"][0].tag == PLAIN):
        del found["<<"]
        _add_merged(found, merged, at, to)
    return found


def _add_merged(found: dict[str, Entry], merged: list[Node], at: str, to: Reading) -> None:
    """Entries that are written here win over merged ones, earlier merged ones over later."""
    for node in merged:
        if node.id != "mapping":
            to.wrong_type(node, f"{at}.<<".lstrip("."), "an alias of a mapping")
            continue
        for name, entry in entries(node, at, to).items():
            found.setdefault(name, entry)


def is_nothing(node: Node) -> bool:
    """Whether this is null, written out or left empty."""
    return node.id == "scalar" and node.tag == PLAIN and node.value in NOTHING
