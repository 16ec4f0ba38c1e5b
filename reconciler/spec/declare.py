"""How the spec is declared: dataclasses whose fields have annotated types, for pydantic to check.

    @section
    class Retention(Section):
        images: Count = about("Built images to keep.", 5, default=3)

pydantic reads the dataclass, its fields' metadata, and the markers in their types: how a value
is checked, and its JSON Schema. Nothing here imports pydantic before pydantic itself asks, so
that a command that validates nothing doesn't pay for it (60 ms to import, 100 ms to prepare).
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform, get_args

from reconciler.spec.scalars import parse_volume

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

JsonSchema = dict[str, Any]
Rule = tuple[str, ...]
"""What is wrong between fields: the field's name, a sentence, and a hint if there is one."""


RULE = "rule"
"""pydantic's type of an error that comes from `Section.rules`."""


def about(
    description: str,
    *examples: Any,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    repr: bool = True,  # noqa: A002 - as dataclasses call it
    **constraints: Any,
) -> Any:
    """A field with what pydantic shall know of it: what an editor says, and limits.

    `repr`: False for what may be secret.
    """
    metadata = {"description": description, "examples": [*examples], **constraints}
    return field(default=default, default_factory=default_factory, repr=repr, metadata=metadata)


Class = TypeVar("Class")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(about,))
def section(cls: type[Class]) -> type[Class]:
    """Make a frozen dataclass. What is the same in all is `Section`'s, which makes it fast."""
    return dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)


