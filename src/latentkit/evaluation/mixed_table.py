"""Tables of mixed kinds as numbers: what the metrics of tables take."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import generator

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

__all__ = ["MixedTable", "check_tables", "code_categories", "mixed_tables"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MixedTable:
    """Rows whose columns are numbers or categories.

    Attributes:
        values: Shape (n, columns), stored as float64. Numbers as they are, categories as codes 0, 1, ... that mean the
            same in every table that is compared; NaN is a missing cell, of either kind.
        is_categorical: Which columns hold codes, shape (columns,).
        names: Of the columns.
        categories: Names of the codes, by column; for pictures alone, and may be left out.

    Raises:
        InvalidParameterError: If shapes do not fit, names repeat, a number is infinite, or a code is no integer from 0.

    Example:
        >>> table = MixedTable(values=[[39.0, 1], [np.nan, 0]], is_categorical=[False, True], names=["age", "sex"])
        >>> table.n, table.column("age")
        (2, array([39., nan]))
    """

    values: NDArray[np.float64]
    is_categorical: NDArray[np.bool_]
    names: tuple[str, ...]
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        kinds, names = np.asarray(self.is_categorical, dtype=np.bool_), tuple(map(str, self.names))
        if values.ndim != 2 or values.shape[1] < 1 or kinds.shape != values.shape[1:] or len(names) != len(kinds):
            raise InvalidParameterError(
                "values must have the shape (n, columns) with an entry of is_categorical and a name for each column; "
                f"got values of shape {values.shape}, is_categorical of shape {kinds.shape} and {len(names)} names."
            )
        if len(set(names)) < len(names):
            raise InvalidParameterError(f"names of columns must differ; got {', '.join(names)}.")
        for name, kind, cells in zip(names, kinds, values.T, strict=True):
            known = cells[~np.isnan(cells)]
            if np.isinf(known).any():
                raise InvalidParameterError(f"column {name!r} holds infinity; use NaN for a missing cell.")
            if kind and ((known < 0).any() or (known != np.floor(known)).any()):
                raise InvalidParameterError(
                    f"column {name!r} is categorical, so its cells must be codes 0, 1, ... or NaN; see mixed_tables."
                )
        for name, value in (("values", values), ("is_categorical", kinds), ("names", names)):
            object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.values)

    def place(self, name: str) -> int:
        """Place of a column.

        Raises:
            InvalidParameterError: If there is none of this name.
        """
        if name not in self.names:
            raise InvalidParameterError(f"there is no column {name!r}; the columns are: {', '.join(self.names)}.")
        return self.names.index(name)

    def column(self, name: str) -> NDArray[np.float64]:
        """Cells of one column, shape (n,)."""
        return self.values[:, self.place(name)]

    def take(self, rows: NDArray[Any]) -> MixedTable:
        """The table of these rows, by number or by mask."""
        return self._with(self.values[rows], np.ones(len(self.names), bool))

    def without(self, dropped: NDArray[np.bool_]) -> MixedTable:
        """The table without the columns of this mask."""
        return self._with(self.values[:, ~dropped], ~dropped)

    def drawn(self, n: int, seed: int, *keys: str) -> MixedTable:
        """At most `n` rows, chosen by seed."""
        return self.take(torch.randperm(self.n, generator=generator(seed, "table-rows", *keys))[:n].numpy())

    def _with(self, values: NDArray[np.float64], kept: NDArray[np.bool_]) -> MixedTable:
        names = tuple(name for name, keep in zip(self.names, kept, strict=True) if keep)
        return MixedTable(
            values=values, is_categorical=self.is_categorical[kept], names=names, categories=self.categories
        )


def check_tables(at_least: int = 1, **tables: MixedTable) -> None:
    """Check that tables have the same columns, and rows enough.

    Raises:
        InvalidParameterError: If one is no mixed table, has fewer than `at_least` rows or other columns than the first.
    """
    first = next(iter(tables))
    for name, table in tables.items():
        if not isinstance(table, MixedTable):
            raise InvalidParameterError(f"{name} must be a MixedTable; got {type(table).__name__}. See mixed_tables.")
        if table.n < at_least:
            raise InvalidParameterError(f"{name} must have at least {at_least} rows; got {table.n}.")
        reference = tables[first]
        if table.names != reference.names or (table.is_categorical != reference.is_categorical).any():
            raise InvalidParameterError(
                f"{first} and {name} must have the same columns of the same kinds; "
                f"got {_described(reference)} and {_described(table)}."
            )


def _described(table: MixedTable) -> str:
    kinds = ("category" if kind else "number" for kind in table.is_categorical)
    return ", ".join(f"{name} ({kind})" for name, kind in zip(table.names, kinds, strict=True))


def code_categories(*columns: NDArray[np.float64]) -> tuple[list[NDArray[np.int64]], int]:
    """Return columns of codes as integers in which missing is a code of its own, the last, and the number of codes.

    Example:
        >>> code_categories(np.array([0.0, np.nan]), np.array([2.0]))
        ([array([0, 3]), array([2])], 4)
    """
    largest = max((int(np.nanmax(cells)) for cells in columns if not np.isnan(cells).all()), default=-1)
    return [np.where(np.isnan(cells), largest + 1, cells).astype(np.int64) for cells in columns], largest + 2


def mixed_tables(*frames: IntoDataFrame, categorical: Collection[str]) -> tuple[MixedTable, ...]:
    """Return data frames as mixed tables whose codes agree.

    Categories are coded in the order of their names; null and NaN are missing, and an empty text is a category.

    Args:
        frames: Of pandas, polars or Arrow, with the columns of the first.
        categorical: Names of the columns that hold categories, whatever their type; all others must be numbers.

    Raises:
        InvalidParameterError: If a column lacks, or holds text and is not among `categorical`.

    Example:
        >>> import pandas as pd
        >>> real, new = pd.DataFrame({"sex": ["F", None]}), pd.DataFrame({"sex": ["M", "F"]})
        >>> [table.values.T.tolist() for table in mixed_tables(real, new, categorical=["sex"])]
        [[[0.0, nan]], [[1.0, 0.0]]]
    """
    import narwhals as nw

    given = [nw.from_native(frame, eager_only=True) for frame in frames]
    names = tuple(given[0].columns)
    for name in (*categorical, *names):
        for frame in given:
            if name not in frame.columns:
                raise InvalidParameterError(
                    f"each table must have the column {name!r}; one has: {', '.join(frame.columns)}."
                )
            if name not in categorical and not (frame[name].dtype.is_numeric() or frame[name].dtype == nw.Boolean):
                raise InvalidParameterError(
                    f"column {name!r} holds {frame[name].dtype}; name it in categorical, or make numbers of it."
                )
    columns: list[list[NDArray[np.float64]]] = [[] for _ in given]
    categories: dict[str, tuple[str, ...]] = {}
    for name in names:
        parts = [frame[name] for frame in given]
        missing = [part.is_null().to_numpy().astype(bool) for part in parts]
        if name in categorical:
            texts = [_texts(part, gaps) for part, gaps in zip(parts, missing, strict=True)]
            known, codes = np.unique(np.concatenate(texts), return_inverse=True)
            categories[name] = tuple(map(str, known))
            numbers = np.split(codes.astype(np.float64), np.cumsum([len(text) for text in texts])[:-1])
        else:
            numbers = [part.drop_nulls().to_numpy().astype(np.float64) for part in parts]
        for column, gaps, cells in zip(columns, missing, numbers, strict=True):
            column.append(np.full(len(gaps), np.nan))
            column[-1][~gaps] = cells
    kinds = np.array([name in categorical for name in names])
    return tuple(
        MixedTable(values=np.stack(column, axis=1), is_categorical=kinds, names=names, categories=categories)
        for column in columns
    )


def _texts(series: Any, missing: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Names of the categories of the cells that are there; whole numbers are named alike in columns of any type."""
    cells = series.to_numpy()[~missing]
    if series.dtype.is_float():
        return np.array([f"{cell:.15g}" for cell in cells], dtype=np.str_)
    return np.array([str(cell) for cell in cells], dtype=np.str_)
