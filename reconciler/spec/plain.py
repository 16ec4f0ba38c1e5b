"""Models to plain data and back, without checks: what the state and the spec's cache keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from reconciler.spec.declare import TEXT, default_of, fields_of
from reconciler.spec.messages import join_words
from reconciler.spec.shapes import Shape, shape_of

Model = TypeVar("Model")
Make = Callable[[Any], Any]


def to_plain(model: Any, *, exclude_defaults: bool = True) -> dict[str, Any]:
    """A model as what JSON can hold, from which `from_plain` makes an equal one."""
    defaults, values = _plan(type(model)).defaults, vars(model)
    return {
        name: _plain(values[name], exclude_defaults)
        for name, default in defaults.items()
        if not exclude_defaults or values[name] != default
    }


def _plain(value: Any, exclude_defaults: bool) -> Any:
    if isinstance(value, tuple):
        return [_plain(item, exclude_defaults) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item, exclude_defaults) for name, item in value.items()}
    if fields_of(value):
        return to_plain(value, exclude_defaults=exclude_defaults)
    return value


def from_plain(section: type[Model], data: Mapping[str, Any]) -> Model:
    """The model that `data` was made from. Ignores fields that this version doesn't know."""
    plan = _plan(section)
    model = object.__new__(section)
    state = vars(model)
    state.update(plan.defaults)
    for name in plan.changeable:
        state[name] = {}
    for name, value in data.items():
        if name in state:
            make = plan.makers.get(name)
            state[name] = value if make is None or value is None else make(value)
    return model


class _Plan:
    """How models of one section are made: defaults, and what turns a field's data into a value."""

    def __init__(self, section: Any) -> None:
        self.defaults = {name: default_of(section, name) for name in fields_of(section)}
        self.changeable = [name for name, value in self.defaults.items() if value == {}]
        makers = {name: _maker(shape_of(section).of(name)) for name in self.defaults}
        self.makers = {name: make for name, make in makers.items() if make}


_PLANS: dict[type, _Plan] = {}


def _plan(section: type) -> _Plan:
    plan = _PLANS.get(section)
    if plan is None:
        plan = _PLANS[section] = _Plan(section)
    return plan


def _maker(shape: Shape) -> Make | None:
    """What makes a value of plain data; None when they are the same."""
    if shape.choices:
        return _maker_of_choice(shape)
    if shape.section and not shape.is_part:
        return lambda data: from_plain(shape.section, data)
    if shape.item:
        item = _maker(shape.item)
        return (lambda data: tuple(map(item, data))) if item else tuple
    inner = _maker(shape.value) if shape.value else None
    if inner:
        return lambda data: {name: inner(value) for name, value in data.items()}
    return None


def _maker_of_choice(shape: Shape) -> Make:
    sections = [(tag, inner.section) for tag, inner in shape.choices.items() if tag != TEXT]

    def make(data: Any) -> Any:
        if isinstance(data, str):
            return data
        for tag, section in sections:
            if tag in data:
                return from_plain(section, data)
        raise ValueError(f"no kind of section has {join_words(data)}")

    return make
