"""`@frozen` behaves as a frozen dataclass does."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, field, fields, replace

import pytest

from reconciler.values import frozen


@frozen
class Point:
    """A point."""

    x: int
    y: int = 0
    tags: tuple[str, ...] = field(default_factory=tuple)

    @property
    def length(self) -> int:
        return abs(self.x) + abs(self.y)


@frozen
class Other:
    """The same fields, another class."""

    x: int
    y: int = 0
    tags: tuple[str, ...] = ()


def test_frozen_cannot_be_changed() -> None:
    point = Point(1)
    for name in ("x", "new"):
        with pytest.raises(FrozenInstanceError):
            setattr(point, name, 2)
    with pytest.raises(FrozenInstanceError):
        del point.x
    assert point == Point(1)


def test_frozen_is_compared_and_hashed_by_its_fields() -> None:
    assert Point(1, 2) == Point(1, y=2)
    assert Point(1, 2) != Point(2, 1)
    assert Point(1, 2) != Other(1, 2)
    assert len({Point(1), Point(1), Point(2)}) == 2


def test_frozen_works_with_dataclasses_copy_and_pickle() -> None:
    point = Point(1, 2, ("a",))
    assert replace(point, x=5) == Point(5, 2, ("a",))
    assert [one.name for one in fields(point)] == ["x", "y", "tags"]
    assert copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point
    assert repr(point) == "Point(x=1, y=2, tags=('a',))"
    assert point.length == 3


def test_frozen_shows_no_field_that_is_not_to_be_shown() -> None:
    @frozen
    class Login:
        name: str
        password: str = field(repr=False)

    assert repr(Login("me", "secret")).endswith("Login(name='me')")
