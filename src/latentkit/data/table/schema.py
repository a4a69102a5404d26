"""The schema of tables of mixed kinds: how their cells become codes and come back."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, final, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.columns import ColumnCodes
from latentkit.core.errors import DataError, InvalidParameterError, SchemaMismatchError
from latentkit.core.parameters import check_choice, suggestion
from latentkit.data.containers import Name
from latentkit.data.table.asking import ask
from latentkit.data.table.cells import LabelCells
from latentkit.data.table.codings import Allowed, DigitsCoding, NumberCoding
from latentkit.data.table.columns import Column, nulls
from latentkit.data.table.frames import Columns, TableContainer, to_columns
from latentkit.data.table.sources import read_table_data
from latentkit.data.validation import from_source, show

__all__ = ["TABLE_VERSION", "Combined", "TableNumbers", "TableSchema", "Unseen"]

Arrow: TypeAlias = Any
Floats: TypeAlias = NDArray[np.float64]

#: What becomes of categories that were not there when a schema was learnt.
Unseen: TypeAlias = Literal["unknown", "error"]
#: Number of the format of descriptions; a reader knows its own and all earlier ones.
TABLE_VERSION = 1


@final
@dataclass(frozen=True)
class Combined:
    """Several draws of the same rows as one table.

    Attributes:
        data: The table in the user's container: means of numbers, medians of ordered categories, the most frequent of
            others.
        spread: How far the draws agree, shape (n, columns): the standard deviation of numbers and times (in seconds),
            the share of draws that have the category; NaN for columns that the model does not see.
    """

    data: Any
    spread: Floats


@final
@dataclass(frozen=True, eq=False, slots=True)
class TableNumbers:
    """A table as numbers, for figures that know nothing of files and formats.

    Attributes:
        values: Shape (n, columns): numbers as they are, dates and times in seconds, categories as codes 0, 1, ...; NaN
            where a cell is missing.
        is_categorical: Which columns hold codes, shape (columns,).
        names: Of the columns: those that the model sees.
        categories: Names of the codes of each column that holds codes; the last stands for categories that were not
            there when the schema was learnt.
    """

    values: Floats
    is_categorical: NDArray[np.bool_]
    names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]


@final
@dataclass(frozen=True, eq=True)
class TableSchema:
    """How a table of mixed kinds becomes codes and comes back.

    A cell is a number u: its whole part is a code of its model column, its fraction the position inside the code (see
    :mod:`~latentkit.data.table.codings`). NaN is a hole: a cell of which nothing is said. A missing cell is a code, the
    last, in columns that had missing cells when the schema was learnt. Most columns are one model column, those of very
    many categories two, and constants, identifiers and free text none.

    Attributes:
        columns: The columns of the table, in their order.
        container: What the table came in and goes back into.
        n_examples: Number of rows that the schema was learnt from.
        notes: What was recognised, and warnings, a sentence each.
        unseen: What becomes of a category that was not there when the schema was learnt: ``"unknown"`` makes it a hole,
            with a warning that counts; ``"error"`` refuses it.

    Example:
        >>> import pyarrow as pa
        >>> from latentkit.data import learn_table_schema
        >>> table = pa.table({"age": [31, 45, 62, 31] * 9, "smokes": ["yes", "no", None, "no"] * 9})
        >>> schema = learn_table_schema(table)
        >>> schema.decode(schema.encode(table)).equals(table)
        True
    """

    columns: tuple[Column, ...]
    container: TableContainer
    n_examples: int = 0
    notes: tuple[str, ...] = ()
    unseen: Unseen = "unknown"

    @property
    def kind(self) -> Literal["table"]:
        """``"table"``."""
        return "table"

    @property
    def values(self) -> Literal["mixed"]:
        """``"mixed"``: every column has values of its own kind."""
        return "mixed"

    @property
    def n_levels(self) -> None:
        """None: there is no grid that all values lie on."""
        return None

    @cached_property
    def codes(self) -> ColumnCodes:
        """The codes of the model columns, the missing code counted."""
        return ColumnCodes(
            [size for column in self.columns for size in column.sizes],
            [code for column in self.columns for code in column.missing_codes],
            [
                (column.is_ordered or isinstance(column.coding, NumberCoding))
                and not isinstance(column.coding, DigitsCoding)
                for column in self.columns
                for _ in column.sizes
            ],
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each model column, the missing code counted."""
        return tuple(self.codes.cardinalities)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example: (model columns,)."""
        return (len(self.sizes),)

    @property
    def user_shape(self) -> tuple[int, ...]:
        """Shape of one example as the user gave it: (columns,)."""
        return (len(self.columns),)

    @property
    def feature_names(self) -> tuple[Name, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def _slices(self) -> tuple[slice, ...]:
        """Where the model columns of each column stand."""
        ends = np.cumsum([0, *(len(column.sizes) for column in self.columns)]).tolist()
        return tuple(slice(start, stop) for start, stop in itertools.pairwise(ends))

    def locate(self, name: Name) -> tuple[int, ...]:
        """Return which model columns a column has: one, two, or none where it is left out.

        Raises:
            InvalidParameterError: If there is no such column; the nearest is suggested.
        """
        place = self._slices[self._index(name)]
        return tuple(range(place.start, place.stop))

    def column(self, name: Name) -> Column:
        """Return the column of a name.

        Raises:
            InvalidParameterError: If there is none; the nearest is suggested.
        """
        return self.columns[self._index(name)]

    def _index(self, name: Name) -> int:
        for index, column in enumerate(self.columns):
            if column.name == name:
                return index
        names = list(map(str, self.feature_names))
        raise InvalidParameterError(
            f"there is no column {name!r}; the table has: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}."
            f"{suggestion(str(name), names)}"
        )

    # -- there ----------------------------------------------------------------------------------------------------

    def encode(self, data: Any, *, dtype: torch.dtype = torch.float32, unseen: Unseen | None = None) -> Tensor:
        """Return a table as codes.

        Args:
            data: Whatever the schema was learnt from, or the same columns in another container, or a path of it. The
                columns of a data frame are found by name.
            dtype: Of the codes.
            unseen: In the place of the schema's own; None for that.
        Returns:
            Codes with positions, shape (n, model columns). A missing cell has the missing code, or NaN in a column that
            had nothing missing before; numbers beyond those seen lie below 0 or from the number of codes on.
        Raises:
            SchemaMismatchError: If the columns are not those that the schema was learnt from.
            DataError: If a number is infinite, a cell of numbers or dates holds none, or `unseen` is ``"error"`` and a
                category is new; file, line and column are named.
        """
        return self._encode(data, dtype, unseen)[0]

    def encode_observed(
        self, data: Any, *, dtype: torch.dtype = torch.float32, unseen: Unseen | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return a table with holes as codes and a mask of what was observed.

        Args:
            data: As in :meth:`encode`; every missing cell is a hole.
            dtype: Of the codes.
            unseen: As in :meth:`encode`.
        Returns:
            Codes, shape (n, model columns), NaN in the holes, and a bool tensor of the same shape, True where a cell
            was observed.
        """
        u, missing = self._encode(data, dtype, unseen)
        u[missing] = torch.nan
        return u, ~torch.isnan(u)

    def _encode(self, data: Any, dtype: torch.dtype, unseen: Unseen | None) -> tuple[Tensor, Tensor]:
        unseen = self.unseen if unseen is None else unseen
        check_choice("unseen", unseen, get_args(Unseen))
        table = to_columns(read_table_data(data)).ordered(self.feature_names)
        u = torch.empty(table.n, len(self.sizes), dtype=dtype)
        holes = torch.zeros(table.n, len(self.sizes), dtype=torch.bool)
        new: list[str] = []
        for column, cells, place in zip(self.columns, table.arrays, self._slices, strict=True):
            if column.is_left_out:
                continue
            codes, missing, unknown = column.encode(cells)
            if unknown.any() or not (np.isfinite(codes) | np.isnan(codes)).all():
                self._check(table, column, cells, unknown, codes, unseen, new)
            u[:, place] = torch.from_numpy(codes).to(dtype)
            holes[:, place] = torch.from_numpy(missing)[:, None]
        if new:
            warnings.warn(
                f"{from_source(table.source)}categories that the model was not fitted on are taken as unknown: "
                f"{'; '.join(new[:5])}{'; ...' if len(new) > 5 else ''}",
                UserWarning,
                stacklevel=4,
            )
        return u, holes

    @staticmethod
    def _check(
        table: Columns,
        column: Column,
        cells: Arrow,
        unknown: NDArray[np.bool_],
        codes: Floats,
        unseen: str,
        new: list[str],
    ) -> None:
        infinite = np.isinf(codes).any(axis=1)
        if infinite.any():
            row = int(np.flatnonzero(infinite)[0])
            raise DataError(
                f"{table.place(row, column.name)} is infinite. Correct it, or leave the cell empty: a missing value "
                "can be inferred"
            )
        row = int(np.flatnonzero(unknown)[0])
        value = show(cells[row].as_py())
        if not column.cells.is_open:
            raise DataError(
                f"{table.place(row, column.name)} is {value}, but the column is {column.kind}: {column.reason}. "
                "Correct the cell, or leave it empty"
            )
        if unseen == "error":
            names = column.cells.categories if isinstance(column.cells, LabelCells) else ()
            shown = ", ".join(map(show, names[:12])) + (", ..." if len(names) > 12 else "")
            raise DataError(
                f"{table.place(row, column.name)} is {value}, a category that the model was not fitted on; it knows "
                f"{shown}.{suggestion(str(cells[row].as_py()), names)} Correct it, or take it as unknown with "
                "unseen='unknown' (--unseen unknown)"
            )
        n = int(unknown.sum())
        rows = f"{n} row{'s' * (n != 1)}"
        new.append(f"column {show(column.name)} in {rows}, the first is {value} in {table.row(row)}")

    def to_model(self, storage: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return storage in model units: they are the same."""
        return storage.to(dtype)

    # -- and back -------------------------------------------------------------------------------------------------

    def decode(self, x: Tensor) -> Any:
        """Return codes as a table.

        Args:
            x: Codes with positions, shape (*batch, model columns); the rows are those of all batch dimensions.
        Returns:
            The container and types of the table that the schema was learnt from, its columns in their order. Constants
            are put back, identifiers are new, free text is missing.
        Raises:
            SchemaMismatchError: If the last dimension of `x` is not the number of model columns.
        """
        return self.write(self.read_codes(x))

    def read_codes(self, x: Tensor) -> list[Floats]:
        """Return the values of each column that codes stand for, shape (rows,) each, NaN where a cell is missing.

        Args:
            x: As in :meth:`decode`.
        Returns:
            Numbers, seconds, and places of categories.
        """
        return [values for _, values in self._values(self._flat(x))]

    def write(self, values: Sequence[Floats]) -> Any:
        """Return the values of each column, as :meth:`read_codes` gives them, as a table in the user's container."""
        return self.container.rebuild([column.write(cells) for column, cells in zip(self.columns, values, strict=True)])

    def _flat(self, x: Tensor) -> Floats:
        if x.ndim < 2 or x.shape[-1] != len(self.sizes):
            raise SchemaMismatchError(
                f"expected codes of shape (*batch, {len(self.sizes)}), one for each model column; got {tuple(x.shape)}."
            )
        return x.detach().cpu().double().reshape(-1, len(self.sizes)).numpy()

    def _values(self, u: Floats) -> list[tuple[Column, Floats]]:
        return [(column, column.values(u[:, place])) for column, place in zip(self.columns, self._slices, strict=True)]

    def combine(self, draws: Tensor) -> Combined:
        """Return several draws of the same rows as one table, with how far they agree.

        Args:
            draws: Codes with positions, shape (draws, n, model columns).
        Returns:
            Means of numbers, dates and times (of levels the one nearest to it), medians of ordered categories, and the
            most frequent of others. A cell that is missing in more than half of the draws (for categories without
            order: most often) is missing.
        Raises:
            SchemaMismatchError: If the shape does not fit.
        """
        if draws.ndim != 3:
            raise SchemaMismatchError(
                f"expected draws of shape (draws, n, {len(self.sizes)}); got {tuple(draws.shape)}."
            )
        middles = self._middles(draws)
        arrays = [column.write(values) for column, values, _ in middles]
        return Combined(self.container.rebuild(arrays), np.stack([spread for *_, spread in middles], axis=1))

    def _middles(self, draws: Tensor) -> list[tuple[Column, Floats, Floats]]:
        """Of each column the middle of its draws, shape (n,), and how far they agree."""
        m, n, _ = draws.shape
        middles = []
        for column, values in self._values(self._flat(draws)):
            each = values.reshape(m, n)
            if column.is_left_out:
                middles.append((column, each[0], np.full(n, np.nan)))
            elif isinstance(column.cells, LabelCells):
                middles.append((column, *(_median if column.is_ordered else _mode)(each)))
            else:
                middles.append((column, *(_level if column.kind == "ordinal" else _mean)(each)))
        return middles

    def middle(self, draws: Tensor) -> list[Floats]:
        """Return the middle of several draws of the same rows as values, as :meth:`read_codes` gives them.

        Args:
            draws: As in :meth:`combine`, whose middles these are.
        """
        return [values for _, values, _ in self._middles(draws)]

    def features(self, draws: Tensor, *, widest: int = 100) -> list[Tensor]:
        """Return draws of rows as numbers in which rows can be compared.

        Args:
            draws: Codes with positions, shape (draws, n, model columns).
            widest: Categories of a column up to which they are compared.
        Returns:
            A block for each column that the model sees, shape (n, width), float32. It holds the mean of numbers and
            times, width 1; of categories the share of the draws that have each; of too many categories nothing.
        """
        m, n, _ = draws.shape
        blocks = []
        for column, values in self._values(self._flat(draws)):
            if column.is_left_out:
                continue
            if not isinstance(column.cells, LabelCells):
                block = np.nan_to_num(_mean(values.reshape(m, n))[0])[:, None]
            elif (width := len(column.cells.categories)) > widest:
                block = np.empty((n, 0))
            else:
                known = ~np.isnan(values)
                places = np.tile(np.arange(n), m)[known] * width + values[known].astype(np.int64)
                block = np.bincount(places, minlength=n * width).reshape(n, width) / m
            blocks.append(torch.from_numpy(block).float())
        return blocks

    def fill(self, data: Any, x: Tensor | Sequence[Floats], *, observed: Tensor | None = None) -> Any:
        """Return a table with its missing cells filled, and every other cell as it was.

        Args:
            data: As in :meth:`encode`.
            x: Codes of the completed rows, shape (n, model columns), or the values of each column, as
                :meth:`read_codes` and :meth:`middle` give them.
            observed: Which codes to keep, bool, shape (n, model columns); None for all. Missing cells are filled in any
                case, and cells of categories that are not known stay.
        Returns:
            The table in the user's container; columns that the model does not see are as they were.
        """
        import pyarrow as pa
        from pyarrow import compute as pc

        table = to_columns(read_table_data(data)).ordered(self.feature_names)
        values = self.read_codes(x) if isinstance(x, Tensor) else x
        if len(values[0]) != table.n:
            raise SchemaMismatchError(f"the table has {table.n} rows, the codes have {len(values[0])}")
        holes = None if observed is None else ~observed.cpu().numpy()
        arrays = []
        absent = self._missing(table)
        columns = zip(self.columns, values, table.arrays, self._slices, absent, strict=True)
        for column, filling, cells, place, missing in columns:
            if holes is not None and not column.is_left_out:
                missing |= holes[:, place].any(axis=1)
            if not missing.any():
                arrays.append(cells)
                continue
            plain = cells.cast(cells.type.value_type) if pa.types.is_dictionary(cells.type) else cells
            written = column.write(filling)
            kind = written.type if pa.types.is_null(plain.type) else plain.type  # of a column without any value
            arrays.append(pc.if_else(pa.array(missing), written.cast(kind), plain.cast(kind)))
        container = self.container if table.text is None else replace(self.container, dialect=table.text.dialect)
        return container.rebuild([cells.combine_chunks() if hasattr(cells, "chunks") else cells for cells in arrays])

    def missing(self, data: Any) -> NDArray[np.bool_]:
        """Return which cells of a table :meth:`fill` would fill: the missing ones of the columns that are learnt.

        Args:
            data: As in :meth:`encode`.
        Returns:
            Shape (n, columns).
        """
        return np.stack(self._missing(to_columns(read_table_data(data)).ordered(self.feature_names)), axis=1)

    def _missing(self, table: Columns) -> list[NDArray[np.bool_]]:
        """Which cells of each column are missing, shape (n,); none of a column that is left out."""
        return [
            np.zeros(table.n, np.bool_) if column.is_left_out else nulls(cells, column.missing.markers).copy()
            for column, cells in zip(self.columns, table.arrays, strict=True)
        ]

    # -- as plain numbers ------------------------------------------------------------------------------------------

    def numbers(self, data: Any) -> TableNumbers:
        """Return a table as numbers and codes, the same codes for every table that is read by this schema.

        Args:
            data: As in :meth:`encode`.
        Returns:
            The columns that the model sees, in the user's units; what metrics of tables take
            (:class:`latentkit.evaluation.MixedTable`).
        Raises:
            SchemaMismatchError: If the columns are not those that the schema was learnt from.
            DataError: If a number is infinite, or a cell of numbers or dates holds none.

        Example:
            >>> import pyarrow as pa
            >>> from latentkit.data import learn_table_schema
            >>> table = pa.table({"age": [31, 45, 62, 31] * 9, "smokes": ["yes", "no", None, "no"] * 9})
            >>> numbers = learn_table_schema(table).numbers(table)
            >>> numbers.values[:3].tolist(), numbers.categories["smokes"]
            ([[31.0, 1.0], [45.0, 0.0], [62.0, nan]], ('no', 'yes', 'not seen before'))
        """
        table = to_columns(read_table_data(data)).ordered(self.feature_names)
        seen = [pair for pair in zip(self.columns, table.arrays, strict=True) if not pair[0].is_left_out]
        parts = []
        for column, cells in seen:
            values, missing = column.read(cells)
            unknown = np.isnan(values) & ~missing
            if isinstance(column.cells, LabelCells):
                values[unknown] = len(column.cells.categories)
            elif unknown.any() or np.isinf(values).any():
                self._check(table, column, cells, unknown, values[:, None], "error", [])
            parts.append(values)
        return TableNumbers(
            np.stack(parts, axis=1),
            np.array([isinstance(column.cells, LabelCells) for column, _ in seen]),
            tuple(str(column.name) for column, _ in seen),
            {
                str(column.name): (*column.cells.categories, "not seen before")
                for column, _ in seen
                if isinstance(column.cells, LabelCells)
            },
        )

    # -- conditions -----------------------------------------------------------------------------------------------

    def allowed(self, name: Name, condition: Any) -> dict[int, Allowed]:
        """Return which codes of its model columns a condition on a column leaves, and which positions inside them.

        Args:
            name: Name of the column.
            condition: A value; a pair (low, high) for a range with both its ends, None for an open end; a set of
                values; or None for "missing".
        Returns:
            What is left of each model column of the column. Of several numbers in one bin, what lies between them is
            left.
        Raises:
            InvalidParameterError: If there is no such column or category, a range is asked of categories without
                order, or nothing is left.

        Example:
            >>> import pyarrow as pa
            >>> from latentkit.data import learn_table_schema
            >>> schema = learn_table_schema(pa.table({"age": [31, 45, 62, 31] * 9}))
            >>> schema.allowed("age", (40, 70))[0].codes
            array([False,  True,  True])
        """
        parts = ask(self.column(name), condition)
        return dict(zip(self.locate(name), parts, strict=True))

    # -- for people and files -------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return the schema as JSON values; :func:`~latentkit.data.schema_from_description` is the exact inverse."""
        return {
            "version": TABLE_VERSION,
            "type": "table",
            "columns": [column.describe() for column in self.columns],
            "container": self.container.describe(),
            "n_examples": self.n_examples,
            "notes": list(self.notes),
            "unseen": self.unseen,
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> TableSchema:
        """Return the schema that :meth:`describe` described."""
        return cls(
            tuple(Column.from_description(column) for column in description["columns"]),
            TableContainer.from_description(description["container"]),
            int(description["n_examples"]),
            tuple(description["notes"]),
            description.get("unseen", "unknown"),
        )

    def summary(self) -> list[tuple[str, str]]:
        """Return what was recognised, for people: pairs of a heading and a text."""
        seen = sum(not column.is_left_out for column in self.columns)
        missing = sum(column.missing.share for column in self.columns) / len(self.columns)
        rows = [
            ("data", f"a table of {self.n_examples} rows and {len(self.columns)} columns, {seen} of them learnt"),
            ("came in", "a file of text" if self.container.dialect is not None else self.container.library),
            ("missing", f"{missing:.1%} of the cells" if missing else "nothing"),
        ]
        for column in self.columns:
            codes = "left out" if column.is_left_out else " x ".join(map(str, column.sizes)) + " codes"
            gaps = f", {_percent(column.missing.share)} missing" if column.missing.share else ""
            rows.append((str(column.name) or "''", f"{column.kind}: {column.reason}{gaps}; {codes}"))
        return rows + [("note", note) for note in self.notes]


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"


def _mean(draws: Floats) -> tuple[Floats, Floats]:
    known = ~np.isnan(draws)
    n = known.sum(axis=0)
    total = np.where(known, draws, 0.0).sum(axis=0)
    mean = np.where(2 * n > len(draws), total / np.maximum(n, 1), np.nan)
    squares = np.where(known, (draws - np.where(np.isnan(mean), 0.0, mean)) ** 2, 0.0).sum(axis=0)
    return mean, np.where(np.isnan(mean), np.nan, np.sqrt(squares / np.maximum(n, 1)))


def _level(draws: Floats) -> tuple[Floats, Floats]:
    """Return of each column the value nearest to its mean, and the standard deviation."""
    mean, spread = _mean(draws)
    distance = np.where(np.isnan(draws), np.inf, np.abs(draws - mean))
    nearest = np.take_along_axis(draws, distance.argmin(axis=0)[None], axis=0)[0]
    return np.where(np.isnan(mean), np.nan, nearest), spread


def _median(draws: Floats) -> tuple[Floats, Floats]:
    """Return the lower median of each column and the share of draws that have it; NaN where most draws are NaN."""
    ordered = np.sort(draws, axis=0)  # NaN comes last
    known = (~np.isnan(draws)).sum(axis=0)
    middle = np.take_along_axis(ordered, (np.maximum(known, 1)[None] - 1) // 2, axis=0)[0]
    median = np.where(2 * known > len(draws), middle, np.nan)
    same = (draws == median) | (np.isnan(draws) & np.isnan(median))
    return median, same.mean(axis=0)


def _mode(draws: Floats) -> tuple[Floats, Floats]:
    """Return the most frequent value of each column and its share; the smallest of several, NaN being a value."""
    ordered = np.sort(np.where(np.isnan(draws), np.inf, draws), axis=0)
    best, count, run = ordered[0].copy(), np.ones(draws.shape[1]), np.ones(draws.shape[1])
    for before, value in itertools.pairwise(ordered):
        run = np.where(value == before, run + 1, 1)
        best, count = np.where(run > count, value, best), np.maximum(run, count)
    return np.where(np.isinf(best), np.nan, best), count / len(draws)
