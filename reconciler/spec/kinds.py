"""What a value may be: one class for each kind.

    read(node, at, to)         the value, or INVALID with the problem reported
    merge(base, own, at, to)   how a default and an app's own entry become one

`at` is the field's path, `to` collects problems. Sections, whose fields a model declares, are
kinds as well (`sections`). `schema` has the JSON Schema of each kind.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from reconciler.spec.messages import (
    NOTHING,
    REAL,
    TRUTHS,
    WHOLE,
    join_words,
    near_miss,
    plain_type,
)
from reconciler.spec.reading import (
    INVALID,
    PLAIN,
    DataNode,
    Invalid,
    Node,
    Reading,
    entries,
    is_nothing,
)


class Kind(ABC):
    """Base of the kinds. `expects` completes the sentence "expected …"; `plural` "a list of …"."""

    expects = "a value"
    plural = "values"

    @abstractmethod
    def read(self, node: Node, at: str, to: Reading) -> Any:
        """The value of `node`; INVALID, with every problem reported, when it has none."""

    def merge(self, _base: Node, own: Node, _at: str, _to: Reading) -> Node:
        """One node from a default and what the app says itself; most kinds are replaced."""
        return own


class Text(Kind):
    """Text. `parse` returns it checked and normalised, or raises ValueError(sentence, hint="").

    `hidden`: the text may hold something secret, so no message repeats it.
    """

    def __init__(
        self,
        expects: str = "text",
        parse: Callable[[str], str] | None = None,
        *,
        pattern: str = "",
        plural: str = "text",
        hidden: bool = False,
    ) -> None:
        self.expects, self.plural = expects, plural
        self.parse, self.pattern, self.hidden = parse, pattern, hidden

    def read(self, node: Node, at: str, to: Reading) -> str | Invalid:
        if node.id != "scalar":
            return self._not_text(node, at, to)
        text: str = node.value
        if node.tag == PLAIN and plain_type(text) != "text":
            return self._not_text(node, at, to)
        return self.check(node, at, to)

    def check(self, node: Node, at: str, to: Reading) -> str | Invalid:
        """The text of a scalar node, whatever type it looks like."""
        text: str = node.value
        if "\0" in text:
            return to.wrong(node, at, "text can't contain a NUL character")
        if self.parse is None:
            return text
        try:
            return self.parse(text)
        except ValueError as error:
            secret = self.hidden or "@" in text  # perhaps a URL with a password
            shown = "" if secret or len(text) > 100 else f", got {text!r}"
            sentence, *hint = error.args
            return to.wrong(node, at, f"{sentence}{shown}", *hint)

    def _not_text(self, node: Node, at: str, to: Reading) -> Invalid:
        hint = ""
        if node.id == "scalar" and node.value not in NOTHING:
            hint = "put it in quotes" if self.expects == "text" else ""
        return to.wrong_type(node, at, self.expects, hint)


class RawText(Text):
    """Text exactly as written: 1.10 stays "1.10", true stays "true", yes stays "yes"."""

    def __init__(self) -> None:
        super().__init__("text, a number, true or false", hidden=True)

    def read(self, node: Node, at: str, to: Reading) -> str | Invalid:
        if node.id != "scalar":
            return to.wrong_type(node, at, self.expects)
        if is_nothing(node):
            return to.wrong(node, at, "expected a value, got nothing", 'write "" for an empty one')
        return self.check(node, at, to)


_MEANT = {"yes": "true", "on": "true", "no": "false", "off": "false"} | {
    word: f"{word} without quotes" for word in ("true", "false")
}


class Flag(Kind):
    """true or false; the words yes, no, on and off are text."""

    expects = "true or false"

    def read(self, node: Node, at: str, to: Reading) -> bool | Invalid:
        if node.id == "scalar" and node.tag == PLAIN and node.value in TRUTHS:
            return TRUTHS[node.value]
        word = node.value.lower() if node.id == "scalar" else ""
        meant = _MEANT.get(word, "")
        return to.wrong_type(node, at, self.expects, f"write {meant}" if meant else "")


class Whole(Kind):
    """A whole number from `low` to `high`, in decimal."""

    plural = "numbers"

    def __init__(
        self, low: int, high: int, *, expects: str = "a whole number", too_high: str = ""
    ) -> None:
        self.low, self.high = low, high
        self.expects, self.too_high = expects, too_high

    def read(self, node: Node, at: str, to: Reading) -> int | Invalid:
        text = node.value
        if node.id != "scalar" or node.tag != PLAIN or not WHOLE.fullmatch(text):
            return to.wrong_type(node, at, self.expects, _number_hint(node, WHOLE))
        if text.lstrip("+-")[:1] == "0" and text.strip("+-0"):
            return to.wrong(node, at, "expected a decimal number that doesn't begin with 0")
        number = int(text[:20])
        if number > self.high and self.too_high:
            return to.wrong(node, at, self.too_high)
        if not self.low <= number <= self.high:
            limits = f"a number from {self.low} to {self.high}"
            return to.wrong(node, at, f"expected {self.low if self.low == self.high else limits}")
        return number


class Real(Kind):
    """A number from `low` to `high`."""

    expects = "a number"
    plural = "numbers"

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def read(self, node: Node, at: str, to: Reading) -> float | Invalid:
        text = node.value
        if node.id != "scalar" or node.tag != PLAIN or not REAL.fullmatch(text):
            return to.wrong_type(node, at, self.expects, _number_hint(node, REAL))
        number = float(text)
        if not self.low <= number <= self.high:
            return to.wrong(node, at, f"expected a number from {self.low:g} to {self.high:g}")
        return number


def _number_hint(node: Node, wanted: re.Pattern[str]) -> str:
    if node.id != "scalar":
        return ""
    if node.tag != PLAIN:
        return "write it without quotes" if wanted.fullmatch(node.value) else ""
    return "without a fraction" if REAL.fullmatch(node.value) else ""


class OneWord(Kind):
    """One of some fixed words or numbers (`Literal`)."""

    def __init__(self, values: Sequence[str | int]) -> None:
        self.values = {str(value): value for value in values}
        self.expects = join_words(self.values, "or")

    def read(self, node: Node, at: str, to: Reading) -> str | int | Invalid:
        if node.id != "scalar":
            return to.wrong_type(node, at, self.expects)
        value = self.values.get(node.value)
        if value is None:
            hint = near_miss(node.value, self.values)
            return to.wrong(node, at, f"expected {self.expects}", hint)
        if isinstance(value, int) and node.tag != PLAIN:
            return to.wrong_type(node, at, self.expects, "write it without quotes")
        return value


class Optional(Kind):
    """What `inner` reads, or nothing: null takes a default back."""

    def __init__(self, inner: Kind) -> None:
        self.inner, self.expects, self.plural = inner, inner.expects, inner.plural

    def read(self, node: Node, at: str, to: Reading) -> Any:
        if is_nothing(node):
            return None
        return self.inner.read(node, at, to)

    def merge(self, base: Node, own: Node, at: str, to: Reading) -> Node:
        return self.inner.merge(base, own, at, to)


class ListOf(Kind):
    """A list, read as a tuple, of at least `least` items."""

    def __init__(self, item: Kind, least: int = 0) -> None:
        self.item, self.least = item, least
        self.expects = f"a list of {item.plural}"

    def read(self, node: Node, at: str, to: Reading) -> tuple[Any, ...] | Invalid:
        if node.id != "sequence":
            hint = "write it as a list: [...]" if node.id == "scalar" else ""
            return to.wrong_type(node, at, self.expects, _EMPTY[1] if is_nothing(node) else hint)
        if len(node.value) < self.least:
            return to.wrong(node, at, f"expected {self.expects}, got an empty list")
        values = tuple(
            self.item.read(item, f"{at}[{index}]", to) for index, item in enumerate(node.value)
        )
        return INVALID if INVALID in values else values


class MapOf(Kind):
    """A mapping with names of the user's own."""

    expects = "a mapping"
    plural = "mappings"

    def __init__(self, key: Text, value: Kind) -> None:
        self.key, self.value = key, value

    def read(self, node: Node, at: str, to: Reading) -> dict[str, Any] | Invalid:
        if node.id != "mapping":
            return to.wrong_type(node, at, self.expects, mapping_hint(node))
        values: dict[str, Any] = {}
        for name, (key, value) in entries(node, at, to).items():
            inner = f"{at}.{name}"
            values[name] = self.value.read(value, inner, to)
            if self.key.check(key, inner, to) is INVALID:
                values[name] = INVALID
        return INVALID if INVALID in values.values() else values

    def merge(self, base: Node, own: Node, at: str, to: Reading) -> Node:
        return merge_mappings(base, own, lambda _: self.value, at, to)


_EMPTY = ("remove the line, or write {}", "remove the line, or write []")


def mapping_hint(node: Node) -> str:
    if node.id == "sequence":
        return "write NAME: value, without '-'"
    return _EMPTY[0] if is_nothing(node) else ""


def merge_mappings(
    base: Node, own: Node, kind_of_field: Callable[[str], Kind | None], at: str, to: Reading
) -> Node:
    """A mapping over its defaults, key by key; anything else replaces its default."""
    if base.id != "mapping" or own.id != "mapping":
        return own
    merged = dict(entries(base, at, to))
    for name, (key, value) in entries(own, at, to).items():
        inherited = merged.get(name)
        kind = kind_of_field(name)
        if inherited is None or kind is None:
            merged[name] = (key, value)
        else:
            inner = f"{at}.{name}" if at else name
            merged[name] = (key, kind.merge(inherited[1], value, inner, to))
    return DataNode("mapping", "", [], own.start_mark, merged)
