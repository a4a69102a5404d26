"""The distribution of each column of a table given those before it, in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.codec.exact import ExactLayer, ExactNetwork, Span, exact_arithmetic
from latentkit.codec.rows.softmax import bump, cumulated_frequencies, peak
from latentkit.core.errors import DamagedArchiveError

__all__ = ["HIDDEN", "HIDDEN_STEP", "LOGITS", "N_KIN", "ColumnTables", "Conditionals", "RowContext"]

Integers = NDArray[np.int64]

#: Where hidden units lie, and what one of their steps is worth.
HIDDEN: Final = Span(0, 255)
HIDDEN_STEP: Final = 1 / 32
#: Where logits lie.
LOGITS: Final = Span(-(1 << 13), (1 << 13) - 1)
#: Rows of the same key that a row is told of.
N_KIN: Final = 2

_MOST_POSITION: Final = 1 << 12
_MOST_ENTRY: Final = 1 << 15
_MOST_HIDDEN: Final = 512
_MOST_ENTRIES: Final = 1 << 24  # of the vectors of all symbols


@final
@dataclass(frozen=True, eq=False)
class ColumnTables:
    """What the distribution of a column is computed of, and what the column tells the next ones.

    Attributes:
        biases: Logits of the symbols by themselves, in 1/8 nat, shape (symbols,).
        positions: Where the numbers of the symbols lie, in 1/512 of a standard deviation, shape (symbols,).
        groups: Number of the group of each symbol, shape (symbols,).
        embeddings: What each group adds to the hidden units, shape (groups, hidden).
        slopes: What a position of 1/512 adds to them, in 1/512, shape (hidden,).
        offsets: What they have for this column, shape (hidden,).
        head: Takes hidden units, gives a logit for each group, and, if there is a bump, its centre and sharpness.
        n_bump: How many symbols, from the first on, lie under the bump; 0 if there is none.
        direct: What the position of each column adds to the centre, in 1/256, shape (columns,).
        parent: Column that suggests a symbol; -1 if none does.
        usual: The symbol that each symbol of the parent suggests.
        boost: Logit of a suggested symbol.
        kin_boosts: Logit of the group that each row of kin has.
        kin_peaks: Logit of the position that each has, and, the less, of those around it.
        kin_sharpness: Logarithm of the sharpness of that, in 1/32.
        kin_embeddings: What each group adds to the hidden units where the first row of kin has it, shape of
            `embeddings`.
    """

    biases: Integers
    positions: Integers
    groups: Integers
    embeddings: Integers
    slopes: Integers
    offsets: Integers
    head: ExactLayer
    n_bump: int
    direct: Integers
    parent: int
    usual: Integers
    boost: int
    kin_boosts: Integers
    kin_peaks: Integers
    kin_sharpness: Integers
    kin_embeddings: Integers

    @property
    def n_symbols(self) -> int:
        """How many symbols the column has."""
        return len(self.biases)


@final
@dataclass(eq=False)
class RowContext:
    """What is known of rows, as column after column becomes known.

    Attributes:
        hidden: What the columns have added to the hidden units, shape (n, hidden).
        positions: Of the columns that are known, shape (n, columns); 0 for others.
        symbols: Of the columns that are known, shape (n, columns).
        kin: Symbols of rows with the same key, -1 where there is none, shape (n, kin, columns).
    """

    hidden: NDArray[np.int32]
    positions: Integers
    symbols: Integers
    kin: Integers


@final
class Conditionals:
    r"""Distributions of the columns of a row, one after the other.

    .. math:: a_j = e^{(k)} + \sum_i K_i[s'_i] + \sum_{i < j} (E_i[s_i] + x_i w_i), \qquad
              h_j = \min(\max(a_j + c_j, 0), 255), \qquad
              l_j(s) = b_j(s) + (U_j h_j)[g_j(s)] + \text{suggestions}

    In words: what is known of a row is a sum of vectors, one for each symbol, to which the position of a number adds
    its own; the last row s' with the same key adds one for each of its symbols. One layer makes logits of it, for
    groups of neighbouring symbols. Numbers have a bump besides, the centre and sharpness of which are outputs of the
    layer; the centre depends on the positions of other numbers directly, too. Suggestions are the symbol that is usual
    beside one of an earlier column, and what rows with the same key have.

    Args:
        order: The columns, as they are coded.
        tables: Of the columns, by number.
        kin: What it adds to the hidden units that so many rows have the same key, shape (kin + 1, hidden).

    Raises:
        DamagedArchiveError: If these do not fit together.
    """

    def __init__(self, order: Sequence[int], tables: Sequence[ColumnTables], kin: Integers) -> None:
        self.order, self.tables, self.kin = tuple(order), tuple(tables), kin
        if sorted(self.order) != list(range(len(self.tables))) or not self.tables:
            raise DamagedArchiveError("columns are missing from their order.")
        self.n_hidden = int(kin.shape[1])
        if not 1 <= self.n_hidden <= _MOST_HIDDEN or len(kin) != N_KIN + 1 or _largest(kin) > _MOST_ENTRY:
            raise DamagedArchiveError("hidden units are not what they can be.")
        for number in self.order:
            self._check(number)
        if sum(table.n_symbols for table in self.tables) * self.n_hidden > _MOST_ENTRIES:
            raise DamagedArchiveError("its model cannot be: it has more symbols and hidden units than there may be.")
        self._networks = [ExactNetwork([table.head]) for table in self.tables]
        self._vectors = [
            (table.embeddings[table.groups] + (table.positions[:, None] * table.slopes >> 9)).astype(np.int32)
            for table in self.tables
        ]

    def verify(self) -> None:
        """Check that this machine computes the layers exactly.

        Raises:
            UnsupportedOperationError: If it does not.
        """
        for network in self._networks:
            network.verify()

    def arrays(self) -> dict[str, Integers]:
        """Return the whole numbers of all columns by their names; of those that ascend, the differences."""
        tables = self.tables
        layers = [table.head.integers for table in tables]
        return {
            "groups": np.concatenate([np.diff(table.groups, prepend=0) for table in tables]),
            "positions": np.concatenate([np.diff(table.positions, prepend=0) for table in tables]),
            "biases": np.concatenate([table.biases for table in tables]),
            "embeddings": np.concatenate([table.embeddings for table in tables]),
            "slopes": np.stack([table.slopes for table in tables]),
            "offsets": np.stack([table.offsets for table in tables]),
            "weights": np.concatenate([weight for weight, _, _ in layers]),
            "head_biases": np.concatenate([bias for _, bias, _ in layers]),
            "shifts": np.concatenate([shifts for _, _, shifts in layers]),
            "direct": np.stack([table.direct for table in tables]),
            "usual": np.concatenate([table.usual for table in tables]),
            "kin": np.stack([[table.kin_boosts, table.kin_peaks, table.kin_sharpness] for table in tables]),
            "kin_embeddings": np.concatenate([table.kin_embeddings for table in tables]),
            "found": self.kin,
            "order": np.array(self.order),
            "bumps": np.array([table.n_bump for table in tables]),
            "parents": np.array([table.parent for table in tables]),
            "boosts": np.array([table.boost for table in tables]),
        }

    def context(self, kin: Integers) -> RowContext:
        """Return what is known of rows before any column is.

        Args:
            kin: Symbols of rows with the same key, -1 where there is none, shape (n, kin, columns).
        """
        n, n_columns = len(kin), len(self.tables)
        n_kin = (kin[:, :, self.order[0]] >= 0).sum(1)
        hidden, found = self.kin[n_kin].astype(np.int32), np.flatnonzero(n_kin)
        for number, table in enumerate(self.tables):
            if len(found) and table.kin_embeddings.any():
                hidden[found] += table.kin_embeddings[table.groups[kin[found, 0, number]]].astype(np.int32)
        nothing = np.zeros((n, n_columns), np.int64)
        return RowContext(hidden, nothing, nothing.copy(), kin)

    def tell(self, context: RowContext, number: int, symbols: Integers) -> None:
        """Add the symbols of a column to what is known of rows."""
        context.hidden += self._vectors[number][symbols]
        context.positions[:, number] = self.tables[number].positions[symbols]
        context.symbols[:, number] = symbols

    def frequencies(self, context: RowContext, number: int) -> Integers:
        """Return the cumulated frequencies of a column's symbols for each row, shape (n, symbols + 1)."""
        table = self.tables[number]
        hidden = np.clip(context.hidden + table.offsets.astype(np.int32), HIDDEN.low, HIDDEN.high)
        with exact_arithmetic():
            given = self._networks[number](torch.from_numpy(hidden.astype(np.float32))).numpy().astype(np.int64)
        n_groups = len(table.embeddings)
        grouped = given[:, :n_groups]
        rows = np.arange(len(hidden))
        has = [context.kin[:, place, number] >= 0 for place in range(N_KIN)]
        for place, is_there in enumerate(has):
            if table.kin_boosts[place] and is_there.any():
                there = rows[is_there]
                grouped[there, table.groups[context.kin[there, place, number]]] += table.kin_boosts[place]
        logits = grouped[:, table.groups] + (table.biases << 2)
        if table.n_bump:
            logits[:, : table.n_bump] += self._bumps(table, context, number, given[:, n_groups:])
        if table.parent >= 0:
            logits[rows, table.usual[context.symbols[:, table.parent]]] += table.boost
        return cumulated_frequencies(logits)

    def _bumps(self, table: ColumnTables, context: RowContext, number: int, given: Integers) -> Integers:
        positions = table.positions[: table.n_bump]
        centres = given[:, 0] + (context.positions @ table.direct >> 8)
        found = bump(positions, centres, given[:, 1])
        for place in range(N_KIN):
            there = np.flatnonzero(context.kin[:, place, number] >= 0)
            if table.kin_peaks[place] and len(there):
                around = table.positions[context.kin[there, place, number]]
                found[there] += table.kin_peaks[place] * peak(positions, around, table.kin_sharpness[place]) >> 10
        lowered: Integers = found - found.max(1, keepdims=True)
        return lowered

    def _check(self, number: int) -> None:
        table, n_columns = self.tables[number], len(self.tables)
        n, n_groups, head = table.n_symbols, len(table.embeddings), table.head
        earlier = self.order[: self.order.index(number)]
        wrong = {
            "symbols have no group": table.groups.shape != (n,) or not _within(table.groups, 0, n_groups - 1),
            "symbols have no position": table.positions.shape != (n,) or _largest(table.positions) > _MOST_POSITION,
            "symbols have no logits": _largest(table.biases) > _MOST_ENTRY,
            "entries are too large": max(
                map(_largest, (table.embeddings, table.slopes, table.offsets, table.kin_embeddings))
            )
            > _MOST_ENTRY,
            "hidden units are missing": {table.embeddings.shape[1:], table.slopes.shape, table.offsets.shape}
            != {(self.n_hidden,)}
            or table.kin_embeddings.shape != table.embeddings.shape,
            "the layer does not fit": head.integers[0].shape != (n_groups + 2 * (table.n_bump > 0), self.n_hidden)
            or head.inputs != HIDDEN
            or head.outputs != LOGITS
            or head.codes is not None,
            "the bump is not of its symbols": not 0 <= table.n_bump < n,
            "direct weights do not fit": table.direct.shape != (n_columns,) or _largest(table.direct) > _MOST_ENTRY,
            "the boost is too large": max(abs(table.boost), _largest(table.kin_boosts)) > _MOST_ENTRY
            or _largest(table.kin_peaks) > _MOST_ENTRY,
            "kin do not fit": {table.kin_boosts.shape, table.kin_peaks.shape, table.kin_sharpness.shape} != {(N_KIN,)},
            "the parent does not come first": table.parent != -1 and table.parent not in earlier,
        }
        for message, is_wrong in wrong.items():
            if is_wrong:
                raise DamagedArchiveError(f"its model cannot be: of column {number + 1}, {message}.")
        if table.parent >= 0 and (
            len(table.usual) != self.tables[table.parent].n_symbols or not _within(table.usual, 0, n - 1)
        ):
            raise DamagedArchiveError(f"its model cannot be: column {number + 1} has suggestions that cannot be.")


def _largest(values: Integers) -> int:
    # not np.abs, which has no room for the lowest number
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))


def _within(values: Integers, low: int, high: int) -> bool:
    return not values.size or (low <= int(values.min()) and int(values.max()) <= high)
