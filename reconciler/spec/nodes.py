"""Bytes to nodes: one YAML document, with limits, or a problem with its place.

The parser is libyaml's where PyYAML was built with it. It composes nodes with their places and
types nothing: what a scalar means is decided where it is read, by the rules of YAML 1.2.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from itertools import chain
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from reconciler.errors import Problem
from reconciler.spec.files import MAX_BYTES
from reconciler.spec.messages import NO_APPS, say_syntax
from reconciler.spec.reading import PLAIN, QUOTED, Node, Reading

MAX_NODES = 200_000
MAX_DEPTH = 50
_BOM = b"\xef\xbb\xbf"
_STRANGE = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x84\\x86-\\x9f\\ufeff\\ufffe\\uffff]"
)
_MAYBE_TAG = re.compile(rb"(?:^|[\s\[{,:?-])!", re.MULTILINE)
_STANDARD_TAGS = {
    "tag:yaml.org,2002:str": "scalar",
    "tag:yaml.org,2002:map": "mapping",
    "tag:yaml.org,2002:seq": "sequence",
}


class _TooMuchError(Exception):
    """A limit was reached: a sentence, and the node where it was."""

    def __init__(self, sentence: str, node: Node) -> None:
        super().__init__(sentence)
        self.sentence, self.node = sentence, node


class _Stream:
    """Bytes with a name, as the parser wants them; the name gets into every mark."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self._data = data

    def read(self, _size: int = -1) -> bytes:
        data, self._data = self._data, b""
        return data


class _Limits:
    """Called by the composer for every node: counts, and leaves scalars untyped."""

    depth = 0
    count = 0

    def descend_resolver(self, parent: Any, _index: Any) -> None:
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH:
            raise _TooMuchError(f"nested more than {MAX_DEPTH} deep", parent)
        if self.count > MAX_NODES:
            raise _TooMuchError(
                f"more than {MAX_NODES:,} values; split the file with 'include'", parent
            )

    def ascend_resolver(self) -> None:
        self.depth -= 1

    def resolve(self, _kind: Any, _value: Any, implicit: Any) -> str:
        return PLAIN if implicit is True or (implicit and implicit[0]) else QUOTED


class _PythonComposer(_Limits, Reader, Scanner, Parser, Composer):
    def __init__(self, stream: _Stream) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)


def make_composer(use_libyaml: bool) -> type[Any]:
    """The composer class: libyaml's, or the one in Python that does the same slowly."""
    if not use_libyaml:
        return _PythonComposer
    from yaml._yaml import CParser

    return type("_LibyamlComposer", (_Limits, CParser), {})


_composer = make_composer(yaml.__with_libyaml__)


def compose(data: bytes, name: str, to: Reading, composer: type[Any] = _composer) -> Node | None:
    """The top node of the document in `data`; None when there is none, with the reason reported."""
    problem = _check_bytes(data, name)
    if problem:
        to.problems.append(problem)
        return None
    data = data.removeprefix(_BOM)
    try:
        node: Node | None = composer(_Stream(data, name)).get_single_node()
    except yaml.MarkedYAMLError as error:
        to.problems.append(_syntax_problem(error, data, name))
        return None
    except _TooMuchError as error:
        to.wrong(error.node, "", error.sentence)
        return None
    if node is None:
        message = "the file is empty; that never removes anything"
        to.problems.append(Problem(name, 0, 0, "", message, NO_APPS))
        return None
    has_aliases = b"&" in data and b"*" in data
    if (has_aliases or _MAYBE_TAG.search(data)) and not _Structure(to).check(node):
        return None
    return _Kept.make(node, name, {} if has_aliases else None)


_COLUMNS = MAX_BYTES + 1


