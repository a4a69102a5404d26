"""What users pass beside the data: precision, attributes and labels, read off any container."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.errors import InvalidParameterError

__all__ = ["attribute_values", "is_double", "label_codes"]


def is_double(data: Any) -> bool:
    """Tell whether data of any container are in double precision."""
    dtype = getattr(data, "dtype", None)
    if dtype is not None:
        return str(dtype).endswith("float64")
    dtypes = getattr(data, "dtypes", None)
    return dtypes is not None and all(str(kind).lower() in ("float64", "int64") for kind in dtypes)


def attribute_values(y: Any) -> Tensor:
    """Labels as numbers: two classes of any type as 0 and 1, numbers as they are."""
    values = np.asarray(y)
    if values.dtype.kind in "biuf":
        return torch.from_numpy(values.astype(np.float64))
    names, codes = np.unique(values.astype(str), return_inverse=True)
    if len(names) != 2:
        raise InvalidParameterError(
            f"an attribute is numbers or two classes; got {len(names)} of them. Choose one against the rest, as in "
            f"y == {str(names[0]) if len(names) else 'label'!r}."
        )
    return torch.from_numpy(codes.reshape(values.shape).astype(np.float64))


def label_codes(labels: NDArray[Any]) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Codes and names of class labels; None where y is no set of at most 100 classes, such as a regression target."""
    if labels.ndim != 1 or labels.dtype.kind not in "iubUSO":
        return None, None
    names, codes = np.unique(labels.astype(str) if labels.dtype.kind == "O" else labels, return_inverse=True)
    if not 1 < len(names) <= 100:
        return None, None
    return codes.astype(np.int64), tuple(str(name) for name in names)
