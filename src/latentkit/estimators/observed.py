"""Data with holes: which values were observed, and putting these back exactly as they were given."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.errors import SchemaMismatchError
from latentkit.data.containers import is_frame, to_array
from latentkit.data.validation import check_finite

__all__ = ["keep_observed", "observe"]


def observe(schema: Any, data: Any, mask: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return data with holes as storage and what was observed, both of shape (n, *event).

    Args:
        schema: Schema of the data.
        data: In any form; NaN is a hole.
        mask: True where observed, in the form of the data; None where only NaN are holes. What lies under False is
            not looked at.
        dtype: Of float storage.
    Raises:
        SchemaMismatchError: If data or mask do not have the shape of the schema, or there are other numbers of them.
        DataError: If there is infinity or text.
    """
    masks = None if mask is None else schema.encode_mask(mask)
    if isinstance(data, (str, os.PathLike)):
        storage, observed = schema.encode_observed(data, dtype=dtype)
        if masks is None:
            return storage, observed
        return storage, observed & _each(masks, len(storage))
    array = _array(schema, data)
    if masks is not None:
        schema.layout.check(array.shape)
        seen = schema.layout.from_event(_each(masks, len(array)).numpy())
        array = np.where(seen, array.reshape(seen.shape), np.nan)
    if array.dtype.kind == "f":
        names = schema.feature_names if schema.kind == "rows" else None
        check_finite(np.where(np.isnan(array), 0.0, array), names=names)
    encoded: tuple[Tensor, Tensor] = schema.encode_observed(array, dtype=dtype)
    return encoded


def keep_observed(schema: Any, result: Any, data: Any, observed: Tensor) -> Any:
    """Return `result` with what was observed as it was given: through the model's units it would be rounded.

    Args:
        schema: Schema of the data.
        result: Completed data, in the form that the schema gives.
        data: What was given, in any form; a path stands for images, whose levels survive the way through the schema.
        observed: True where observed, shape (n, *event).
    """
    if isinstance(data, (str, os.PathLike)):
        return result
    kept = schema.layout.from_event(observed.numpy())
    completed = to_array(result)
    return schema.container.rebuild(np.where(kept, _array(schema, data).reshape(completed.shape), completed))


def _array(schema: Any, data: Any) -> NDArray[Any]:
    return to_array(data, expected=schema.feature_names if is_frame(data) else None)


def _each(masks: Tensor, n: int) -> Tensor:
    """One mask per example, shape (n, *event)."""
    if len(masks) not in (1, n):
        raise SchemaMismatchError(
            f"the mask is of {len(masks)} examples, and the data are of {n}. Give one mask for all, or one each."
        )
    return masks.expand(n, *masks.shape[1:])
