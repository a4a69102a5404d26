"""Learns a coder of tables from lines of one."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.codec.rows import RowCoder
from latentkit.codec.rows.columns import Column
from latentkit.codec.rows.conditional import N_KIN, ColumnTables, Conditionals
from latentkit.codec.rows.lines import LineFormat, Lines
from latentkit.codec.rows.softmax import PRECISION
from latentkit.codec.rows.states import Memories, RowModel
from latentkit.codec.sparse import MOST_ENTRIES, packed_arrays
from latentkit.core.errors import UnfitDataError
from latentkit.core.parameters import check_choice, check_integer, check_real
from latentkit.core.seeds import generator
from latentkit.tasks.compression.learnt_columns import learn_column, positions_and_groups
from latentkit.tasks.compression.row_network import ColumnShape, RowNetwork

__all__ = ["fit_row_coder"]

Integers = NDArray[np.int64]

_DELIMITERS: Final = (b",", b";", b"\t", b"|")
_MOST_COLUMNS: Final = 512
_MOST_LINES: Final = 200_000  # that are learnt from
_LEAST_LINES: Final = 8
_SAMPLE: Final = 1 << 20  # bytes by which delimiter and end of line are recognised
_SAMPLE_LINES: Final = 2000
_N_HIDDEN: Final = 64
_LEARNING_RATE: Final = 0.01
_BATCH: Final = 512
_N_CHECKS: Final = 6
_PACE_STEPS: Final = 16  # after which it is seen whether there is time for all steps
_LEAST_BUMP: Final = 24  # bins of a column whose numbers have a bump
_LEAST_USUAL: Final = 0.1  # of what the most frequent symbol leaves open
_RISE: Final = 0.5  # of the time, in which the bits of parameters come to count
_RATE_WEIGHTS: Final = {"small": 12.0, "large": 4.0}  # of the bits of parameters, which are more than the formula says
_COARSENESSES: Final = {"small": (1, 2, 4, 8), "large": (1,)}
_LEAST_KEY_BITS: Final = 0.3  # of a row, that finding rows by a column saves
_CHANCE: Final = 64  # rows that what is foretold of the first ones is worth


def fit_row_coder(
    blocks: Sequence[bytes],
    *,
    seed: int = 0,
    size: Literal["small", "large"] = "small",
    n_steps: int = 1200,
    max_seconds: float = 60.0,
) -> RowCoder:
    r"""Return a coder of lines like these.

    The delimiter, the end of a line, and the form, bins and words of each column are recognised; then a network learns
    the distribution of each column given those before it, with the bits of its own parameters as a penalty:

    .. math:: \frac{1}{n} \sum_i -\log_2 p(x_i) + \frac{12}{n} \sum_k \log_2(1 + 16 |w_k|)

    (4 in place of 12 for ``"large"``). A twentieth of the lines is kept apart; the parameters that do best there are
    taken. Those of a small model are rounded as far as a table of so many lines takes fewer bits, the model counted.

    Args:
        blocks: Bytes of lines, with or without a header.
        seed: Of what is drawn. The same seed, lines and machine give the same coder, unless the time runs out.
        size: ``"large"`` keeps lines in the model, where a column has numbers that come again and again and tell about
            the others: fewer bits for a line, many more for the model.
        n_steps: Steps of training.
        max_seconds: After which it ends, done or not.

    Raises:
        UnfitDataError: If these are no lines of a table.
        InvalidParameterError: If an option has a value that it cannot have.

    Example:
        >>> lines = b"".join(b"%d,%s\n" % (n % 7, b"even" if n % 7 % 2 == 0 else b"odd") for n in range(400))
        >>> coder = fit_row_coder([lines], n_steps=50)
        >>> code = coder.encode(lines, 400)
        >>> len(lines), len(code) < 260, coder.decode(code, 400, len(lines)) == lines
        (2629, True, True)
    """
    check_choice("size", size, ("small", "large"))
    n_steps = check_integer("n_steps", n_steps, low=1)
    max_seconds = check_real("max_seconds", max_seconds, low=0.0)
    form, lines = _recognised(b"".join(blocks))
    columns = [learn_column(cells) for cells in lines.columns]
    told = [column.symbols(cells) for column, cells in zip(columns, lines.columns, strict=True)]
    symbols, offsets = np.stack([s for s, _ in told], 1), np.stack([o for _, o in told], 1)
    key = _key(columns, symbols, offsets)
    order = [*([key] if key >= 0 else []), *(number for number in range(len(columns)) if number != key)]
    numbers = columns[key].numbers(symbols[:, key], offsets[:, key]) if key >= 0 else np.arange(len(symbols))
    is_key = symbols[:, key] < columns[key].n_bins if key >= 0 else np.zeros(len(symbols), bool)
    places = _kin(np.where(is_key, numbers, -1 - np.arange(len(symbols))), is_key, seed)
    kin = np.where(places[:, :, None] >= 0, symbols[places], -1)
    shapes = _shapes(columns, symbols, order, symbols[places[:, 0] < 0, key] if key >= 0 else None)
    network = RowNetwork(order, shapes, n_hidden=_N_HIDDEN, seed=seed)
    rate = _RATE_WEIGHTS[size]
    kept = _train(network, symbols, kin, rate=rate, seed=seed, n_steps=n_steps, max_seconds=max_seconds)
    exact = [network.exact(coarseness) for coarseness in _COARSENESSES[size]]
    conditionals = _fewest_bits(exact, symbols[kept], kin[kept], len(symbols) - len(kept))
    remembered = is_key if size == "large" else np.zeros(len(symbols), bool)
    memories = _memories(numbers, remembered, symbols, conditionals.tables)
    found = _CHANCE * int((places[:, 0] >= 0).sum()) // len(symbols) if size == "large" else 0
    memories = Memories(memories.keys, memories.counts, memories.rows, found, _CHANCE - found)
    known = form.join(Lines([cells[:1] for cells in lines.columns], {}, form.header or b""))
    return RowCoder(RowModel(form, columns, conditionals, key, memories, known))


def _recognised(text: bytes) -> tuple[LineFormat, Lines]:
    """How lines are written: that by which most have as many cells as the others, and more than one."""
    sample = [line for line in text[:_SAMPLE].split(b"\n")[:_SAMPLE_LINES] if line.strip()]
    has_return = sum(line.endswith(b"\r") for line in sample) * 2 > len(sample)
    best = (0, 1, b",")
    for delimiter in _DELIMITERS:
        n_cells = Counter(_n_cells(line, delimiter) for line in sample)
        n, count = max(n_cells.items(), key=lambda pair: (pair[1], pair[0]), default=(1, 0))
        if 1 < n <= _MOST_COLUMNS and count * (n > 1) > best[0]:
            best = (count, n, delimiter)
    form = LineFormat(best[1], best[2], has_return)
    if text.count(b"\n") > _MOST_LINES:
        # spread over all of them
        every = text.split(b"\n")
        text = b"\n".join([*every[:: math.ceil(len(every) / _MOST_LINES)], b""])
    lines = form.split(text)
    # the header is no row, though it has as many cells
    if lines.n_even > _LEAST_LINES and _is_header(lines):
        header = form.join(Lines([cells[:1] for cells in lines.columns], {}, b"")).removesuffix(b"\n")
        form = replace(form, header=header)
        lines = form.split(text)
    if lines.n_even < _LEAST_LINES:
        raise UnfitDataError(
            f"these are no lines of a table: {lines.n_even} of {lines.n_lines} have equally many cells."
        )
    return form, lines


def _is_header(lines: Lines) -> bool:
    """Whether the first line has cells that come nowhere else."""
    return sum(cells[0] not in cells[1:] for cells in lines.columns) * 2 > len(lines.columns)


def _n_cells(line: bytes, delimiter: bytes) -> int:
    outside = line.split(b'"')[::2]
    return sum(part.count(delimiter) for part in outside) + 1


def _key(columns: Sequence[Column], symbols: Integers, offsets: Integers) -> int:
    """The column by which it pays most to find rows again; -1 if it does not pay."""
    best, found = _LEAST_KEY_BITS, -1
    n = len(symbols)
    for number, column in enumerate(columns):
        if not column.n_bins:
            continue
        these = symbols[:, number]
        widths = np.concatenate([column.widths, np.ones(len(column.words) + 1, np.int64)])[these]
        keys, which, counts = np.unique(
            column.numbers(these, offsets[:, number]), return_inverse=True, return_counts=True
        )
        others = counts[which] - 1
        again = (others > 0) & (these < column.n_bins)
        share = again.mean()
        if not 0.0 < share < 1.0 or len(keys) * 8 < n:
            continue
        seen = np.bincount(these, minlength=column.n_symbols)
        plain = np.log2(n / seen[these]) + np.log2(widths)
        flags = -share * math.log2(share) - (1.0 - share) * math.log2(1.0 - share)
        saved = float((plain - np.log2(n / np.maximum(others, 1)))[again].sum()) / n - flags
        if saved > best:
            best, found = saved, number
    return found


def _kin(keys: Integers, is_key: NDArray[np.bool_], seed: int) -> Integers:
    """For each row, others with the same key, drawn; -1 where there are none, shape (n, kin)."""
    n = len(keys)
    order = np.random.default_rng(seed).permutation(n)
    order = order[np.argsort(keys[order], kind="stable")]
    in_order = keys[order]
    first = np.searchsorted(in_order, in_order, "left")
    counts = np.searchsorted(in_order, in_order, "right") - first
    kin = np.full((n, N_KIN), -1, np.int64)
    for place in range(N_KIN):
        other = order[first + (np.arange(n) - first + 1 + place) % counts]
        kin[order, place] = np.where((counts > place + 1) & is_key[order], other, -1)
    return kin


def _shapes(
    columns: Sequence[Column], symbols: Integers, order: Sequence[int], missed: Integers | None
) -> list[ColumnShape]:
    shapes: dict[int, ColumnShape] = {}
    for place, number in enumerate(order):
        column = columns[number]
        counts = np.bincount(symbols[:, number], minlength=column.n_symbols)
        positions, groups = positions_and_groups(column, counts)
        if place == 0 and missed is not None:
            counts = np.bincount(missed, minlength=column.n_symbols)
        # the key suggests nothing: there are too many of it
        parent, usual = _parent(columns, symbols, number, order[int(missed is not None) : place])
        if column.n_bins < _LEAST_BUMP:
            # each number has a vector of its own, and needs no position besides
            positions = np.zeros_like(positions)
        n_bump = column.n_bins if column.n_bins >= _LEAST_BUMP and place else 0
        shapes[number] = ColumnShape(counts, positions, groups, n_bump, parent, usual)
    return [shapes[number] for number in range(len(columns))]


def _parent(columns: Sequence[Column], symbols: Integers, number: int, earlier: Sequence[int]) -> tuple[int, Integers]:
    """The earlier column that is right about this one most often, and what each of its symbols suggests."""
    these, n = symbols[:, number], len(symbols)
    n_symbols = columns[number].n_symbols
    base = np.bincount(these).max() / n
    best, parent, usual = _LEAST_USUAL * (1.0 - base), -1, np.zeros(0, np.int64)
    for other in earlier:
        n_others = columns[other].n_symbols
        both = np.bincount(symbols[:, other] * n_symbols + these, minlength=n_others * n_symbols)
        table = both.reshape(n_others, n_symbols)
        right = (int(table.max(1).sum()) - np.count_nonzero(table.sum(1))) / n
        if right - base > best:
            best, parent, usual = right - base, other, table.argmax(1)
    return parent, usual


def _train(
    network: RowNetwork, symbols: Integers, kin: Integers, *, rate: float, seed: int, n_steps: int, max_seconds: float
) -> Integers:
    """Learn, and leave the parameters with which the rows that are kept apart take the fewest bits; these rows."""
    random = generator(seed, "rows")
    order = torch.randperm(len(symbols), generator=random)
    x, y = torch.from_numpy(symbols), torch.from_numpy(kin)
    n_kept = min(max(len(x) // 20, 1), 2000)
    kept, used = order[:n_kept], order[n_kept:]
    batch = min(_BATCH, max(64, len(used) // 32), len(used))
    whole = rate / len(used)
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE, betas=(0.9, 0.99))
    best, parameters = math.inf, copy.deepcopy(network.state_dict())
    started, places = time.monotonic(), torch.zeros(0, dtype=torch.int64)
    done, pace, next_check = 0.0, 1.0 / n_steps, _RISE
    for step in itertools.count(1):
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * max(1.0 - done, 0.01)
        # what would not be learnt from nothing is learnt first, and then has to be worth its bits
        share = whole * min(done / _RISE, 1.0)
        if len(places) < batch:
            places = used[torch.randperm(len(used), generator=random)]
        these, places = places[:batch], places[batch:]
        bits = network(x[these], y[these]).sum(1).mean() / math.log(2) + share * network.rate()
        optimizer.zero_grad()
        bits.backward()
        optimizer.step()
        done += pace
        if step % _PACE_STEPS == 0:
            left, a_step = max_seconds - (time.monotonic() - started), (time.monotonic() - started) / step
            # the schedule is run through in fewer steps where there is no time for all of them
            pace = max(pace, (1.0 - done) * a_step / left) if left > 0.0 else 1.0
        if done >= next_check - 1e-9:
            next_check += (1.0 - _RISE) / _N_CHECKS
            found = _bits(network, x[kept], y[kept]) + whole * network.rate().item()
            if found < best:
                best, parameters = found, copy.deepcopy(network.state_dict())
        if done >= 1.0 - 1e-9:
            break
    network.load_state_dict(parameters)
    return kept.numpy()


def _fewest_bits(candidates: Sequence[Conditionals], symbols: Integers, kin: Integers, n_learnt: int) -> Conditionals:
    """Those with which a table of as many rows as were learnt from takes least, the model counted."""

    def cost(conditionals: Conditionals) -> float:
        context, bits = conditionals.context(kin), 8.0 * len(packed_arrays(conditionals.arrays())) / n_learnt
        for number in conditionals.order:
            frequencies = np.diff(conditionals.frequencies(context, number))
            taken = frequencies[np.arange(len(symbols)), symbols[:, number]]
            bits += float(np.mean(PRECISION - np.log2(taken)))
            conditionals.tell(context, number, symbols[:, number])
        return bits

    n_numbers = sum(array.size for array in candidates[0].arrays().values())
    return min(candidates, key=cost) if len(candidates) > 1 and n_numbers <= MOST_ENTRIES else candidates[0]


def _bits(network: RowNetwork, symbols: Tensor, kin: Tensor) -> float:
    with torch.no_grad():
        parts = [
            network(symbols[first : first + 1024], kin[first : first + 1024]).sum()
            for first in range(0, len(symbols), 1024)
        ]
    return float(torch.stack(parts).sum()) / len(symbols) / math.log(2)


def _memories(keys: Integers, is_key: NDArray[np.bool_], symbols: Integers, tables: Sequence[ColumnTables]) -> Memories:
    """The rows that are remembered: of each key the last two, as far as they tell anything."""
    places = np.flatnonzero(is_key)
    kept, which, counts = np.unique(keys[places], return_inverse=True, return_counts=True)
    rows = np.full((len(kept), N_KIN, symbols.shape[1]), -1, np.int64)
    ends = np.cumsum(counts)
    in_order = places[np.argsort(which, kind="stable")]
    tells = np.array(
        [bool(table.kin_boosts.any() or table.kin_peaks.any() or table.kin_embeddings.any()) for table in tables]
    )
    for place in range(N_KIN):
        has = counts > place
        told = symbols[in_order[ends[has] - 1 - place]]
        # of columns that it does not matter for, the first symbol, which takes no room
        rows[has, place] = np.where(tells, told, 0)
    return Memories(kept, counts, rows, 0, 0)
