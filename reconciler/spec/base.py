"""How a section of the file is declared: a class with annotated fields, like a dataclass.

    class Rollout(Model):
        \"\"\"How the old container makes room for the new one.\"\"\"

        strategy: Literal["recreate"] = field("What happens first.", default="recreate")

A field's annotation says what may stand there (`kind_of`). The same declaration gives the reader
with its sentences and places, the merging of defaults, and the JSON Schema.

The surface is the part of pydantic's that this program uses, under the same names. It isn't
pydantic because every command loads the spec: importing BaseModel, making these classes and
building their validators takes 85 ms, more than a whole pass may; this takes 10.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)

from reconciler.errors import SpecError
from reconciler.spec.kinds import Flag, Kind, ListOf, MapOf, OneWord, Optional, Text
from reconciler.spec.reading import Entry, Reading, is_nothing, to_node
from reconciler.spec.sections import OneOf, Section

_REQUIRED: Any = object()
_SIMPLE: dict[Any, Kind] = {str: Text(), bool: Flag()}


class FieldInfo:
    """A field: its kind, its default, and what an editor says about it."""

    __slots__ = ("default", "description", "examples", "hidden", "kind")

    def __init__(
        self, description: str, default: Any, examples: tuple[Any, ...], hidden: bool
    ) -> None:
        self.description, self.default = description, default
        self.examples, self.hidden = examples, hidden
        self.kind: Kind

    @property
    def required(self) -> bool:
        return self.default is _REQUIRED

    def get_default(self) -> Any:
        """The default; a new one each time where it could be changed. None when required."""
        if self.default is _REQUIRED:
            return None
        return {} if self.default == {} else self.default


def field(
    description: str,
    *,
    default: Any = _REQUIRED,
    examples: Iterable[Any] = (),
    hidden: bool = False,
) -> Any:
    """Declare a field. `hidden`: its value stays out of `repr`, as it may be secret."""
    return FieldInfo(description, default, tuple(examples), hidden)


def kind_of(annotation: Any) -> Kind:
    """The kind that an annotation means. Raises TypeError for one that no file can hold."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if origin is Annotated and isinstance(args[1], Kind):
        return args[1]
    if origin in (Union, types.UnionType):
        return _kind_of_union(args)
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return Section(annotation)
    if origin not in _GENERIC:
        raise TypeError(f"no kind of value for {annotation!r}")
    return _GENERIC[origin](args)


_GENERIC: dict[Any, Callable[[tuple[Any, ...]], Kind]] = {
    Literal: OneWord,
    tuple: lambda args: ListOf(kind_of(args[0])),
    dict: lambda args: MapOf(_text_kind(args[0]), kind_of(args[1])),
}


def _kind_of_union(args: tuple[Any, ...]) -> Kind:
    if types.NoneType in args:
        rest = tuple(arg for arg in args if arg is not types.NoneType)
        return Optional(kind_of(rest[0]) if len(rest) == 1 else _kind_of_union(rest))
    models = [arg for arg in args if isinstance(arg, type) and issubclass(arg, Model)]
    texts = [_text_kind(arg) for arg in args if arg not in models]
    return OneOf(models, texts[0] if texts else None)


def _text_kind(annotation: Any) -> Text:
    kind = kind_of(annotation)
    if not isinstance(kind, Text):
        raise TypeError(f"expected a kind of text, got {annotation!r}")
    return kind


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Model:
    """A section, read and checked. Frozen; unknown fields are mistakes.

    `Name(field=value, …)` checks as reading a file does and raises `SpecError`.
    """

    model_fields: ClassVar[dict[str, FieldInfo]] = {}
    required: ClassVar[frozenset[str]] = frozenset()
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of fields; those of two groups can't stand together."""
    _template: ClassVar[dict[str, Any]] = {}
    _changeable: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        fields = dict(cls.model_fields)
        for name, annotation in cls.__annotations__.items():
            declared = cls.__dict__.get(name)
            if isinstance(declared, FieldInfo):
                declared.kind = kind_of(annotation)
                fields[name] = declared
                delattr(cls, name)
        cls.model_fields = fields
        cls.required = frozenset(name for name, one in fields.items() if one.required)
        cls._template = {name: one.get_default() for name, one in fields.items()}
        cls._changeable = tuple(name for name, value in cls._template.items() if value == {})

    def __init__(self, **data: Any) -> None:
        vars(self).update(vars(type(self).model_validate(data)))

    @classmethod
    def model_validate(cls, data: Any) -> Self:
        """A model from plain data, or the model itself. Raises `SpecError` with all mistakes."""
        to = Reading(file=cls.__name__)
        instance = Section(cls).read(to_node(data), "", to)
        if to.problems:
            raise SpecError(to.problems)
        return instance  # type: ignore[no-any-return]

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> Self:
        """A model from checked values, without looking at them again."""
        instance = object.__new__(cls)
        state = vars(instance)
        state.update(cls._template)
        state.update(values)
        for name in cls._changeable:
            if name not in values:
                state[name] = {}
        return instance

    def rules(self) -> Iterable[tuple[str, ...]]:
        """What is wrong between fields: the field's name, a sentence, and a hint if any."""
        if self.exclusive:
            used = [[name for name in group if self._differs(name)] for group in self.exclusive]
            first = [names[0] for names in used if names]
            if len(first) > 1:
                yield first[1], f"'{first[0]}' and '{first[1]}' exclude each other; keep one"

    def _differs(self, name: str) -> bool:
        return bool(getattr(self, name) != self.model_fields[name].get_default())

    @classmethod
    def not_inherited(cls, merged: Mapping[str, Entry], own: Mapping[str, Entry]) -> Iterator[str]:
        """Fields of `merged` that came from `defaults` and make no sense beside `own` ones."""
        given = {name for name, (_, value) in own.items() if not is_nothing(value)}
        named = [group for group in cls.exclusive if not given.isdisjoint(group)]
        if named:
            others = {name for group in cls.exclusive if group not in named for name in group}
            yield from others & merged.keys()

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """The same with other values for some fields, which aren't checked."""
        return self.make({**vars(self), **(update or {})})

    def model_dump(self, *, mode: str = "python", exclude_defaults: bool = False) -> dict[str, Any]:
        """Plain data, from which `model_validate` makes an equal model; `json` has no tuples."""
        return {
            name: dump(getattr(self, name), mode=mode, exclude_defaults=exclude_defaults)
            for name in self.model_fields
            if not exclude_defaults or self._differs(name)
        }

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; use model_copy(update=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        shown = (
            f"{name}={'…' if one.hidden else repr(getattr(self, name))}"
            for name, one in self.model_fields.items()
            if one.required or self._differs(name)
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def dump(value: Any, *, mode: str = "json", exclude_defaults: bool = False) -> Any:
    """A field's value as plain data."""
    if isinstance(value, Model):
        return value.model_dump(mode=mode, exclude_defaults=exclude_defaults)
    if isinstance(value, tuple):
        items = [dump(item, mode=mode, exclude_defaults=exclude_defaults) for item in value]
        return items if mode == "json" else tuple(items)
    if isinstance(value, dict):
        return {
            key: dump(item, mode=mode, exclude_defaults=exclude_defaults)
            for key, item in value.items()
        }
    return value
