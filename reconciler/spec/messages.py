"""Sentences about mistakes. They name types and places, and never a value that may be secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.spec.reading import Node

NOTHING = frozenset(("", "~", "null", "Null", "NULL"))
TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
WHOLE = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
REAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMBER_STARTS = frozenset("+-.0123456789")

_MISFIT = "this doesn't fit what stands above it; check the indentation"
NO_APPS = "to have no apps, write 'apps: {}'"
_SYNTAX = (
    (
        "mapping values are not allowed",
        "a ':' isn't expected here; put text that has ': ' in it in quotes, "
        "and check the indentation",
    ),
    ("could not find expected ':'", "this line has no ':' after its name"),
    ("found unexpected end of stream", "the file ends inside a text in quotes"),
    ("found undefined alias", "this alias (*) has no anchor (&) before it"),
    ("found duplicate anchor", "this anchor (&) is there twice"),
    ("did not find expected key", _MISFIT),
    ("did not find expected '-' indicator", _MISFIT),
    ("expected <block end>", _MISFIT),
    ("expected ',' or ']'", "this list has no ',' or ']' here"),
    ("expected ',' or '}'", "this mapping has no ',' or '}' here"),
    ("unknown escape character", "after \\ in double quotes only some letters may stand; try '…'"),
    ("another document", "the file has more than one document (---); keep one"),
    ("found undefined tag handle", "tags (!) aren't used in this file; put the text in quotes"),
    ("found incompatible YAML document", "this version of YAML isn't known; remove the %YAML line"),
)


def plain_type(text: str) -> str:
    """What a scalar without quotes is in YAML 1.2: text, nothing, bool, int or float."""
    if text[:1] in _NUMBER_STARTS:
        if WHOLE.fullmatch(text):
            return "int"
        return "float" if REAL.fullmatch(text) or _SPECIAL.fullmatch(text) else "text"
    if text in NOTHING:
        return "nothing"
    return "bool" if text in TRUTHS else "text"


_SPOKEN = {"text": "text", "nothing": "nothing", "int": "a number", "float": "a number"}


def describe(node: Node) -> str:
    """`a number`, `text`, `a list` …: what stands there, without showing it."""
    if node.id == "sequence":
        return "a list"
    if node.id == "mapping":
        return "a mapping"
    kind = plain_type(node.value) if node.tag == "?" else "text"
    return _SPOKEN.get(kind) or node.value.lower()


def near_miss(word: str, names: Iterable[str]) -> str:
    """`did you mean 'health'?`, or nothing when no name is near."""
    import difflib

    folded = {_fold(name): name for name in names}
    match = difflib.get_close_matches(_fold(word[:100]), folded, n=1, cutoff=0.7)
    return f"did you mean '{folded[match[0]]}'?" if match else ""


def _fold(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def say_syntax(problem: str, character: str) -> str:
    """The parser's words in ours. `character` is what stands at the place."""
    if "cannot start any token" in problem:
        if character == "\t":
            return "a tab isn't allowed for indentation; use spaces"
        return f"text that begins with {character!r} has to be in quotes"
    for theirs, ours in _SYNTAX:
        if theirs in problem:
            return ours
    return f"not valid YAML: {problem}"


def join_words(words: Iterable[Any], last: str = "and") -> str:
    """`a, b and c`."""
    *head, tail = [str(word) for word in words]
    return f"{', '.join(head)} {last} {tail}" if head else tail
