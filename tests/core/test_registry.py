"""A registry: one name per part, and the nearest name where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from latentkit.core.errors import InvalidParameterError
from latentkit.core.registry import Registry


@pytest.fixture
def shapes() -> Registry[type]:
    registry: Registry[type] = Registry("shape")
    registry.register("square")(int)
    registry.register("circle")(str)
    return registry


def test_parts_are_found_by_name_in_the_order_of_registration(shapes: Registry[type]) -> None:
    assert shapes["square"] is int
    assert shapes.names() == tuple(shapes) == ("square", "circle")
    assert len(shapes) == 2
    assert "circle" in shapes
    assert "oval" not in shapes


def test_the_decorator_gives_the_part_back(shapes: Registry[type]) -> None:
    @shapes.register("oval")
    class Oval: ...

    assert Oval is shapes["oval"]


def test_an_unknown_name_gets_the_names_and_the_nearest(shapes: Registry[type]) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        shapes["circel"]
    assert str(caught.value) == "unknown shape 'circel'; choose one of: square, circle. Did you mean 'circle'?"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", [None, 3, ["square"], {}])
def test_what_is_no_name_is_an_unknown_one(shapes: Registry[type], name: Any) -> None:
    with pytest.raises(InvalidParameterError, match="unknown shape"):
        shapes[name]


def test_a_name_is_given_once(shapes: Registry[type]) -> None:
    with pytest.raises(AssertionError, match="shape 'square' is registered twice"):
        shapes.register("square")(float)
    assert shapes["square"] is int
