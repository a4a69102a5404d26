"""What metrics take: rows of numbers, checked once and in float64."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.errors import InvalidParameterError

__all__ = ["Numbers", "check_integers", "check_pair", "check_rows"]

Numbers: TypeAlias = Tensor | NDArray[Any]


def check_rows(name: str, rows: Numbers, *, at_least: int = 1) -> Tensor:
    """Return `rows` as a float64 tensor of shape (n, features), free of the graph.

    Raises:
        InvalidParameterError: If it has another number of axes, fewer than `at_least` rows, no column, or a number
            that is not finite.

    Example:
        >>> check_rows("features", np.zeros((3, 2), dtype=np.float32)).dtype
        torch.float64
    """
    tensor = _tensor(name, rows).double()
    shape = tuple(tensor.shape)
    if tensor.ndim != 2 or shape[0] < at_least or shape[1] < 1:
        raise InvalidParameterError(
            f"{name} must be an array of shape (n, features) with at least {at_least} rows; got shape {shape}."
        )
    if not torch.isfinite(tensor).all():
        raise InvalidParameterError(f"{name} must be finite; look for NaN or infinity in the examples.")
    return tensor


def check_pair(first: tuple[str, Numbers], second: tuple[str, Numbers], *, at_least: int = 1) -> tuple[Tensor, Tensor]:
    """Return two sets of rows, each a name and an array, as float64 tensors of equal width.

    Raises:
        InvalidParameterError: If one of them is no set of rows, or their widths differ.
    """
    a, b = (check_rows(name, rows, at_least=at_least) for name, rows in (first, second))
    if a.shape[1] != b.shape[1]:
        raise InvalidParameterError(
            f"{first[0]} and {second[0]} must be equally wide; got shapes {tuple(a.shape)} and {tuple(b.shape)}. "
            "Compute both with the same feature map."
        )
    return a, b


def check_integers(name: str, values: Numbers) -> Tensor:
    """Return `values` as an int64 tensor on the CPU.

    Raises:
        InvalidParameterError: If they are not of an integer type.
    """
    tensor = _tensor(name, values).cpu()
    if tensor.is_floating_point() or tensor.is_complex():
        raise InvalidParameterError(
            f"{name} must be integers, the numbers of classes or codes; got {tensor.dtype}. Convert with y.astype(int)."
        )
    return tensor.long()


def _tensor(name: str, values: Numbers) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return torch.from_numpy(np.ascontiguousarray(values))
    kind = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
    raise InvalidParameterError(f"{name} must be a tensor or an array of numbers; got {kind}.")
