"""`@frozen`: a frozen dataclass that is quick to define; and room to make very many of them.

`dataclass(frozen=True)` compiles six methods for every class. With a hundred classes that is a
third of the time that a command without work takes, so here only `__init__` is compiled, and the
rest is shared.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any, TypeVar, dataclass_transform

Class = TypeVar("Class")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[Class]) -> type[Class]:
    """Make a frozen dataclass, compared and shown by its fields, those without `repr=False`."""
    made = dataclass(eq=False, repr=False)(cls)
    for name, method in _SHARED.items():
        if name not in cls.__dict__:
            setattr(made, name, method)
    return made


def _set_once(self: Any, name: str, to: Any) -> None:
    """Only `__init__` sets a field that isn't there yet."""
    state = self.__dict__
    if name in state or name not in self.__dataclass_fields__:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    state[name] = to


def _delete(_self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _fields(self: Any) -> tuple[Any, ...]:
    state = self.__dict__
    return tuple([state[name] for name in self.__dataclass_fields__])


def _equal(self: Any, other: object) -> bool:
    if self is other:
        return True
    if type(self) is not type(other):
        return False
    return _fields(self) == _fields(other)


def _hash(self: Any) -> int:
    return hash((type(self), _fields(self)))


def _show(self: Any) -> str:
    shown = [name for name, item in self.__dataclass_fields__.items() if item.repr]
    inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({inside})"


_SHARED = {
    "__setattr__": _set_once,
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