class Section:
    """Base of the sections. Unknown fields are mistakes; what `rules` yields is, too."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of fields; those of two groups can't stand together."""

    def rules(self) -> Iterable[Rule]:
        """What is wrong between fields."""
        used = [[name for name in group if _is_set(self, name)] for group in self.exclusive]
        first = [names[0] for names in used if names]
        if len(first) > 1:
            yield first[1], f"'{first[0]}' and '{first[1]}' exclude each other; keep one"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        """What differs from the defaults; without what may be secret."""
        shown = (
            f"{name}={getattr(self, name)!r}" if one.repr else f"{name}=…"
            for name, one in fields_of(self).items()
            if _is_set(self, name)
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core.core_schema import no_info_after_validator_function

        fields: Any = handler(source)
        ref = fields.pop("ref")  # a second use of the section has to come by its rules as well
        return no_info_after_validator_function(_follow_rules, fields, ref=ref)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        pairs = [
            {"not": {"required": [one, other]}}
            for index, group in enumerate(cls.exclusive)
            for later in cls.exclusive[index + 1 :]
            for one in group
            for other in later
        ]
        if pairs:
            handler.resolve_ref_schema(described)["allOf"] = pairs
        return described


def _follow_rules(read: Section) -> Section:
    """The section, if its fields fit together; called by pydantic."""
    broken = [*read.rules()]
    if broken:
        from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

        errors = [
            InitErrorDetails(
                type=PydanticCustomError(RULE, "{words}", {"words": words}), loc=(name,), input=None
            )
            for name, *words in broken
        ]
        raise ValidationError.from_exception_data("", errors)
    return read


def _is_set(read: Section, name: str) -> bool:
    return bool(getattr(read, name) != default_of(type(read), name))


def default_of(kind: type, name: str) -> Any:
    """A field's default; None for a field that has to be given."""
    declared: Field[Any] = fields_of(kind)[name]
    if declared.default_factory is not MISSING:
        return declared.default_factory()
    return None if declared.default is MISSING else declared.default


class Text:
    """Text. `check` returns it normalised, or raises ValueError(sentence, hint="").

    `expects` completes the sentence "expected …", `plural` "a list of …". `hidden`: it may be
    secret, so no message repeats it.
    """

    def __init__(
        self,
        check: Callable[[str], str] | None = None,
        pattern: str = "",
        *,
        expects: str = "text",
        plural: str = "text",
        hidden: bool = False,
    ) -> None:
        self.check, self.pattern = check, pattern
        self.expects, self.plural, self.hidden = expects, plural, hidden

    def read(self, text: str) -> str:
        if "\0" in text:
            raise ValueError("text can't contain a NUL character")
        return self.check(text) if self.check else text

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        from pydantic_core.core_schema import no_info_after_validator_function, str_schema

        return no_info_after_validator_function(self.read, str_schema(strict=True))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        return handler(schema) | ({"pattern": self.pattern} if self.pattern else {})


class RawText(Text):
    """Text exactly as written: 1.10 stays "1.10", true stays "true", yes stays "yes"."""

    def __init__(self) -> None:
        super().__init__(expects="text, a number, true or false", hidden=True)

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> JsonSchema:
        return {"type": ["string", "number", "boolean"]}


class HostPath(Text):
    """A path on the machine that runs reconcile, relative to the file that names it."""

    def move(self, text: str, way: str) -> str:
        """`text` as seen from where `way` leads to its start."""
        return text if text.startswith(("/", "~")) else os.path.normpath(os.path.join(way, text))  # noqa: PTH118


class Mount(HostPath):
    """A volume; of a bind mount the directory is a path on this machine."""

    def move(self, text: str, way: str) -> str:
        source, colon, target = text.partition(":")
        if not parse_volume(text).is_bind:
            return text
        return super().move(source, way) + colon + target


class Number:
    """A number from `low` to `high`, a whole one when these are."""

    plural = "numbers"

    def __init__(self, low: float, high: float, *, expects: str = "", too_high: str = "") -> None:
        self.low, self.high, self.too_high = low, high, too_high
        self.whole = isinstance(low, int)
        self.expects = expects or ("a whole number" if self.whole else "a number")

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        from pydantic_core.core_schema import float_schema, int_schema

        make: Callable[..., CoreSchema] = int_schema if self.whole else float_schema
        return make(strict=True, ge=self.low, le=self.high)


class Flag:
    """true or false; the words yes, no, on and off are text."""

    expects = "true or false"

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        from pydantic_core.core_schema import bool_schema

        return bool_schema(strict=True)


class OneOf:
    """One of several sections, told apart by the first field of each, or text."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core.core_schema import tagged_union_schema

        members = {tag_of(member): member for member in get_args(source)}
        schemas = {tag: handler.generate_schema(member) for tag, member in members.items()}
        sections = {
            tag: written_fields(member).keys() for tag, member in members.items() if tag != TEXT
        }

        def choose(value: Any) -> str | None:
            if not isinstance(value, Mapping):
                return TEXT if isinstance(value, str) and TEXT in members else None
            named = [tag for tag in sections if tag in value]
            if len(named) > 1:
                return None
            return named[0] if named else nearest(value)

        def nearest(value: Mapping[str, Any]) -> str:
            """Of a section without its telling field, the kind that it is most like."""
            return max(sections, key=lambda tag: len(sections[tag] & value.keys()))

        return tagged_union_schema(schemas, choose)


class OrList:
    """A section that may also be written as the list that stands in one of its fields."""

    def __init__(self, field: str) -> None:
        self.field = field

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core.core_schema import no_info_before_validator_function

        return no_info_before_validator_function(self._spell_out, handler(source))

    def _spell_out(self, value: Any) -> Any:
        return {self.field: value} if isinstance(value, list) else value

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        text_list = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        return {"anyOf": [text_list, handler(schema)]}


class OrItem:
    """A list that may also be written as its only item."""

    def __init__(self, expects: str) -> None:
        self.expects = expects

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core.core_schema import no_info_before_validator_function

        return no_info_before_validator_function(self._wrap, handler(source))

    def _wrap(self, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        described = handler(schema)
        return {"anyOf": [described["items"], described]}


def fields_of(kind: Any) -> Mapping[str, Field[Any]]:
    """A section's fields by name; none for anything else."""
    return getattr(kind, "__dataclass_fields__", {})


def written_fields(kind: Any) -> Mapping[str, Field[Any]]:
    """The same by the names that the file has for them: `for` can't be a field's own name."""
    return {one.metadata.get("alias", name): one for name, one in fields_of(kind).items()}


TEXT = "(text)"
"""The tag of text among sections; no field has this name."""


def tag_of(member: Any) -> str:
    """The first field of a section, which tells it from others; `TEXT` for text."""
    return next(iter(fields_of(member)), TEXT)


class PartOf:
    """A section of which any field may be left out, kept as plain data for others to inherit."""

    def __init__(self, section: type) -> None:
        self.section = section

    def __get_pydantic_core_schema__(
        self, _source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core.core_schema import no_info_wrap_validator_function

        whole = handler.generate_schema(self.section)
        return no_info_wrap_validator_function(_accept_incomplete, whole)


def _accept_incomplete(data: Any, validate: Callable[[Any], Any]) -> Any:
    """The data itself, unless something in it is wrong whatever it is completed with."""
    from pydantic_core import ValidationError

    try:
        validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        wrong: Any = [one for one in found if one["type"] not in ("missing", RULE)]
        if wrong:
            raise ValidationError.from_exception_data("", wrong) from None
    return data
