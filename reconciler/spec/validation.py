"""pydantic checks the data, and each of its errors becomes a sentence at its place in the file.

pydantic is imported when something is validated. Beside this module only `schema` uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from reconciler.spec.declare import RULE, Flag, Number, Text
from reconciler.spec.messages import REAL, WHOLE, join_words, near_miss
from reconciler.spec.models import App, Spec
from reconciler.spec.reading import PLAIN, Node, Reading, entries, is_nothing
from reconciler.spec.shapes import Shape, shape_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

SPEC = shape_of(Spec)


@cache
def spec_type() -> TypeAdapter[Spec]:
    """What pydantic makes of the models."""
    from pydantic import TypeAdapter

    return TypeAdapter(Spec)


def validate(data: Mapping[str, Any], top: Node, to: Reading) -> Spec | None:
    """The spec that `data` is, or None with every problem reported. `top`: where it came from."""
    from pydantic import ValidationError

    try:
        return spec_type().validate_python(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
    for one in found:
        _report(one, _find_place(one, top, to), to)
    return None


def valid_apps(apps: Mapping[str, Any]) -> Mapping[str, App]:
    """Those of the apps that are valid by themselves, in a spec that isn't."""
    from pydantic import ValidationError

    try:
        return spec_type().validate_python({"version": 1, "project": "x", "apps": apps}).apps
    except ValidationError as error:
        broken = {one["loc"][1] for one in error.errors(include_url=False)}
    return valid_apps({name: data for name, data in apps.items() if name not in broken})


def valid_name(data: Any) -> str:
    """The project's name in a spec that isn't valid; empty when the name isn't, either."""
    with suppress(ValueError):
        return SPEC.at("project").marker.read(data) if isinstance(data, str) else ""
    return ""


@dataclass(slots=True)
class _Place:
    """Where an error is. `at`: its path; `node`: what stands there, or the section that it is
    missing from; `key`: the node of its name; `around`: the shape of that section, `tags`: what
    tells its kind if there are several.
    """

    node: Node
    shape: Shape
    at: str = ""
    section_at: str = ""
    key: Node | None = None
    around: Shape = SPEC
    tags: tuple[str, ...] = ()


def _find_place(error: ErrorDetails, top: Node, to: Reading) -> _Place:
    place = _Place(top, SPEC)
    tags: tuple[str, ...] = ()
    for step in error["loc"]:
        names = place.around.key
        if step == "[key]" and names and error["type"] != "unexpected_keyword_argument":
            place.node, place.shape = place.key or place.node, names  # the name is wrong
        elif place.shape.choices:  # the kind that pydantic chose
            tags = tuple(place.shape.tags)
            place.shape = place.shape.choices[str(step)]
        elif place.shape.short == step and place.node.id == "sequence":
            place.shape = place.shape.at(step)
        else:
            _step_into(place, step, to)
            place.tags, tags = tags, ()
    return place


def _step_into(place: _Place, step: str | int, to: Reading) -> None:
    place.around, place.section_at = place.shape, place.at
    if isinstance(step, int):
        place.shape = place.shape.item or place.shape
        if place.node.id == "sequence":  # else its only item was written alone
            place.at, place.key = f"{place.at}[{step}]", None
            place.node = place.node.value[step]
        return
    found = entries(place.node, place.at, to)
    place.shape = place.shape.at(step)
    place.at = f"{place.at}.{step}" if place.at else step
    place.key, place.node = found.get(step, (None, place.node))


def _report(error: ErrorDetails, place: _Place, to: Reading) -> None:
    """Say what is wrong. Everything but the cases here is a value of the wrong type."""
    node, at, shape = place.node, place.at, place.shape
    match error["type"]:
        case "missing":
            _report_missing(place, str(error["loc"][-1]), to)
        case "unexpected_keyword_argument" if place.key:
            to.unknown(place.key, at, [*place.around.fields, *place.tags])
        case "value_error":
            sentence, *hint = error["ctx"]["error"].args
            to.wrong(node, at, sentence + _show(node.value, shape.marker), *hint)
        case kind if kind == RULE:
            to.wrong(node, at, *error["ctx"]["words"])
        case "greater_than_equal" | "less_than_equal":
            to.wrong(node, at, _say_limits(error["type"], shape.marker))
        case "too_short":
            to.wrong(node, at, f"expected {shape.expects}, got an empty list")
        case "union_tag_not_found" if node.id == "mapping":
            found = entries(node, at, to)
            named = [name for name in found if name in shape.tags]
            extra, words = named[1], join_words(named)
            to.wrong(found[extra][0], f"{at}.{extra}", f"{words} exclude each other", "keep one")
        case "literal_error" if node.id == "scalar":
            to.wrong(node, at, f"expected {shape.expects}", near_miss(node.value, shape.words))
        case _ if shape.is_text and is_nothing(node):
            to.wrong(node, at, "expected a value, got nothing", 'write "" for an empty one')
        case _:
            to.wrong_type(node, at, shape.expects, _hint(node, shape))


def _report_missing(place: _Place, name: str, to: Reading) -> None:
    if name in place.tags:
        message = f"exactly one of {join_words(place.tags, 'or')} is needed"
        to.wrong(place.node, place.section_at, message)
    else:
        hint = f"expected {place.shape.expects}"
        to.wrong(place.node, place.section_at, f"'{name}' is missing", hint)


def _show(text: str, marker: Text) -> str:
    """`, got 'this'`, unless it may be secret: an @ may stand behind a password."""
    shown = not (marker.hidden or "@" in text or "\0" in text or len(text) > 100)
    return f", got {text!r}" if shown else ""


def _say_limits(error_type: str, number: Number) -> str:
    if number.too_high and error_type == "less_than_equal":
        return number.too_high
    if number.low == number.high:
        return f"expected {number.low}"
    return f"expected a number from {number.low:.15g} to {number.high:.15g}"


_MEANT = {"yes": "true", "on": "true", "no": "false", "off": "false"} | {
    word: f"{word} without quotes" for word in ("true", "false")
}


def _hint(node: Node, shape: Shape) -> str:
    """What to write instead of something of the wrong type."""
    if node.id == "scalar" and isinstance(shape.marker, Flag):
        meant = _MEANT.get(node.value.lower(), "")
        return f"write {meant}" if meant else ""
    if node.id == "scalar" and isinstance(shape.marker, Number):
        return _number_hint(node, shape.marker)
    if shape.marker or shape.choices or shape.words:
        quotes = node.id == "scalar" and not is_nothing(node) and shape.expects == "text"
        return "put it in quotes" if quotes else ""
    if is_nothing(node):
        return f"remove the line, or write {'[]' if shape.item else '{}'}"
    if shape.item:
        return "write it as a list: [...]" if node.id == "scalar" else ""
    return "write NAME: value, without '-'" if node.id == "sequence" else ""


def _number_hint(node: Node, number: Number) -> str:
    if node.tag != PLAIN:
        pattern = WHOLE if number.whole else REAL
        return "write it without quotes" if pattern.fullmatch(node.value) else ""
    return "without a fraction" if REAL.fullmatch(node.value) else ""
