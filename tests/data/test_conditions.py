"""Conditions as columns: every form comes back as the same numbers, and what was not seen is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.data.conditions import ConditionSchema, learn_conditions


def test_classes_are_one_hot_after_a_column_that_says_there_is_one() -> None:
    schema = learn_conditions(np.array(["b", "a", "b"]))
    assert schema.width == 3
    assert schema.encode(["a", "b"]).tolist() == [[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    assert schema.encode_one("b").tolist() == [[1.0, 0.0, 1.0]]


@pytest.mark.parametrize("values", [np.array([3, 1, 3]), np.array([True, False, True]), ["x", "y", "x"]])
def test_few_different_values_are_classes(values: object) -> None:
    schema = learn_conditions(values)
    assert len(schema.attributes[0].classes) == 2
    assert torch.equal(schema.encode(values)[0], schema.encode(values)[2])


def test_numbers_are_standardised() -> None:
    numbers = np.array([10.0, 20.0, 30.0])
    schema = learn_conditions(numbers)
    assert schema.encode(numbers)[:, 1].numpy() == pytest.approx((numbers - 20) / numbers.std())
    assert learn_conditions(np.arange(200)).width == 2
    assert learn_conditions(np.full(3, 7.5)).encode([7.5]).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("library", [pd, pl])
def test_a_frame_is_read_by_name(library: object) -> None:
    frame = library.DataFrame({"species": ["cat", "dog", "cat"], "age": [1.5, 2.5, 3.5]})
    schema = learn_conditions(frame)
    assert [a.name for a in schema.attributes] == ["species", "age"]
    turned = library.DataFrame({"age": [1.5, 2.5, 3.5], "species": ["cat", "dog", "cat"]})
    assert torch.equal(schema.encode(turned), schema.encode(frame))
    assert torch.equal(schema.encode_one({"age": 2.5, "species": "dog"}), schema.encode(frame)[1:2])
    assert ConditionSchema.from_description(json.loads(json.dumps(schema.describe()))) == schema


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (["a", "c"], r"'c' is no class that the model was fitted with; it knows: a, bb"),
        (["a", "b"], r"'b' is no class .*Did you mean 'bb'"),
        (np.zeros((2, 3)), "fitted with one attribute; got a condition of 3 columns"),
        (np.zeros((2, 3, 4)), r"has shape \(n,\) or \(n, attributes\); got shape \(2, 3, 4\)"),
    ],
)
def test_other_conditions_are_refused(condition: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        learn_conditions(["a", "bb"]).encode(condition)


def test_numbers_that_are_none_are_refused() -> None:
    schema = learn_conditions(pd.DataFrame({"age": [1.5, 2.5]}))
    with pytest.raises(DataError, match="condition 'age': row 1 .* is no finite number"):
        schema.encode(pd.DataFrame({"age": [1.5, np.nan]}))
    with pytest.raises(DataError, match="condition 'age': the model was fitted with numbers here; got 'old'"):
        schema.encode(pd.DataFrame({"age": ["old"]}))
    with pytest.raises(DataError, match="has no column 'age'.* Did you mean|has no column 'age'"):
        schema.encode(pd.DataFrame({"ages": [1.5]}))


def test_one_condition_names_its_attributes() -> None:
    schema = learn_conditions(pd.DataFrame({"age": [1.5, 2.5], "size": [1.0, 2.0]}))
    with pytest.raises(InvalidParameterError, match="has the attributes 'age', 'size'; give them by name"):
        schema.encode_one(3.0)
    with pytest.raises(InvalidParameterError, match="has the attributes 'age', 'size'; got age"):
        schema.encode_one({"age": 1.0})


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(DataError, match="at least one example"):
        learn_conditions(np.array([]))
    with pytest.raises(DataError, match="101 different texts; at most 100"):
        learn_conditions([str(n) for n in range(101)])
