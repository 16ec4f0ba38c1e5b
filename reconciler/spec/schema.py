"""The JSON Schema of the file: what editors complete, explain and check.

`schemas/apps.schema.json` is this text; a test fails when it is stale. pydantic makes it of the
models; added is what they don't say: an app in a file with `defaults` has nothing that it must
say itself. What only shows between fields, apps and files isn't in it.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from reconciler.spec.validation import spec_type

Schema = dict[str, Any]

_PART = "Defaults"
_INCLUDED = "IncludedFile"


def schema_text() -> str:
    """The schema as text, the same on every call, with a newline at its end."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def json_schema() -> Schema:
    """The schema of the main file; that of an included one is in `$defs/IncludedFile`."""
    top = _close(spec_type().json_schema(schema_generator=_Generator))
    parts = _Parts(top["$defs"])
    part = parts.reference("#/$defs/App")
    properties = top["properties"]
    properties["defaults"]["$ref"] = part
    apps = dict(properties["apps"])
    properties["apps"]["additionalProperties"] = True
    parts.defs[_INCLUDED] = {
        "title": "Included file",
        "description": "A file that another one includes: apps and nothing else.",
        "type": "object",
        "properties": {"apps": {**apps, "additionalProperties": {"$ref": part}}},
        "required": ["apps"],
        "additionalProperties": False,
    }
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **top,
        "title": "apps.yaml",
        "if": {"required": ["defaults"]},
        "then": _apps_are(part),
        "else": _apps_are("#/$defs/App"),
        "$defs": dict(sorted(parts.defs.items())),
    }


class _Generator(GenerateJsonSchema):
    """Without titles for fields, which would repeat their names."""

    def field_title_should_be_set(self, *_: Any) -> bool:
        return False


def _apps_are(reference: str) -> Schema:
    return {"properties": {"apps": {"additionalProperties": {"$ref": reference}}}}


def _close(schema: Any) -> Any:
    """Names that don't match are wrong in a mapping with a pattern for its names."""
    if isinstance(schema, list):
        return [_close(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _close(value) for name, value in schema.items()}
    for pattern, value in closed.pop("patternProperties", {}).items():
        closed.update(propertyNames={"pattern": pattern}, additionalProperties=value)
    return closed


class _Parts:
    """Adds to `defs` what may be incomplete: every object as it may stand in `defaults`."""

    def __init__(self, defs: dict[str, Schema]) -> None:
        self.defs = dict(defs)

    def reference(self, reference: str) -> str:
        """The reference to the incomplete form; the same one if nothing is required in it."""
        name = reference.rpartition("/")[2]
        part = self._relax(self.defs[name])
        if part == self.defs[name]:
            return reference
        self.defs[name + _PART] = part
        return reference + _PART

    def _relax(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self._relax(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        relaxed = {
            name: value if name in ("allOf", "examples", "default") else self._relax(value)
            for name, value in schema.items()
            if name != "required"
        }
        if "$ref" in relaxed:
            relaxed["$ref"] = self.reference(relaxed["$ref"])
        if "oneOf" in relaxed:  # incomplete ones may fit more than once
            relaxed["anyOf"] = relaxed.pop("oneOf")
        return relaxed
