"""Inference in the precision of the user's data."""

from __future__ import annotations

import copy
import weakref

import torch
from torch import nn

__all__ = ["model_in"]

#: Copies outside the estimator, so that using a fitted estimator leaves its attributes alone.
_COPIES: weakref.WeakKeyDictionary[nn.Module, nn.Module] = weakref.WeakKeyDictionary()


def model_in(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return `model` with its weights in `dtype`: itself where they are already, else a copy kept as long as it lives.

    Single precision rounds differently in batches of different sizes. Rows that come in double precision are
    therefore computed in it, and their scores agree to 1e-12 whatever the batch.
    """
    first = next(model.parameters())
    if first.dtype == dtype:
        return model
    found = _COPIES.get(model)
    if found is None:
        with torch.inference_mode(mode=False):  # whoever asks first: the copy serves those who want gradients, too
            found = copy.deepcopy(model).to(dtype)
        _COPIES[model] = found
    return found
