"""`@frozen`: a frozen dataclass that is quick to define; and room to make very many of them.

`dataclass(frozen=True)` compiles six methods for every class. With a hundred classes that is a
third of the time that a command without work takes, so here only `__init__` is compiled, and the
rest is shared. A pass over very many apps makes hundreds of thousands of them: `__init__` calls
nothing that is written in Python, and objects have no `__dict__` until somebody asks for it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, FrozenInstanceError, dataclass, field
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

Class = TypeVar("Class")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[Class]) -> type[Class]:
    """Make a frozen dataclass, compared and shown by its fields, those without `repr=False`."""
    made: Any = dataclass(init=False, eq=False, repr=False)(cls)
    names = tuple(made.__dataclass_fields__)
    made.__init__ = _make_init(made)
    made._values_of = attrgetter(*names) if names else lambda _self: ()
    for name, method in _SHARED.items():
        if name not in cls.__dict__:
            setattr(made, name, method)
    return cls


def _make_init(cls: Any) -> Any:
    """What dataclass makes, but it sets the fields past `__setattr__`, which refuses."""
    scope: dict[str, Any] = {"_set": object.__setattr__, "_unset": MISSING}
    parameters, lines = ["self"], []
    for name, item in cls.__dataclass_fields__.items():
        parameter = value = name
        if item.default_factory is not MISSING:
            scope[f"_make_{name}"] = item.default_factory
            parameter = f"{name}=_unset"
            value = f"_make_{name}() if {name} is _unset else {name}"
        elif item.default is not MISSING:
            scope[f"_default_{name}"] = item.default
            parameter = f"{name}=_default_{name}"
        parameters.append(parameter)
        lines.append(f"    _set(self, {name!r}, {value})")
    source = f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines or ["    pass"])
    exec(source, scope)  # noqa: S102 - of names that are written in this program
    made = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _set_nothing(_self: Any, name: str, _to: Any) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(_self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _equal(self: Any, other: Any) -> bool:
    if self is other:
        return True
    if type(self) is not type(other):
        return False
    return bool(self._values_of(self) == self._values_of(other))


def _hash(self: Any) -> int:
    return hash((type(self), self._values_of(self)))


def _show(self: Any) -> str:
    shown = [name for name, item in self.__dataclass_fields__.items() if item.repr]
    inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({inside})"


_SHARED = {
    "__setattr__": _set_nothing,
    "__delattr__": _delete,
    "__eq__": _equal,
    "__hash__": _hash,
    "__repr__": _show,
}


@contextmanager
def without_collector() -> Iterator[None]:
    """Many small objects that all stay: the garbage collector would look at them in vain.

    Measured: half of the time of a load of the spec, a fifth of that of a pass, and more the
    larger the spec.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
