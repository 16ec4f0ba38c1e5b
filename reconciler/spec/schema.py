"""The JSON Schema of the file, from the models: what editors complete, explain and check.

`schemas/apps.schema.json` is this text; a test fails when it is stale. It is for draft 2020-12
and knows less than the loader: what only shows between fields, apps and files isn't in it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from reconciler.spec.base import FieldInfo, Model, dump
from reconciler.spec.kinds import (
    Flag,
    Kind,
    ListOf,
    MapOf,
    OneWord,
    Optional,
    RawText,
    Real,
    Text,
    Whole,
)
from reconciler.spec.models import App, Included, Spec
from reconciler.spec.sections import Defaults, OneOf, Section

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFAULTS = "Defaults"
_INCLUDED = "IncludedFile"


def json_schema() -> Schema:
    """The schema of the main file; that of an included one is in `$defs/IncludedFile`."""
    defs = _Defs()
    top = defs.describe(Spec, partial=False)
    defs.models[_INCLUDED] = defs.describe(Included, partial=False)
    apps = top["properties"]["apps"]
    # What apps may inherit isn't missing in them.
    apps["additionalProperties"] = True
    return {
        "$schema": DIALECT,
        **top,
        "title": "apps.yaml",
        "if": {"required": ["defaults"]},
        "then": _apps_are(defs.of_section(App, True)),
        "else": _apps_are(defs.of_section(App, False)),
        "$defs": dict(sorted(defs.models.items())),
    }


def _apps_are(schema: Schema) -> Schema:
    return {"properties": {"apps": {"additionalProperties": schema}}}


def schema_text() -> str:
    """The same as text, the same on every call, with a newline at its end."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


class _Defs:
    """Collects the schemas of models, each once as it is and once as it may stand in defaults."""

    def __init__(self) -> None:
        self.models: dict[str, Schema] = {}

    def of_section(self, model: type[Model], partial: bool) -> Schema:
        """A reference to a model's schema."""
        name = model.__name__ + (_DEFAULTS if partial else "")
        if name not in self.models:
            self.models[name] = self.describe(model, partial)
        if partial and not _asks_for_something(model):
            del self.models[name]
            return self.of_section(model, False)
        return {"$ref": f"#/$defs/{name}"}

    def describe(self, model: type[Model], partial: bool) -> Schema:
        """A model's schema, written out."""
        fields = model.model_fields.items()
        required = [name for name, one in fields if one.required]
        return {
            "title": _title(model.__name__),
            "description": " ".join((model.__doc__ or "").split()),
            "type": "object",
            "properties": {name: self.of_field(one, partial) for name, one in fields},
            **({"required": required} if required and not partial else {}),
            "additionalProperties": False,
            **_exclusions(model),
        }

    def of_field(self, field: FieldInfo, partial: bool) -> Schema:
        """A field's schema, with what an editor shows."""
        schema = {**self.of_kind(field.kind, partial), "description": field.description}
        if not field.required and field.default is not None:
            schema["default"] = dump(field.default, exclude_defaults=True)
        schema["examples"] = list(field.examples)
        return schema

    def of_kind(self, kind: Kind, partial: bool) -> Schema:
        """The schema of any value of this kind."""
        match kind:
            case Defaults():
                return self.of_section(kind.model, True)
            case Section():
                return self.of_section(kind.model, partial)
            case OneOf():
                return self._of_one_of(kind, partial)
            case MapOf() | ListOf():
                return self._of_many(kind, partial)
            case Optional():
                return _or_nothing(self.of_kind(kind.inner, partial))
        return _of_scalar(kind)

    def _of_many(self, kind: MapOf | ListOf, partial: bool) -> Schema:
        if isinstance(kind, ListOf):
            least = {"minItems": kind.least} if kind.least else {}
            return {"type": "array", "items": self.of_kind(kind.item, partial), **least}
        names = {"propertyNames": {"pattern": kind.key.pattern}} if kind.key.pattern else {}
        inner = self.of_kind(kind.value, partial)
        return {"type": "object", "additionalProperties": inner, **names}

    def _of_one_of(self, kind: OneOf, partial: bool) -> Schema:
        forms = [self.of_kind(section, partial) for section in kind.sections.values()]
        if kind.text is not None:
            forms.insert(0, self.of_kind(kind.text, partial))
        return {"anyOf" if partial else "oneOf": forms}


def _or_nothing(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _of_scalar(kind: Kind) -> Schema:
    match kind:
        case RawText():
            return {"type": ["string", "number", "boolean"]}
        case Text():
            return {"type": "string", **({"pattern": kind.pattern} if kind.pattern else {})}
        case Flag():
            return {"type": "boolean"}
        case Whole():
            return {"type": "integer", "minimum": kind.low, "maximum": kind.high}
        case Real():
            return {"type": "number", "minimum": kind.low, "maximum": kind.high}
        case OneWord():
            return {"enum": list(kind.values.values())}
    raise TypeError(f"no schema for {kind!r}")


def _exclusions(model: type[Model]) -> Schema:
    """Fields that can't stand together, pair by pair."""
    groups = model.exclusive
    pairs = [
        [one, other]
        for index, group in enumerate(groups)
        for one in group
        for later in groups[index + 1 :]
        for other in later
    ]
    return {"allOf": [{"not": {"required": pair}} for pair in pairs]} if pairs else {}


def _asks_for_something(model: type[Model]) -> bool:
    """Whether anything is required in the model or in a section of it."""
    if model.required:
        return True
    return any(_kind_asks(field.kind) for field in model.model_fields.values())


def _kind_asks(kind: Kind) -> bool:
    match kind:
        case Optional():
            return _kind_asks(kind.inner)
        case Section():
            return _asks_for_something(kind.model)
        case OneOf():
            return True
        case MapOf():
            return _kind_asks(kind.value)
    return False


def _title(name: str) -> str:
    """`GitSource` → `Git source`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()
