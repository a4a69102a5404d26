"""All that the coder of tables consists of, and the state that it is kept as."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.coders import CoderState
from latentkit.codec.exact import ExactLayer
from latentkit.codec.numbers import NumberReader, written_numbers
from latentkit.codec.rows.columns import Column, NumberFormat
from latentkit.codec.rows.conditional import HIDDEN, LOGITS, N_KIN, ColumnTables, Conditionals
from latentkit.codec.rows.lines import LineFormat
from latentkit.codec.rows.memory import RowMemory
from latentkit.codec.rows.texts import packed, unpacked
from latentkit.codec.sparse import MOST_ENTRIES, packed_arrays, unpacked_arrays
from latentkit.core.errors import DamagedArchiveError

__all__ = ["OFFSET_BITS", "Memories", "RowModel", "model_of_state", "state_of_model"]

Integers = NDArray[np.int64]

#: Bits of a digit of the place of a number in its bin.
OFFSET_BITS: Final = 22
_MOST_COLUMNS: Final = 4096
_MOST_ROWS: Final = 4096
_ROOM: Final = 1 << 21
_MOST_SHIFT: Final = 24
_MOST_TEXT: Final = 1 << 27
#: Settings often look like this.
_USUAL: Final = (
    b'","return":true,[["?","No","Yes","false","true","male","female","NA","nan","NULL"],[],["0","1"],[""]]}'
    b'{"delimiter":",","forms":[["\\"","\\"",0,0],["","",2,2],["","",1,1],["",".0",0,0],["","",0,0],["","",0,0],'
    b'["","",0,0]],"header":"","key":-1,"known":"","return":false,"words":[[],[],["'
)
#: Names of arrays: of rows that are remembered; of one that holds all others, as bytes; and of these others.
_ROWS: Final = "rows"
_PACKED: Final = "packed"
_NAMES: Final = (
    *("gaps", "widths", "bins", "groups", "positions", "biases", "embeddings", "slopes", "offsets", "weights"),
    *("head_biases", "shifts", "direct", "usual", "kin", "kin_embeddings", "found", "keys", "counts"),
    *("order", "bumps", "parents", "boosts", "chance"),
)


@final
@dataclass(frozen=True, eq=False)
class Memories:
    """What a :class:`RowMemory` begins with; see there.

    Attributes:
        keys: Numbers of the key column.
        counts: How often each was seen.
        rows: Symbols of the last rows of each key.
        found: How many rows have been found.
        missed: How many have not.
    """

    keys: Integers
    counts: Integers
    rows: Integers
    found: int
    missed: int

    def recalled(self) -> RowMemory:
        """Return a memory of its own of these rows."""
        return RowMemory(self.keys, self.counts, self.rows, self.found, self.missed)


@final
@dataclass(frozen=True, eq=False)
class RowModel:
    """What the coder of tables consists of.

    Attributes:
        lines: How lines are written.
        columns: Their alphabets.
        conditionals: Their distributions.
        key: The column by which rows are found again; -1 if there is none.
        memories: Rows that are known before the first one.
        known: Bytes that what is written in full often looks like: the header, and some lines.

    Raises:
        DamagedArchiveError: If these do not fit together.
    """

    lines: LineFormat
    columns: Sequence[Column]
    conditionals: Conditionals
    key: int
    memories: Memories
    known: bytes

    def __post_init__(self) -> None:
        n, tables = self.lines.n_columns, self.conditionals.tables
        if not len(self.columns) == len(tables) == n <= _MOST_COLUMNS:
            raise DamagedArchiveError("its model cannot be: columns are missing.")
        if any(column.n_symbols != table.n_symbols for column, table in zip(self.columns, tables, strict=True)):
            raise DamagedArchiveError("its model cannot be: columns have distributions of other symbols.")
        if self.key == -1:
            return
        if not 0 <= self.key < n or self.conditionals.order[0] != self.key or not self.columns[self.key].n_bins:
            raise DamagedArchiveError("its model cannot be: rows are found by a column that is no key.")
        memories = self.memories
        bins, _ = self.columns[self.key].bins(memories.keys)
        most = np.array([column.n_symbols for column in self.columns])
        if (bins == self.columns[self.key].escape).any() or memories.rows.shape[1:] != (N_KIN, n):
            raise DamagedArchiveError("its model cannot be: the rows that it remembers are not of the table.")
        if ((memories.rows < -1) | (memories.rows >= most)).any():
            raise DamagedArchiveError("its model cannot be: the rows that it remembers are not of the table.")
        memories.recalled()

    @cached_property
    def widths(self) -> list[Integers]:
        """How many values each symbol stands for, for each column."""
        return [np.concatenate([column.widths, np.ones(len(column.words) + 1, np.int64)]) for column in self.columns]

    @property
    def n_least_bytes(self) -> int:
        """How many bytes a line has at least."""
        return self.lines.n_columns + self.lines.has_return

    @cached_property
    def most_rows(self) -> int:
        """How many rows are coded at once, at most: as many as have room for the frequencies of a column."""
        widest = max(column.n_symbols for column in self.columns) + 2 * len(self.columns)
        return min(max(_ROOM // widest, 1), _MOST_ROWS)

    def shifts(self, number: int) -> list[int]:
        """Where the digits of places in the bins of a column are, the highest first."""
        widest = int(self.columns[number].widths.max(initial=1))
        n_digits = -(-(widest - 1).bit_length() // OFFSET_BITS)
        return [OFFSET_BITS * digit for digit in reversed(range(n_digits))]

    def new_memory(self) -> RowMemory | None:
        """Return the memory that coding a block begins with; None if there is no key."""
        return self.memories.recalled() if self.key >= 0 else None


def state_of_model(model: RowModel, name: str) -> CoderState:
    """Return the state that a model is kept as, under the name of its coder.

    Settings and arrays are packed as the bytes of one array: the size of the settings, as :func:`written_numbers` gives
    it; the settings, JSON, as :func:`packed` does; the arrays, as :func:`packed_arrays` does. Rows that are remembered
    stand beside it. A model of more numbers than :func:`packed_arrays` takes is kept as it is.
    """
    memories = model.memories
    forms = [column.form for column in model.columns]
    settings: dict[str, Any] = {
        "delimiter": _told(model.lines.delimiter),
        "return": model.lines.has_return,
        "header": None if model.lines.header is None else _told(model.lines.header),
        "forms": [[_told(form.prefix), _told(form.suffix), form.decimals, form.least_decimals] for form in forms],
        "known": _told(model.known),
        "words": [[_told(word) for word in column.words] for column in model.columns],
        "key": model.key,
    }
    numbers = {
        "gaps": np.concatenate([column.starts - _ends(column) for column in model.columns]),
        "widths": np.concatenate([column.widths for column in model.columns]),
        "bins": np.array([column.n_bins for column in model.columns]),
        **model.conditionals.arrays(),
        "keys": np.diff(memories.keys, prepend=0),
        "counts": memories.counts,
        "chance": np.array([memories.found, memories.missed]),
    }
    rows = {_ROWS: memories.rows.transpose(1, 2, 0)} if len(memories.keys) else {}
    if sum(array.size for array in numbers.values()) > MOST_ENTRIES:
        return CoderState(name, settings, {**numbers, **rows})
    text = packed(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode(), _USUAL)
    content = written_numbers(len(text)) + text + packed_arrays(numbers)
    return CoderState(name, {}, {_PACKED: np.frombuffer(content, np.uint8), **rows})


def model_of_state(state: CoderState) -> RowModel:
    """Return the model that is kept as this state.

    Raises:
        DamagedArchiveError: If none is.
    """
    settings, arrays = _unpacked(state)
    n = len(settings["words"])
    parts = _Parts({_ROWS: np.zeros((N_KIN, n, 0), np.int64), **arrays})
    words = [[_bytes(word) for word in column] for column in settings["words"]]
    forms = [NumberFormat(_bytes(form[0]), _bytes(form[1]), int(form[2]), int(form[3])) for form in settings["forms"]]
    n_bins = parts.whole("bins", (n,)).tolist()
    columns = []
    for form, bins, known in zip(forms, n_bins, words, strict=True):
        gaps, widths = parts.take("gaps", bins), parts.take("widths", bins)
        columns.append(Column(form, np.cumsum(gaps + widths) - widths, widths, known))
    n_hidden = parts.whole("found", (N_KIN + 1, -1)).shape[1]
    slopes, offsets = parts.whole("slopes", (n, n_hidden)), parts.whole("offsets", (n, n_hidden))
    direct, kin = parts.whole("direct", (n, n)), parts.whole("kin", (n, 3, N_KIN))
    order, bumps, parents, boosts = (parts.whole(name, (n,)) for name in ("order", "bumps", "parents", "boosts"))
    if parts.largest("shifts") > _MOST_SHIFT:
        raise DamagedArchiveError("its model cannot be: its layers have shifts that there are not.")
    tables = []
    for number, column in enumerate(columns):
        groups = np.cumsum(parts.take("groups", column.n_symbols))
        n_groups = int(groups[-1]) + 1
        n_bump, parent = int(bumps[number]), int(parents[number])
        n_outputs = n_groups + 2 * (n_bump > 0)
        if not -1 <= parent < n:
            raise DamagedArchiveError("its model cannot be: a column has a parent that is none.")
        head = ExactLayer(
            parts.take("weights", n_outputs),
            parts.take("head_biases", n_outputs),
            parts.take("shifts", n_outputs),
            inputs=HIDDEN,
            outputs=LOGITS,
        )
        table = ColumnTables(
            biases=parts.take("biases", column.n_symbols),
            positions=np.cumsum(parts.take("positions", column.n_symbols)),
            groups=groups,
            embeddings=parts.take("embeddings", n_groups),
            slopes=slopes[number],
            offsets=offsets[number],
            head=head,
            n_bump=n_bump,
            direct=direct[number],
            parent=parent,
            usual=parts.take("usual", columns[parent].n_symbols if parent >= 0 else 0),
            boost=int(boosts[number]),
            kin_boosts=kin[number, 0],
            kin_peaks=kin[number, 1],
            kin_sharpness=kin[number, 2],
            kin_embeddings=parts.take("kin_embeddings", n_groups),
        )
        tables.append(table)
    keys = np.cumsum(parts.whole("keys", (-1,)))
    found, missed = parts.whole("chance", (2,)).tolist()
    memories = Memories(
        keys,
        parts.whole("counts", (len(keys),)),
        parts.whole(_ROWS, (N_KIN, n, len(keys))).transpose(2, 0, 1),
        found,
        missed,
    )
    kin_counts = parts.whole("found", (N_KIN + 1, n_hidden))
    parts.check_all_is_taken()
    header = None if settings["header"] is None else _bytes(settings["header"])
    return RowModel(
        lines=LineFormat(n, _bytes(settings["delimiter"]), bool(settings["return"]), header),
        columns=columns,
        conditionals=Conditionals(order.tolist(), tables, kin_counts),
        key=int(settings["key"]),
        memories=memories,
        known=_bytes(settings["known"]),
    )


def _unpacked(state: CoderState) -> tuple[Mapping[str, Any], dict[str, Integers]]:
    """Settings and arrays of a state, by which both may be kept as the bytes of one array."""
    arrays = dict(state.arrays)
    if _PACKED not in arrays:
        return state.settings, arrays
    content = arrays.pop(_PACKED)
    if content.ndim != 1 or content.min(initial=0) < 0 or content.max(initial=0) > 255:
        raise DamagedArchiveError("its model cannot be: its numbers are not packed as bytes.")
    numbers = NumberReader(content.astype(np.uint8).tobytes())
    text, rest = numbers.rest(numbers.next())
    try:
        settings = json.loads(unpacked(text, _USUAL, _MOST_TEXT))
    except (ValueError, RecursionError) as error:
        raise DamagedArchiveError("its model cannot be: its settings cannot be read.") from error
    return settings, {**unpacked_arrays(rest, _NAMES), **arrays}


class _Parts:
    """Hands out the arrays of a state, part by part."""

    def __init__(self, arrays: Any) -> None:
        self._arrays = {name: np.asarray(values, np.int64) for name, values in arrays.items()}
        self._taken = dict.fromkeys(self._arrays, 0)

    def whole(self, name: str, shape: tuple[int, ...]) -> Integers:
        """An array, if it has this shape; -1 stands for any size."""
        values = self._arrays[name]
        is_right = values.ndim == len(shape) and all(
            n in {-1, size} for n, size in zip(shape, values.shape, strict=True)
        )
        if not is_right:
            raise DamagedArchiveError(f"its model cannot be: its {name} are not as many as there have to be.")
        self._taken[name] = len(values)
        return values

    def largest(self, name: str) -> int:
        """The largest magnitude in an array."""
        values = self._arrays[name]
        # not np.abs, which has no room for the lowest number
        return max(int(values.max(initial=0)), -int(values.min(initial=0)))

    def take(self, name: str, n: int) -> Integers:
        """The next n entries of an array."""
        values, first = self._arrays[name], self._taken[name]
        if n < 0 or values.ndim < 1 or first + n > len(values):
            raise DamagedArchiveError(f"its model cannot be: its {name} are not as many as there have to be.")
        self._taken[name] = first + n
        return values[first : first + n]

    def check_all_is_taken(self) -> None:
        for name, values in self._arrays.items():
            if self._taken[name] != len(values):
                raise DamagedArchiveError(f"its model cannot be: its {name} are not as many as there have to be.")


def _ends(column: Column) -> Integers:
    """Where the bin before each ends."""
    ends: Integers = np.concatenate([[0], column.starts + column.widths])[:-1] if column.n_bins else column.starts
    return ends


def _told(text: bytes) -> str:
    return text.decode("latin-1")


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise DamagedArchiveError("its model cannot be: a text of its settings is none.")
    return text.encode("latin-1")