class _Kept:
    """A node in a third of the memory that the parser's takes, which has two marks: a large spec
    is all in memory until it is valid. Its mark is the node itself.
    """

    __slots__ = ("_place", "id", "name", "tag", "value")
    id: Any
    tag: Any
    value: Any
    name: str
    _place: int

    @classmethod
    def make(cls, node: Node, name: str, known: dict[int, _Kept] | None) -> _Kept:
        """`name`: of the file. `known`: those that are made already, for a document with aliases;
        it has no cycles."""
        if known is not None and id(node) in known:
            return known[id(node)]
        made = cls()
        mark = node.start_mark
        made.name, made._place = name, mark.line * _COLUMNS + mark.column
        made.id, made.tag, made.value = node.id, node.tag, node.value
        if made.id == "mapping":
            pairs = [(cls.make(k, name, known), cls.make(v, name, known)) for k, v in node.value]
            for key, _ in pairs:
                key.value = sys.intern(key.value) if key.id == "scalar" else key.value
            made.value = pairs
        elif made.id == "sequence":
            made.value = [cls.make(item, name, known) for item in node.value]
        if known is not None:
            known[id(node)] = made
        return made

    @property
    def start_mark(self) -> Any:
        return self

    @property
    def line(self) -> int:
        return self._place // _COLUMNS

    @property
    def column(self) -> int:
        return self._place % _COLUMNS


def _check_bytes(data: bytes, name: str) -> Problem | None:
    """What keeps the bytes from being a text file of bearable size."""
    if len(data) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES >> 20} MiB"
        return Problem(name, 0, 0, "", message, "split it with 'include'")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Problem(name, 0, 0, "", "the file is UTF-16", "save it as UTF-8")
    try:
        text = data.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        # Offsets count from after a byte order mark, which no editor shows.
        read = error.object[: error.start].decode("utf-8")
        message = f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}"
        return Problem(name, *_place(read), "", message, "save the file as UTF-8")
    strange = _STRANGE.search(text)
    if strange:
        message = f"the character U+{ord(strange[0]):04X} isn't allowed here"
        hint = "in a text in double quotes it can be written \\x.. or \\u...."
        return Problem(name, *_place(text[: strange.start()]), "", message, hint)
    return None


def _place(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what comes after `before`."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _syntax_problem(error: yaml.MarkedYAMLError, data: bytes, name: str) -> Problem:
    sentence = error.problem or error.context or ""
    began_before = "end of stream" in sentence or "expected ':'" in sentence
    marks = (error.problem_mark, error.context_mark)
    mark = next(filter(None, reversed(marks) if began_before else marks), None)
    character = data.decode("utf-8")[mark.index : mark.index + 1] if mark else ""
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return Problem(name, line, column, "", say_syntax(sentence, character))


def count_values(node: Node) -> int:
    """How many values `node` is with all aliases written out; it has no cycles."""
    return _Structure(Reading()).measure(node)[0]


_IN_PROGRESS = (0, 0)


def _children(node: Node) -> Iterable[Node]:
    if node.id == "mapping":
        return chain.from_iterable(node.value)
    return node.value if node.id == "sequence" else ()


class _Structure:
    """A walk over a document that has aliases or tags: no cycles, bombs and strange tags."""

    def __init__(self, to: Reading) -> None:
        self.to = to
        self.measures: dict[int, tuple[int, int]] = {}
        self.clean = True

    def check(self, node: Node) -> bool:
        """Whether the document may be read; what is wrong with it is reported."""
        self.measure(node)
        return self.clean

    def measure(self, node: Node) -> tuple[int, int]:
        """How many values `node` is, and how deep, when all aliases in it are written out."""
        known = self.measures.get(id(node))
        if known is not None:
            if known == _IN_PROGRESS:
                self._refuse(node, "this mapping or list has an alias (*) of itself in it")
            return known
        self.measures[id(node)] = _IN_PROGRESS
        self._check_tag(node)
        size, depth = 1, 1
        for inner in _children(node):
            inner_size, inner_depth = self.measure(inner)
            size, depth = size + inner_size, max(depth, inner_depth + 1)
        if size > MAX_NODES and self.clean:
            self._refuse(node, f"aliases (*) make more than {MAX_NODES:,} values of this")
        if depth > MAX_DEPTH and self.clean:
            self._refuse(node, f"aliases (*) make this more than {MAX_DEPTH} deep")
        self.measures[id(node)] = size, depth
        return size, depth

    def _check_tag(self, node: Node) -> None:
        if node.tag in (PLAIN, QUOTED):
            return
        if _STANDARD_TAGS.get(node.tag) == node.id:
            node.tag = QUOTED
        else:
            self._refuse(node, "tags (!) aren't used in this file; put the text in quotes")

    def _refuse(self, node: Node, sentence: str) -> None:
        self.to.wrong(node, "", sentence)
        self.clean = False
