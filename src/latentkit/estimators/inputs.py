"""What users pass in: data, checked and turned into tensors; attributes and labels, read off any container."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data
from torch import Tensor

from latentkit.core.errors import DataError, InvalidParameterError, LatentkitError, SchemaMismatchError
from latentkit.data import Dataset, TextTable, read
from latentkit.data.containers import eager, is_frame, to_array, to_table
from latentkit.data.dataset import Tables
from latentkit.data.sources import recorded_source
from latentkit.data.tables import is_plain
from latentkit.data.text import are_texts

__all__ = ["DataIntake", "attribute_values", "odd_labels", "validated"]


class DataIntake:
    """How an estimator takes data: in fit, where the schema is learnt from them, and afterwards, by that schema."""

    schema_: Any
    feature_names_in_: Any

    #: Whether it has networks for tables of mixed kinds.
    _takes_tables: ClassVar[bool] = False

    #: Whether it has networks for texts.
    _takes_texts: ClassVar[bool] = False

    def _table_options(self) -> dict[str, Any]:
        """What is asked of the reading of tables; those that take none have nothing to ask."""
        return {}

    def _text_options(self) -> dict[str, Any]:
        """What is asked of texts; those that take none have nothing to ask."""
        return {}

    def _take(self, X: Any, y: Any, *, reset: bool) -> Dataset:
        """Read X wherever it is and check it; scikit-learn's own checks run on rows."""
        if reset and hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # of an earlier fit; rows with names set it again
        if isinstance(X, Dataset):
            dataset = replace(X, kind="table") if reset and X.kind == "rows" and self._table_options() else X
        elif isinstance(X, (str, os.PathLike)):
            tables: Tables = "mixed" if self._takes_tables else "numbers"
            dataset = read(os.fspath(X), tables="always" if self._table_options() else tables)
            dataset = replace(dataset, reading={"source": recorded_source(os.fspath(X))})
        elif self._is_text(X, reset=reset):
            dataset = Dataset(data=X if hasattr(X, "__array__") else list(X), source="memory", kind="text")
        elif self._is_table(X, reset=reset):
            dataset = Dataset(data=X, source="memory", kind="table")
            if reset and is_frame(X):
                self.feature_names_in_ = np.asarray([str(name) for name in eager(X).columns], dtype=object)
        else:
            dataset = Dataset(data=self._checked(X, reset=reset), source="memory", kind="rows")
        if y is not None:
            labels = np.asarray(y)
            if labels.ndim < 1 or labels.shape[0] != dataset.n:
                raise DataError(f"y must have one label per example: X has {dataset.n}, y has shape {labels.shape}.")
            codes, names = _label_codes(labels)
            dataset = replace(dataset, labels=codes, label_names=names)
        return dataset

    def _is_table(self, X: Any, *, reset: bool) -> bool:
        """Whether X is a table of mixed kinds: a data frame in which not every cell is a number, or asked to be one."""
        if not reset:
            return bool(self.schema_.kind == "table")
        if self._table_options():
            return is_frame(X) or isinstance(X, TextTable | list | tuple) or np.ndim(X) == 2
        return self._takes_tables and is_frame(X) and not _is_plain_frame(X)

    def _is_text(self, X: Any, *, reset: bool) -> bool:
        """Whether X is a list, an array or a series of texts."""
        return are_texts(X) if reset else bool(self.schema_.kind == "text")

    def _checked(self, X: Any, *, reset: bool) -> Any:
        if not reset and self.schema_.kind == "text":
            return X  # the schema says what is no text
        if isinstance(X, (list, tuple)) and len(X) and np.ndim(X[0]) >= 2:
            X = to_array(X)  # a list of images
        if not reset and is_frame(X) and self.schema_.feature_names and not hasattr(self, "feature_names_in_"):
            return X  # fitted on a file: scikit-learn was not told the names, and the schema knows them
        if not reset and self.schema_.kind == "table":
            return X  # the schema checks names and kinds
        if not reset and self.schema_.kind == "images":
            return to_array(X) if isinstance(X, (list, tuple)) else X  # the schema's message knows height and width
        shape = getattr(X, "shape", None)
        if shape is not None and len(shape) >= 3:
            if reset:
                self.n_features_in_ = math.prod(shape[1:])
            return X
        if isinstance(X, Tensor):
            if reset:
                self.n_features_in_ = math.prod(X.shape[1:])
            return X
        values = validated(self, X, reset=reset, finite=False)
        # A frame stays a frame, so that results come back as one; anything else is an array from here on.
        return X if hasattr(X, "columns") or hasattr(X, "column_names") else values

    def _unwrapped(self, X: Any) -> Any:
        """X checked against what fit took; a path stays a path, which the schema reads as it read the first."""
        if isinstance(X, Dataset):
            return X.data
        return X if isinstance(X, (str, os.PathLike)) else self._checked(X, reset=False)

    def _dtype(self, data: Any) -> torch.dtype:
        """The precision to compute in: that of the data."""
        if self.schema_.kind in ("table", "text"):
            return torch.float32
        if isinstance(data, (str, os.PathLike)):
            return torch.float64 if self.schema_.values == "real" and self.schema_.kind == "rows" else torch.float32
        return torch.float64 if _is_double(data) else torch.float32

    def _encode_input(self, X: Any) -> tuple[Tensor, torch.dtype]:
        data = self._unwrapped(X)
        dtype = self._dtype(data)
        return self.schema_.encode(data, dtype=dtype), dtype

    def _one(self, x: Any) -> Any:
        """One example as a batch of one."""
        if self.schema_.kind == "text":
            return [x] if isinstance(x, str) else x
        if hasattr(x, "to_frame") and hasattr(x, "index"):
            x = x.to_frame().T.infer_objects()  # a row of a pandas frame; its index holds the names of the columns
        if isinstance(x, (str, os.PathLike, TextTable)) or is_frame(x):
            return x
        array = x if isinstance(x, (np.ndarray, Tensor)) else np.asarray(x)
        if tuple(array.shape) == tuple(self.schema_.user_shape):
            return array[None]
        if array.shape[:1] != (1,):
            raise DataError(
                f"one example of shape {self.schema_.user_shape} is wanted; got shape {tuple(array.shape)}."
            )
        return array


