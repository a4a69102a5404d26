"""Allowed combinations of categories, as tuples of codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion
from latentkit.data.containers import Name
from latentkit.data.table.asking import read_category, read_value, refuse_left_out
from latentkit.data.table.cells import LabelCells
from latentkit.data.table.codings import Allowed, NumberCoding
from latentkit.data.table.columns import Column
from latentkit.data.table.constraints import Combinations
from latentkit.data.table.frames import to_columns
from latentkit.data.table.schema import TableSchema
from latentkit.data.table.sources import read_table_data

__all__ = ["CodeTuples", "learn_tuples"]

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]


@final
@dataclass(frozen=True)
class CodeTuples:
    """The tuples of codes that some model columns may have together.

    Attributes:
        text: The constraint as it is typed.
        columns: The columns.
        places: Their model columns.
        codes: The allowed tuples, each once, shape (tuples, places).
        missing: The code of "missing" of each place, -1 where there is none.
    """

    text: str
    columns: tuple[Column, ...]
    places: tuple[int, ...]
    codes: Integers
    missing: Integers

    def within(self, asked: Mapping[int, Allowed]) -> CodeTuples:
        """Return those of the tuples that conditions leave.

        Raises:
            InvalidParameterError: If there are none.
        """
        left = np.ones(len(self.codes), np.bool_)
        for index, place in enumerate(self.places):
            if place in asked:
                left &= asked[place].codes[self.codes[:, index]]
        if not left.any():
            raise InvalidParameterError(f"no combination that {self.text} allows fits the condition. Ask for less.")
        return CodeTuples(self.text, self.columns, self.places, self.codes[left], self.missing)

    def allowed(self, place: int, size: int, rows: Floats) -> Bools:
        """Return which codes of a model column go with the known cells of rows, shape (n, size).

        Args:
            place: The model column.
            size: Number of its codes.
            rows: Codes with positions, shape (n, model columns), NaN where unknown. A row with a missing cell among
                the columns is free.
        """
        target = self.places.index(place)
        cells = rows[:, list(self.places)]
        is_known = ~np.isnan(cells)
        is_known[:, target] = False
        codes = np.where(is_known, cells, -1).astype(np.int64)
        is_free = (is_known & (codes == self.missing)).any(axis=1)
        allowed = np.ones((len(rows), size), np.bool_)
        patterns, pattern_of = np.unique(is_known, axis=0, return_inverse=True)
        for index, known in enumerate(patterns):
            chosen = (pattern_of.reshape(-1) == index) & ~is_free
            allowed[chosen] = self._following(known, target, size, codes[chosen])
        if self.missing[target] >= 0:
            allowed[:, self.missing[target]] = True
        return allowed

    def _following(self, known: Bools, target: int, size: int, codes: Integers) -> Bools:
        """Which codes follow those known, shape (n, size), for rows in which the same places are known."""
        together = np.concatenate([self.codes[:, known], codes[:, known]])
        if not known.any():
            groups = np.zeros(len(together), np.int64)
        else:
            groups = np.unique(together, axis=0, return_inverse=True)[1].reshape(-1)
        follows = np.zeros((int(groups.max(initial=0)) + 1, size), np.bool_)
        follows[groups[: len(self.codes)], self.codes[:, target]] = True
        return follows[groups[len(self.codes) :]]

    def holds(self, arrays: Mapping[Name, Any]) -> Bools:
        """Whether the cells of Arrow columns are allowed combinations, shape (n,); those with a missing cell are."""
        codes, missing = _encoded(self.columns, arrays)
        groups = np.unique(np.concatenate([self.codes, codes]), axis=0, return_inverse=True)[1].reshape(-1)
        return np.isin(groups[len(self.codes) :], groups[: len(self.codes)]) | missing


def learn_tuples(schema: TableSchema, constraint: Combinations) -> CodeTuples:
    """Return the combinations of a constraint as codes of a schema.

    Raises:
        InvalidParameterError: If a column holds no categories, or no combination is left.
    """
    columns = tuple(schema.column(name) for name in constraint.columns)
    for column in columns:
        refuse_left_out(column)
        if not _has_few_values(column):
            raise InvalidParameterError(
                f"combinations are of categories, and column {column.name!r} is {column.kind} ({column.reason}), with "
                f"values that share codes. Fit it as categories: frame[{column.name!r}].astype('category')."
            )
    codes = _given(columns, constraint)
    different, counts = np.unique(codes, axis=0, return_counts=True)
    different = different[counts >= constraint.min_rows]
    if not len(different):
        raise InvalidParameterError(
            f"the rows given for {constraint} hold no combination of categories that the model knows"
            f"{f' in {constraint.min_rows} rows or more' if constraint.min_rows > 1 else ''}."
        )
    places = tuple(place for column in columns for place in schema.locate(column.name))
    missing = [-1 if code is None else code for column in columns for code in column.missing_codes]
    return CodeTuples(str(constraint), columns, places, different, np.array(missing))


def _has_few_values(column: Column) -> bool:
    """Whether each value of a column is a code of its own: categories, and numbers of few values."""
    return not isinstance(column.coding, NumberCoding) or column.coding.low == column.coding.high


def _given(columns: tuple[Column, ...], constraint: Combinations) -> Integers:
    """The codes of the combinations that were given, shape (n, places)."""
    if isinstance(constraint.rows, list | tuple | set | frozenset):
        return _listed(columns, constraint)
    table = to_columns(read_table_data(constraint.rows))
    arrays = dict(zip(table.names, table.arrays, strict=True))
    for column in columns:
        if column.name not in arrays:
            names = list(map(str, table.names))
            raise InvalidParameterError(
                f"the table given for {constraint} has no column {column.name!r}.{suggestion(str(column.name), names)}"
            )
    codes, missing = _encoded(columns, arrays)
    return codes[~missing & (codes >= 0).all(axis=1)]


def _listed(columns: tuple[Column, ...], constraint: Combinations) -> Integers:
    places = []
    for row in constraint.rows:
        if isinstance(row, str) or len(row) != len(columns):
            raise InvalidParameterError(f"{constraint} takes rows of {len(columns)} values each; got {row!r}.")
        places.append([_read(column, value) for column, value in zip(columns, row, strict=True)])
    values = np.array(places, np.float64).reshape(-1, len(columns))
    codes = np.concatenate([_codes(column, values[:, index]) for index, column in enumerate(columns)], axis=1)
    return codes[(codes >= 0).all(axis=1)]


def _read(column: Column, value: Any) -> float:
    if isinstance(column.cells, LabelCells):
        return float(read_category(column, value))
    return read_value(column, value, np.nan)


def _encoded(columns: tuple[Column, ...], arrays: Mapping[Name, Any]) -> tuple[Integers, Bools]:
    """Codes of Arrow columns, shape (n, places), -1 where a category is not known; and which rows miss a cell."""
    parts, missing = zip(*(column.read(arrays[column.name]) for column in columns), strict=True)
    codes = [_codes(column, values) for column, values in zip(columns, parts, strict=True)]
    return np.concatenate(codes, axis=1), np.asarray(np.stack(missing).any(axis=0))


def _codes(column: Column, values: Floats) -> Integers:
    """Codes of values of a column, shape (n, model columns), -1 where a value is none of the codes."""
    u = column.coding.encode(values)
    is_code = column.coding.decode(u) == values
    return np.where(is_code[:, None], np.floor(np.where(np.isnan(u), -1, u)), -1).astype(np.int64)
