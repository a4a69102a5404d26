"""What the columns of a table are, as its lines tell: numbers and how they are written, words, and what is rare."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from latentkit.codec.rows.columns import MOST_DIGITS, Column, NumberFormat

__all__ = ["learn_column", "positions_and_groups"]

Integers = NDArray[np.int64]

_USUAL: Final = 0.99  # share of the numbers that are written in the form of the column
_LEAST_SHARE: Final = 0.5  # of numbers among the cells of a column of numbers
_MOST_BINS: Final = 240
_MOST_WORDS: Final = 400
_LEAST_COUNT: Final = 3  # cells of a word
_ATOM_BITS: Final = 60.0  # that a number has to save to be a symbol
_MOST_GROUPS: Final = 32
_POSITION: Final = 512  # of a number that lies one standard deviation from the median


def learn_column(cells: Sequence[bytes]) -> Column:
    """Return the alphabet of a column.

    Args:
        cells: Of lines like those that are to be coded.
    """
    counts = Counter(cells)
    form = _form(counts)
    numbers: dict[int, int] = {}
    if form is not None:
        for text, count in counts.items():
            value = form.value(text)
            if value is not None:
                numbers[value] = count
    if len(numbers) < 2 or sum(numbers.values()) < _LEAST_SHARE * len(cells):
        form, numbers = None, {}
    others = [(text, n) for text, n in counts.items() if form is None or form.value(text) is None]
    words = sorted(text for text, n in sorted(others, key=lambda pair: -pair[1])[:_MOST_WORDS] if n >= _LEAST_COUNT)
    if form is None:
        return Column(NumberFormat(), np.zeros(0, np.int64), np.zeros(0, np.int64), words)
    values = np.array(sorted(numbers), np.int64)
    starts, widths = _bins(values, np.array([numbers[value] for value in values.tolist()]))
    return Column(form, starts, widths, words)


def positions_and_groups(column: Column, counts: Integers) -> tuple[Integers, Integers]:
    r"""Return where the symbols of a column lie, and groups of neighbours.

    A bin's position is that of its middle among the numbers, in standard deviations of a Gaussian that has its rank,

    .. math:: 512 \, \Phi^{-1}\left(\frac{n_{<s} + n_s / 2}{n}\right);

    a group has about as many numbers as the others, or one symbol. Each word is a group of its own.

    Args:
        column: The column.
        counts: How often each symbol was seen.

    Returns:
        Positions, 0 for words, and numbers of groups, in ascending order.
    """
    n_bins = column.n_bins
    positions = np.zeros(column.n_symbols, np.int64)
    groups = np.arange(column.n_symbols) - n_bins
    if n_bins:
        seen = counts[:n_bins] + 0.1
        ranks = (np.cumsum(seen) - seen / 2) / seen.sum()
        positions[:n_bins] = np.round(_POSITION * ndtri(ranks)).astype(np.int64)
        if n_bins <= _MOST_GROUPS:
            groups[:n_bins] = np.arange(n_bins)
        else:
            # rare numbers are set apart, too: they tell more about other columns than frequent ones
            shares = np.cumsum(np.sqrt(seen)) / np.sqrt(seen).sum()
            groups[:n_bins] = np.unique((shares * (_MOST_GROUPS - 1e-6)).astype(np.int64), return_inverse=True)[1]
        groups[n_bins:] += groups[n_bins - 1] + 1
    return positions, groups


def _form(counts: Counter[bytes]) -> NumberFormat | None:
    """How the numbers of a column are written, if there are any."""
    told = [(text, n) for text, n in counts.items() if any(48 <= code <= 57 for code in text)]
    total = sum(n for _, n in told)
    if len(told) < 2:
        return None
    reference = max(told, key=lambda pair: pair[1])[0]
    n_before = next((at for at, code in enumerate(reference) if 48 <= code <= 57 or code == 45), 0)
    n_behind = next((at for at, code in enumerate(reversed(reference)) if 48 <= code <= 57), 0)
    prefix = reference[:n_before]
    suffix = reference[len(reference) - n_behind :]
    bodies = [
        (text[n_before : len(text) - n_behind], n)
        for text, n in told
        if text.startswith(prefix) and text.endswith(suffix) and len(text) > n_before + n_behind
    ]
    whole = sum(n for body, n in bodies if body.endswith(b".0"))
    if whole >= _USUAL * total:
        # a decimal that is always 0 is no decimal
        bodies = [(body[:-2], n) for body, n in bodies if body.endswith(b".0")]
        suffix = b".0" + suffix
    lengths = Counter[int]()
    for body, n in bodies:
        lengths[len(body.partition(b".")[2])] += n
    known = [length for length in sorted(lengths) if length < MOST_DIGITS - 1]
    if not known:
        return None
    seen, decimals = 0, known[-1]
    for length in known:
        seen += lengths[length]
        if seen >= _USUAL * total:
            decimals = length
            break
    forms = [NumberFormat(prefix, suffix, decimals, least) for least in {known[0], min(1, decimals), decimals}]
    return max(
        forms, key=lambda form: (sum(n for text, n in told if form.value(text) is not None), form.least_decimals)
    )


def _bins(values: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """Return bins, starts and widths, for numbers in ascending order that have been seen so often."""
    n = int(counts.sum())
    # what a number saves that is not one of those around it
    reach = max(1, len(values) // 32)
    places = np.arange(len(values))
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach, len(values) - 1)
    cumulated = np.concatenate([[0], np.cumsum(counts)])
    around = (cumulated[high + 1] - cumulated[low] - counts + 1) / (values[high] - values[low] + 1)
    gains = counts * np.log2(np.maximum(counts / np.minimum(around, counts), 1.0))
    limit = max(_ATOM_BITS, float(np.sort(gains)[-_MOST_BINS // 2]) if len(gains) > _MOST_BINS // 2 else 0.0)
    is_atom = (gains >= limit) | (len(values) <= 16)
    target = max(n / 128, 40.0)
    starts, ends, seen = list[int](), list[int](), list[float]()
    for value, count, is_alone in zip(values.tolist(), counts.tolist(), is_atom.tolist(), strict=True):
        if not is_alone and starts and seen[-1] + count / 2 < target:
            seen[-1] += count
            ends[-1] = value + 1
        else:
            starts.append(value)
            ends.append(value + 1)
            # nothing is added to a number of its own
            seen.append(math.inf if is_alone else count)
    reach_out = int(values[-1] - values[0]) + 1
    starts, ends = [starts[0] - reach_out, *starts, ends[-1]], [starts[0], *ends, ends[-1] + reach_out]
    return _closed(np.array(starts), np.array(ends), np.array([math.inf, *seen, math.inf]))


def _closed(starts: Integers, ends: Integers, seen: NDArray[np.floating]) -> tuple[Integers, Integers]:
    """Starts and widths of bins that take the gaps between them, where these are no wider than gaps are there."""
    widths = ends - starts
    usual = np.where(widths > 1, np.maximum(4 * widths / seen, widths / 8), 0.0)
    gaps = starts[1:] - ends[:-1]
    takes_after = gaps <= usual[:-1]
    takes_before = ~takes_after & (gaps <= usual[1:])
    ends[:-1] = np.where(takes_after, starts[1:], ends[:-1])
    starts[1:] = np.where(takes_before, ends[:-1], starts[1:])
    return starts, ends - starts
