"""Does a fitted estimator make what it is asked for?"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.core.errors import DataError, UnsupportedOperationError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import generator
from latentkit.data.conditions import ConditionSchema, learn_conditions
from latentkit.evaluation import (
    AttributeControl,
    AttributeRecognizer,
    AttributeRegressor,
    ClassifierFeatures,
    attribute_control,
)

__all__ = ["measure_control"]

#: Rows that a recogniser and its ceiling take, at least.
FEWEST_ROWS = 50
#: Share of the rows that give the ceiling.
HELD_OUT = 0.2


def measure_control(
    estimator: Any, X: Any, condition: Any, *, n_samples: int, seed: int, options: Mapping[str, Any]
) -> tuple[AttributeControl, ...]:
    """Draw samples with conditions, or labels, of rows of X, and ask recognisers whether they have them.

    Args:
        estimator: Fitted with conditions or labels.
        X: Data like those of fit.
        condition: Their conditions or labels.
        n_samples: Number of samples.
        seed: Decides the conditions, the samples and the recognisers.
        options: Of :meth:`sample`.

    Raises:
        UnsupportedOperationError: If the estimator was fitted with neither conditions nor labels.
        DataError: If there are too few rows, or the conditions do not fit.
    """
    check_integer("n_samples", n_samples, low=2)
    schema = estimator.condition_schema_
    by_label = schema is None
    if by_label:
        if not len(estimator.classes_):
            raise UnsupportedOperationError(
                "this model was fitted with neither conditions nor labels, so there is nothing to ask it for. Fit with "
                "condition= or with y; or give edited rows to latentkit.evaluation.attribute_control."
            )
        condition = np.array([estimator.classes_[estimator._class_index(value)] for value in np.asarray(condition)])  # noqa: SLF001 (its own part)
        schema = learn_conditions(np.array(estimator.classes_))
    columns = schema.encode(condition)
    data = estimator._unwrapped(X)  # noqa: SLF001 (its own part)
    x = estimator.schema_.to_model(estimator.schema_.encode(data))
    if len(columns) != len(x) or len(x) < FEWEST_ROWS:
        raise DataError(
            f"at least {FEWEST_ROWS} rows with a condition each are needed; got {len(x)} rows and {len(columns)} "
            "conditions."
        )
    order = torch.randperm(len(x), generator=generator(seed, "control", "split"))
    test, train = order.tensor_split([round(HELD_OUT * len(x))])
    asked = torch.randint(len(x), (n_samples,), generator=generator(seed, "control", "asked"))
    draw = _by_label if by_label else _by_condition
    samples = draw(estimator, columns[asked], schema, {**options, "random_state": seed % 2**32})
    samples = estimator.schema_.to_model(estimator.schema_.encode(samples))
    controls = []
    for attribute, values in zip(schema.attributes, schema.values(columns), strict=True):
        recognizer: AttributeRecognizer = (
            ClassifierFeatures(x[train], values[train], seed=seed)
            if attribute.classes
            else AttributeRegressor(x[train], values[train], seed=seed)
        )
        controls.append(
            attribute_control(
                samples,
                values[asked],
                recognizer=recognizer,
                test=x[test],
                test_values=values[test],
                name=attribute.name,
            )
        )
    return tuple(controls)


def _by_condition(estimator: Any, columns: Tensor, schema: ConditionSchema, options: Mapping[str, Any]) -> Any:
    """Samples given a condition each, in the user's form."""
    bound = copy.copy(estimator)
    bound.condition_ = columns
    return bound.sample(len(columns), **options)


def _by_label(estimator: Any, columns: Tensor, schema: ConditionSchema, options: Mapping[str, Any]) -> Any:
    """Samples of a label each, as an array."""
    (classes,) = schema.values(columns)
    (attribute,) = schema.attributes
    parts: list[Any] = [None] * len(classes)
    for label in sorted(set(classes.tolist())):
        places = (classes == label).nonzero().flatten().tolist()
        drawn = np.asarray(estimator.sample(len(places), label=attribute.classes[label], **options))
        for place, row in zip(places, drawn, strict=True):
            parts[place] = row
    return np.stack(parts)
