"""New entries, other values and removals as splices into a file's text; called by `editing`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.spec.messages import plain_type
from reconciler.spec.pieces import Piece
from reconciler.spec.writing import Place, Written, write_entries, write_flow_entries, write_value
from reconciler.values import frozen

_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")


class TooCleverError(Exception):
    """The file is written in a way that can't be edited in place."""


@frozen
class _Splice:
    start: int
    end: int
    text: str


class Splicing:
    """One edit of a file's text, whose pieces are known."""

    def __init__(self, text: str, top: Piece) -> None:
        self.text = text
        self.top = top
        found = _BREAK.search(text)
        self.newline = found[0] if found else "\n"
        self.splices: list[_Splice] = []

    def spliced(self) -> str:
        """The text with all splices made; what is added where something goes, stays."""
        text = self.text
        for one in sorted(self.splices, key=lambda one: (one.start, one.end), reverse=True):
            text = text[: one.start] + one.text + text[one.end :]
        return text

    def set_entry(self, app: str, name: str, value: Written) -> None:
        """Give the app an entry, or another value for the one that is there."""
        parent, step = self._app(app)
        self._put(parent, name, value, step)

    def set_mapping(
        self,
        app: str,
        way: tuple[str, ...],
        values: Mapping[str, Any],
        value_of: Callable[[Piece], Any],
    ) -> None:
        """Make the mapping at `way` inside of the app have these values."""
        parent, step = self._app(app)
        for index, name in enumerate(way[:-1]):
            entry = parent.own(name)
            if entry is None or not entry[1].pairs:
                further: Written = values
                for inner in reversed(way[index + 1 :]):
                    further = {inner: further}
                self._put(parent, name, further, step)
                return
            parent = entry[1]
        entry = parent.own(way[-1])
        if entry is None or not entry[1].pairs:
            self._put(parent, way[-1], values, step)
        else:
            self._set_entries(*entry, values, value_of, self._place(parent, step))

    def _app(self, name: str) -> tuple[Piece, int]:
        """The app's mapping, where it is written, and the step of indentation."""
        apps = self.top.own("apps")
        entry = apps[1].own(name) if apps else None
        if entry is None or not entry[1].pairs:
            raise TooCleverError
        key, app = entry
        return app, 2 if app.flow else max(app.pairs[0][0].column - key.column, 1)

    # -- entries -------------------------------------------------------------------------------

    def _set_entries(
        self,
        key: Piece,
        mapping: Piece,
        values: Mapping[str, Any],
        value_of: Callable[[Piece], Any],
        outside: Place,
    ) -> None:
        inherited = {name: value_of(piece) for name, piece in mapping.merged().items()}
        if "<<" in values or not inherited.keys() <= values.keys():
            inherited = {}  # a merge key can't lose a name: it goes, and what it gave is written
        stays = [
            bool(inherited) if key.is_merge else key.text in values for key, _ in mapping.pairs
        ]
        own = {key.text: value for key, value in mapping.pairs if not key.is_merge}
        new = {
            name: value
            for name, value in values.items()
            if name not in own and not (name in inherited and inherited[name] == value)
        }
        if not any(stays):
            self._replace(key, mapping, values, outside)
            return
        place = self._place(mapping, outside.step)
        for (name, value), kept in zip(mapping.pairs, stays, strict=True):
            if kept and not name.is_merge and value_of(value) != values[name.text]:
                self._replace(name, value, values[name.text], place)
        self._remove(mapping, stays)
        if new:
            last = max(index for index, kept in enumerate(stays) if kept)
            self._add(mapping, mapping.pairs[last][1].end, new, place)

    def _remove(self, mapping: Piece, stays: list[bool]) -> None:
        pairs = mapping.pairs
        last = max(index for index, kept in enumerate(stays) if kept)
        for index, (key, value) in enumerate(pairs):
            if stays[index]:
                continue
            if not mapping.flow:
                self._splice(self._line_start(key), self._line_end(value.end), "")
            elif index < last:
                self._splice(key.start, pairs[index + 1][0].start, "")
        if mapping.flow and last < len(pairs) - 1:
            self._splice(pairs[last][1].end, pairs[-1][1].end, "")

    def _put(self, parent: Piece, name: str, value: Written, step: int) -> None:
        place = self._place(parent, step)
        entry = parent.own(name)
        if entry is not None:
            self._replace(*entry, value, place)
        else:
            self._add(parent, parent.pairs[-1][1].end, {name: value}, place)

    def _add(self, parent: Piece, after: int, values: Mapping[str, Written], place: Place) -> None:
        """Further entries of a mapping, after the one that ends at `after`."""
        if parent.flow:
            self._splice(after, after, ", " + ", ".join(write_flow_entries(values, place)))
        else:
            self._add_lines(after, write_entries(values, place.column, place))

    def _replace(self, key: Piece, value: Piece, new: Written, place: Place) -> None:
        """Another value for a key. A comment on the line stays."""
        colon = self._colon(key)
        before = self.text[colon : value.start]
        starts_below = not place.flow and _BREAK.search(before) is not None
        after = colon if starts_below else value.end
        written = write_value(new, self._place_of(value, place, self._rest_of_line(after)))
        lines = written.removeprefix(self.newline)
        if starts_below:
            start, end = self._line_start(value), self._line_end(value.end)
            self._splice(start, end, "" if lines == written else lines + self.newline)
            if lines == written:
                self._splice(colon, colon, written)
        elif lines == written:
            gap = before if before and not before.strip(" \t") else " "
            self._splice(colon, value.end, gap + written[1:])
        else:
            self._splice(colon, value.end, "")
            self._add_lines(value.end, lines)

    # -- places --------------------------------------------------------------------------------

    def _place(self, parent: Piece, step: int) -> Place:
        return Place(parent.pairs[0][0].column, step, self.newline, parent.flow)

    def _place_of(self, value: Piece, place: Place, rest: str) -> Place:
        one_line = value.kind == "scalar" and value.style not in ("|", ">")
        number = one_line and not value.style and plain_type(value.text) != "text"
        return Place(
            place.column,
            place.step,
            place.newline,
            flow=place.flow,
            alone=not rest.strip(),
            style=value.style if one_line else None,
            was_number=number,
        )

    def _colon(self, key: Piece) -> int:
        """Where what follows the key's colon begins."""
        found = re.compile(r"\s*:").match(self.text, key.end)
        if found is None:
            raise TooCleverError
        return found.end()

    def _line_start(self, piece: Piece) -> int:
        start = piece.start - piece.column
        if self.text[start : piece.start].strip():
            raise TooCleverError
        return start

    def _line_end(self, position: int) -> int:
        """Where the next line begins, or the end of the text."""
        found = _BREAK.search(self.text, position)
        return found.end() if found else len(self.text)

    def _rest_of_line(self, position: int) -> str:
        found = _BREAK.search(self.text, position)
        return self.text[position : found.start() if found else None]

    def _add_lines(self, after: int, lines: str) -> None:
        """Lines after the one that `after` is in, which may be the last and have no line break."""
        found = _BREAK.search(self.text, after)
        if found:
            self._splice(found.end(), found.end(), lines + self.newline)
        else:
            self._splice(len(self.text), len(self.text), self.newline + lines)

    def _splice(self, start: int, end: int, text: str) -> None:
        self.splices.append(_Splice(start, end, text))
