"""What may stand at a place of the spec, read from the annotations of its dataclasses.

Where pydantic's own view of the types doesn't reach: reading text as it was written, laying
defaults under apps, and saying what was expected.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Collection, Mapping
from dataclasses import Field, dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from reconciler.spec.declare import (
    TEXT,
    OneOf,
    OrItem,
    OrList,
    PartOf,
    RawText,
    tag_of,
    written_fields,
)
from reconciler.spec.messages import join_words


@dataclass(frozen=True, eq=False)
class Shape:
    """What may stand at one place; at most one of `section` … `words` is there.

    `marker`: the one in the type, if any (`declare`). `choices`: sections by their first field,
    one of which stands here, or text (under `TEXT`). `item`, `value`: shapes inside a list, or a
    mapping with names of the user's own, whose shape is `key`. `is_part`: of the section any field
    may be left out. `short`: the field whose list may stand for the whole section.
    """

    marker: Any = None
    section: Any = None
    choices: Mapping[str, Shape] = field(default_factory=dict)
    item: Shape | None = None
    key: Shape | None = None
    value: Shape | None = None
    words: tuple[Any, ...] = ()
    is_part: bool = False
    short: str = ""

    @property
    def expects(self) -> str:
        """Completes the sentence "expected …"."""
        if self.choices:
            text = [self.choices[TEXT].expects] if TEXT in self.choices else []
            return join_words([*text, *(f"{{{tag}: …}}" for tag in self.tags)], "or")
        if self.short:
            return "a list of text, or a mapping"
        if self.words:
            return join_words(self.words, "or")
        if self.item and not self.marker:
            items = self.item.choices.get(TEXT, self.item).marker
            return f"a list of {getattr(items, 'plural', 'mappings')}"
        return getattr(self.marker, "expects", "a mapping")

    @property
    def tags(self) -> list[str]:
        """The first field of each section that may stand here."""
        return [tag for tag in self.choices if tag != TEXT]

    @property
    def is_text(self) -> bool:
        """Whether a scalar here is the text that was written, whatever it looks like."""
        return isinstance(self.choices.get(TEXT, self).marker, RawText)

    def at(self, name: str, others: Collection[str] = ()) -> Shape:
        """What may stand under a name, beside which there are `others`."""
        if self.choices:
            tag = next((tag for tag in self.tags if tag in others), None)
            fits = [tag] if tag else [tag for tag in self.tags if name in self.choices[tag].fields]
            return self.choices[fits[0]].at(name) if fits else NOTHING
        if name in self.fields:
            return self.of(self.fields[name].name)
        return self.value or NOTHING

    @functools.cached_property
    def fields(self) -> Mapping[str, Field[Any]]:
        """The names that are known here."""
        return written_fields(self.section)

    def of(self, field_name: str) -> Shape:
        """What may stand in a field of the section, by the field's own name."""
        return shape_of(self.section.__annotations__[field_name])


NOTHING = Shape()
"""Where no field is."""


@cache
def shape_of(annotation: Any) -> Shape:
    """The shape that an annotation means; that of `X | None` is that of X."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape_of_annotated(*args)
    if origin in (Union, types.UnionType):
        return shape_of(next(arg for arg in args if arg is not types.NoneType))
    if origin is tuple:
        return Shape(item=shape_of(args[0]))
    if origin is dict:
        return Shape(key=shape_of(args[0]), value=shape_of(args[1]))
    return Shape(words=args) if origin is Literal else Shape(section=annotation)


def _shape_of_annotated(inner: Any, marker: Any) -> Shape:
    if isinstance(marker, OneOf):
        return Shape(choices={tag_of(member): shape_of(member) for member in get_args(inner)})
    if isinstance(marker, PartOf):
        return Shape(section=marker.section, is_part=True)
    if isinstance(marker, OrList):
        return Shape(section=inner, short=marker.field)
    if isinstance(marker, OrItem):
        return Shape(marker=marker, item=shape_of(get_args(inner)[0]))
    return Shape(marker=marker)
