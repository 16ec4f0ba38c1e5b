"""A YAML file as pieces that know where in the text they stand, for editing it in place.

`nodes` composes what a file means and forgets aliases; this keeps how it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

_LAST_BREAK = re.compile(r"(?:\r\n|[\r\n\x85\u2028\u2029])\Z")
_BREAKS_AT_END = re.compile(r"[\s\x85\u2028\u2029]+\Z")
_loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True, eq=False)
class Piece:
    """A scalar, list, mapping or alias at `text[start:end]`, its anchor and tag included.

    A block collection ends with the last character of its content: no comment, no line break.
    `column` is that of its start. `style`: how a scalar is quoted, "" when it isn't.
    """

    kind: str
    start: int
    end: int
    column: int
    style: str = ""
    flow: bool = False
    text: str = ""
    items: list[Piece] = field(default_factory=list)
    pairs: list[tuple[Piece, Piece]] = field(default_factory=list)
    target: Piece | None = None
    """What an alias stands for."""

    @property
    def meant(self) -> Piece:
        """The piece itself, or what it is an alias of."""
        return self.target or self

    @property
    def is_merge(self) -> bool:
        """Whether this, as a key, is the merge key."""
        return self.text == "<<" and not self.style

    def own(self, name: str) -> tuple[Piece, Piece] | None:
        """Key and value that are written in this mapping itself."""
        return next((pair for pair in self.pairs if pair[0].text == name), None)

    def entries(self) -> dict[str, Piece]:
        """The values by name, with merged mappings; its own win, earlier merged ones over later."""
        found = {key.text: value.meant for key, value in self.meant.pairs if not key.is_merge}
        for name, value in self.merged().items():
            found.setdefault(name, value)
        return found

    def merged(self) -> dict[str, Piece]:
        """The values that come from merge keys alone."""
        found: dict[str, Piece] = {}
        for key, value in self.meant.pairs:
            if key.is_merge:
                for source in value.meant.items or [value]:
                    found = source.entries() | found
        return found

    def plain_data(self) -> Any:
        """What it says, to compare: texts with whether they are quoted, lists, pairs."""
        piece = self.meant
        if piece.kind == "scalar":
            return (bool(piece.style), piece.text)
        if piece.kind == "sequence":
            return [item.plain_data() for item in piece.items]
        return [[key.plain_data(), value.plain_data()] for key, value in piece.pairs]


def read_pieces(text: str) -> Piece:
    """The document's top piece. `text` is valid (see `nodes.compose`), without byte order mark."""
    return _Builder(text).document()


class _Builder:
    def __init__(self, text: str) -> None:
        self.text = text
        self.anchors: dict[str, Piece] = {}
        self.events: Iterator[Any] = yaml.parse(text, Loader=_loader)

    def document(self) -> Piece:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                break
        return self._piece(next(self.events))

    def _piece(self, event: Any) -> Piece:
        mark: Any = event.start_mark
        piece = Piece("alias", mark.index, event.end_mark.index, mark.column)
        if isinstance(event, yaml.AliasEvent):
            piece.target = self.anchors[str(event.anchor)]
            return piece
        if event.anchor:
            self.anchors[event.anchor] = piece
        if isinstance(event, yaml.ScalarEvent):
            self._fill_scalar(piece, event)
        else:
            self._fill_collection(piece, event)
        return piece

    def _fill_scalar(self, piece: Piece, event: Any) -> None:
        piece.kind, piece.text = "scalar", event.value
        piece.style = event.style or ""
        if piece.style in ("|", ">"):
            written = self.text[piece.start : piece.end]
            header = written.partition("\n")[0].partition("#")[0]
            trim = _LAST_BREAK if "+" in header else _BREAKS_AT_END
            piece.end = piece.start + len(trim.sub("", written))

    def _fill_collection(self, piece: Piece, event: Any) -> None:
        piece.flow = bool(event.flow_style)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        piece.kind = "mapping" if is_mapping else "sequence"
        last = event
        while not isinstance(last := next(self.events), yaml.CollectionEndEvent):
            item = self._piece(last)
            if is_mapping:
                piece.pairs.append((item, self._piece(next(self.events))))
            else:
                piece.items.append(item)
        end: Any = last.end_mark
        inner = piece.pairs[-1] if piece.pairs else piece.items[-1:]
        piece.end = end.index if piece.flow else max(one.end for one in inner)