def validated(estimator: Any, X: Any, *, reset: bool, finite: Literal[False, "allow-nan"]) -> NDArray[Any]:
    """Return rows of numbers after scikit-learn's own checks.

    Args:
        estimator: Whose number and names of features are learnt or held against X.
        X: Rows, shape (n, features).
        reset: Whether X is what is fitted to.
        finite: Whether infinity is let through, and NaN; ``"allow-nan"`` refuses infinity.
    Raises:
        DataError: If `reset`, and the data cannot be used; text is named with its row and column.
        SchemaMismatchError: If they are not like those of fit.
    """
    try:
        rows: NDArray[Any] = validate_data(
            estimator, X, reset=reset, dtype="numeric", ensure_all_finite=finite, ensure_min_samples=2 if reset else 1
        )
    except ValueError as error:
        if isinstance(error, LatentkitError):
            raise
        to_array(X)  # where the cause is text, this says in which row and column
        kind = DataError if reset else SchemaMismatchError
        raise kind(str(error)) from error
    return rows


def _is_plain_frame(X: Any) -> bool:
    """Whether a frame holds numbers alone; a column that Arrow cannot hold is named by the reader of tables."""
    import pyarrow as pa

    try:
        return is_plain(to_table(X))
    except pa.ArrowException:
        return False


def _is_double(data: Any) -> bool:
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


def odd_labels(y: Any, n: int) -> NDArray[np.bool_]:
    """Return labels as truth values, True for odd: of -1 and 1 the -1, of 0 and 1 the 1.

    Raises:
        DataError: If they are something else, or not as many as the rows.
    """
    labels = np.asarray(y)
    if labels.shape != (n,):
        raise DataError(f"y must have one label a row, shape ({n},); got shape {labels.shape}.")
    if labels.dtype.kind == "b":
        return labels.astype(np.bool_)
    kinds = set(np.unique(labels).tolist()) if labels.dtype.kind in "iuf" else {None}
    if kinds <= {-1, 1} and -1 in kinds:
        return np.asarray(labels == -1)
    if kinds <= {0, 1}:
        return np.asarray(labels == 1)
    raise DataError(
        "labels of a detector are True or 1 for odd rows and False or 0 for others, or -1 and 1 as predict says it; "
        f"got {', '.join(map(repr, np.unique(labels)[:5].tolist()))}. Compare first, as in y == 'fraud'."
    )


def _label_codes(labels: NDArray[Any]) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Codes and names of class labels; None where y is no set of at most 100 classes, such as a regression target."""
    if labels.ndim != 1 or labels.dtype.kind not in "iubUSO":
        return None, None
    names, codes = np.unique(labels.astype(str) if labels.dtype.kind == "O" else labels, return_inverse=True)
    if not 1 < len(names) <= 100:
        return None, None
    return codes.astype(np.int64), tuple(str(name) for name in names)
