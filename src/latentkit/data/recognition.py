"""Learning a schema: which kind of data these are, how they lie in their array, what numbers they hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, overload

import numpy as np
import torch

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.parameters import check_choice
from latentkit.data.containers import is_frame, learn_container, to_array, to_table
from latentkit.data.dataset import TABLES, AnyArray, Dataset
from latentkit.data.layout import ChannelOrder, Layout, Size, learn_layout
from latentkit.data.schema import ArraySchema, Fit
from latentkit.data.sources import read
from latentkit.data.table import ColumnKind, TableSchema, TextTable, Unseen, learn_table_schema
from latentkit.data.tables import is_plain
from latentkit.data.validation import check_finite, chunks, from_source, place, show
from latentkit.data.values import TOLERANCE, LevelValues, RangeValues, StandardizedValues, Values

__all__ = ["learn_schema"]

#: Integers below this, all of them, are levels of their own (digits: 0..16); above, they are taken as bytes, since a
#: brighter picture than those seen may come.
_FEW_LEVELS = 64
#: Rows of at least this many numbers, a square number of them, may be pictures that were flattened.
_FLATTENED = 49
#: Ends of the ranges of cameras and scanners: 10, 12, 14 and 16 bits.
_SENSOR_RANGES = (1023, 4095, 16383, 65535)


@overload
def learn_schema(
    data: Any,
    *,
    kind: Literal["auto", "rows", "images"] = "auto",
    size: Size | None = None,
    color: Literal["auto", "grey", "rgb"] = "auto",
    fit: Fit = "crop",
    channels: ChannelOrder = "auto",
    values: Literal["auto", "binary", "byte", "unit", "real"] = "auto",
) -> ArraySchema: ...


@overload
def learn_schema(
    data: Any,
    *,
    kind: Literal["table"],
    kinds: Mapping[Any, ColumnKind | Sequence[str]] | None = None,
    na_values: Any = None,
    unseen: Unseen = "unknown",
) -> TableSchema: ...


def learn_schema(
    data: Any,
    *,
    kind: Literal["auto", "rows", "images", "table"] = "auto",
    size: Size | None = None,
    color: Literal["auto", "grey", "rgb"] = "auto",
    fit: Fit = "crop",
    channels: ChannelOrder = "auto",
    values: Literal["auto", "binary", "byte", "unit", "real"] = "auto",
    kinds: Mapping[Any, ColumnKind | Sequence[str]] | None = None,
    na_values: Any = None,
    unseen: Unseen = "unknown",
) -> ArraySchema | TableSchema:
    """Learn how these data become tensors and come back.

    Values are recognised so: bools, and data of 0 and 1 (bytes also 0 and 255) only, are ``"binary"``; uint8, and
    integers 0..255 in images, are ``"byte"``, or ``"unit"`` with a level for each integer where all are below 64;
    floats in images within [0, 1] or [-1, 1] are ``"byte"`` where all are multiples of 1/255 and ``"unit"`` otherwise.
    The same holds for rows that look like flattened pictures (a square number, 49 or more, of columns). All else is
    ``"real"`` and standardised per column or channel.

    Args:
        data: Array, tensor, data frame of numbers, :class:`Dataset`, or a path that :func:`read` understands.
        kind: ``"rows"``, ``"images"``, or by the number of dimensions; ``"table"`` for a table of mixed kinds, which is
            learnt by :func:`~latentkit.data.learn_table_schema`; texts by
            :func:`~latentkit.data.learn_text_schema`.
        size: For rows that are pixels: their height and width. For a path: as in :func:`read`.
        color: For rows that are pixels, and for a path: ``"grey"`` or ``"rgb"``.
        fit: How images are brought to size when a folder is read.
        channels: Where images have their channels, ``"last"`` or ``"first"``; see :func:`learn_layout` for the rule.
        values: What numbers they are, where the rule above is not wanted.
        kinds: For tables of mixed kinds: the kinds of columns, by name.
        na_values: For tables of mixed kinds: what else stands for a missing value.
        unseen: For tables of mixed kinds: what becomes of a category that is not there.
    Returns:
        The schema.
    Raises:
        DataError: If there is text, NaN or infinity, fewer than two examples, or values that do not fit `values`.
        InvalidParameterError: If an option does not fit the data.

    Example:
        >>> learn_schema(np.array([[[0, 255], [17, 3]], [[1, 2], [3, 4]]], dtype=np.uint8)).values
        'byte'
    """
    check_choice("values", values, ["auto", "binary", "byte", "unit", "real"])
    check_choice("fit", fit, ["crop", "stretch", "pad"])
    if kind == "table" or (kind == "auto" and _is_mixed(data)):
        return learn_table_schema(data, kinds=kinds, na_values=na_values, unseen=unseen)
    if kinds or na_values is not None or unseen != "unknown":
        raise InvalidParameterError(
            "kinds, na_values and unseen describe tables of mixed kinds; say kind='table' with them"
        )
    if isinstance(data, str | Path):
        data = read(data, size=size, color=color, fit=fit)
    source = data.source if isinstance(data, Dataset) else ""
    data = data.data if isinstance(data, Dataset) else data
    container = learn_container(data)
    array = to_array(data, source=source)
    layout = learn_layout(
        array.shape,
        kind=kind,
        size=size,
        color=color,
        channels=channels,
        prefer_first=isinstance(data, torch.Tensor),
    )
    if len(array) < 2:
        raise DataError(
            f"{from_source(source)}at least 2 examples are needed to learn from, and a few hundred to learn anything "
            "useful; got 1 sample"
        )
    names = container.names if layout.kind == "rows" else None
    check_finite(array, names=names, source=source)
    event = layout.to_event(array)
    notes: list[str] = []
    numbers = _FORCED[values](event, notes) if values != "auto" else _recognise(event, layout, notes)
    _note_constants(event, numbers, names, notes)
    return ArraySchema(layout, numbers, container, fit, len(array), tuple(notes))


def _is_mixed(data: Any) -> bool:
    """Whether data of no stated kind are a table of mixed kinds."""
    if isinstance(data, Dataset):
        return data.kind == "table" or _is_mixed(data.data)
    if isinstance(data, TextTable):
        return True
    if TABLES == "numbers" or not is_frame(data):
        return False
    return TABLES == "always" or not is_plain(to_table(data))


def _recognise(event: AnyArray, layout: Layout, notes: list[str]) -> Values:
    """Return what numbers these are, by the rule that :func:`learn_schema` states."""
    if event.dtype == np.bool_:
        return LevelValues("binary", 0.0, 1.0, 2)
    low, high = float(event.min()), float(event.max())
    pixels = layout.kind == "images" or event.dtype == np.uint8
    if layout.kind == "rows" and not pixels and _looks_flattened(layout.event_shape[0]):
        pixels = True
        flattened = "these rows look like flattened pictures; values='real' or kind='images' overrides this"
    else:
        flattened = ""
    integral = event.dtype.kind in "iu" or (low.is_integer() and high.is_integer() and _all(event, _is_integer))
    ends = (low, high) == (0.0, 1.0) or ((low, high) == (0.0, 255.0) and pixels)
    if integral and ends and _all(event, lambda block: (block == low) | (block == high)):
        return LevelValues("binary", low, high, 2)
    found: Values | None = None
    if pixels and integral:
        found = _integer_pixels(event, low, high, notes)
    elif pixels:
        found = _float_pixels(event, low, high, images=layout.kind == "images", notes=notes)
    if found is None:
        return _standardized(event)
    if flattened:
        notes.append(flattened)
    return found


def _integer_pixels(event: AnyArray, low: float, high: float, notes: list[str]) -> Values | None:
    if low < 0:
        return None
    if high <= 255:
        if 0 < high < _FEW_LEVELS and low < high:
            notes.append(f"all values are integers from 0 to {high:g}: taken as {high + 1:g} levels")
            return LevelValues("unit", 0.0, high, int(high) + 1)
        return LevelValues("byte", 0.0, 255.0, 256)
    if event.dtype.kind in "iu" and high <= _SENSOR_RANGES[-1]:
        top = next(end for end in _SENSOR_RANGES if high <= end)
        notes.append(f"the brightest value is {high:g}: the range is taken as 0..{top}")
        return RangeValues(0.0, float(top))
    return None


def _float_pixels(event: AnyArray, low: float, high: float, *, images: bool, notes: list[str]) -> Values | None:
    for start, end, natural in (
        (0.0, 1.0, low >= 0 and high <= 1),
        (-1.0, 1.0, -1 <= low <= -0.9 and 0.9 <= high <= 1),
    ):
        if not natural:
            continue
        if _on_grid(event, start, end):
            notes.append(
                f"all values are multiples of {1 if start == 0 else 2}/255 in [{start:g}, {end:g}]: 8-bit pixels"
            )
            return LevelValues("byte", start, end, 256, rounds=True)
        if images or (low, high) == (start, end):
            return RangeValues(start, end)
    if images and low >= 0 and 127 < high <= 255:
        return RangeValues(0.0, 255.0)
    return None


def _looks_flattened(n_features: int) -> bool:
    return n_features >= _FLATTENED and any(
        n_features % n == 0 and math.isqrt(n_features // n) ** 2 == n_features // n for n in (1, 3)
    )


def _all(array: AnyArray, test: Callable[[AnyArray], AnyArray]) -> bool:
    return all(bool(test(array[part]).all()) for part in chunks(array))


def _is_integer(block: AnyArray) -> AnyArray:
    return cast(AnyArray, block == np.rint(block))


def _on_grid(event: AnyArray, low: float, high: float) -> bool:
    def test(block: AnyArray) -> AnyArray:
        exact = (block.astype(np.float64) - low) * (255 / (high - low))
        return cast(AnyArray, np.abs(exact - np.rint(exact)) < TOLERANCE)

    # Half precision strays too far from the levels to tell; and values that span less than a level are no pixels of
    # 8 bits, but very small reals that all lie near level 0.
    spans = float(event.max()) - float(event.min()) > 0.5 * (high - low) / 255
    return event.dtype != np.float16 and spans and _all(event, test)


def _standardized(event: AnyArray, notes: list[str] | None = None) -> StandardizedValues:
    n_dims = event.ndim - 1
    axes = (0,) if n_dims == 1 else (0, 2, 3)
    low, high = (np.atleast_1d(end).astype(np.float64) for end in (event.min(axis=axes), event.max(axis=axes)))
    n = event.size // len(low)
    shape = (-1, *[1] * (n_dims - 1))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = sum((event[part].sum(axis=axes, dtype=np.float64) for part in chunks(event)), np.zeros(len(low))) / n
        squares = np.zeros(len(low))
        for part in chunks(event):
            squares += ((event[part].astype(np.float64) - mean.reshape(shape)) ** 2).sum(axis=axes)
        scale = np.sqrt(squares / n)
    constant = low == high
    mean = np.where(constant, low, mean)
    scale = np.where(constant | (scale == 0), 1.0, scale)
    if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
        index = int(np.flatnonzero(~(np.isfinite(mean) & np.isfinite(scale)))[0])
        raise DataError(
            f"column {index} holds numbers of {max(abs(low[index]), abs(high[index])):g}, too large to standardise in "
            "64-bit floats. Rescale it, or take its logarithm"
        )
    numbers = [tuple(map(float, part)) for part in (mean, scale, low, high)]
    return StandardizedValues(numbers[0], numbers[1], numbers[2], numbers[3], n_dims)


def _binary(event: AnyArray, notes: list[str]) -> LevelValues:
    low, high = event.min(), event.max()
    for part in chunks(event):
        other = (event[part] != low) & (event[part] != high)
        if other.any():
            index = np.argwhere(other)[0]
            raise DataError(
                f"values='binary' needs data of two values, but there are {float(low):g}, {float(high):g} and "
                f"{show(event[part][tuple(index)])} at {place((part.start + int(index[0]), *index[1:]))} (counted from "
                "0). "
                "Threshold them first, as in X > 0.5"
            )
    if low == high:
        raise DataError(f"values='binary' needs data of two values, but all are {float(low):g}. Leave values out")
    return LevelValues("binary", float(low), float(high), 2)


def _byte(event: AnyArray, notes: list[str]) -> LevelValues:
    low, high = float(event.min()), float(event.max())
    if low >= 0 and high <= 255 and _all(event, _is_integer):
        return LevelValues("byte", 0.0, 255.0, 256)
    if low >= 0 and high <= 1 and _on_grid(event, 0.0, 1.0):
        return LevelValues("byte", 0.0, 1.0, 256, rounds=True)
    raise DataError(
        f"values='byte' needs integers from 0 to 255, or multiples of 1/255; the data go from {low:g} to {high:g}. "
        "Scale and round them first, or use values='unit'"
    )


def _unit(event: AnyArray, notes: list[str]) -> Values:
    low, high = float(event.min()), float(event.max())
    if low == high:
        raise DataError(f"values='unit' needs a range, but all values are {low:g}. Leave values out")
    if high - low <= 255 and low.is_integer() and high.is_integer() and _all(event, _is_integer):
        return LevelValues("unit", low, high, int(high - low) + 1)
    return RangeValues(0.0, 1.0) if low >= 0 and high <= 1 else RangeValues(low, high)


def _looks_like_binary_pictures(event: AnyArray, numbers: Values) -> bool:
    return numbers.name == "binary" and _looks_flattened(event.shape[1])


_FORCED: dict[str, Callable[[AnyArray, list[str]], Values]] = {
    "binary": _binary,
    "byte": _byte,
    "unit": _unit,
    "real": _standardized,
}


def _note_constants(event: AnyArray, numbers: Values, names: tuple[str | int, ...] | None, notes: list[str]) -> None:
    if event.min() == event.max():
        notes.append(f"warning: all values are {float(event.min()):g}; there is nothing to learn")
        return
    if event.ndim != 2 or numbers.name in ("byte", "unit") or _looks_like_binary_pictures(event, numbers):
        return  # the corners of pictures are black, and nobody needs to be told
    constant = np.flatnonzero(event.min(axis=0) == event.max(axis=0))
    if not len(constant):
        return
    shown = ", ".join(str(names[index] if names else index) for index in constant[:5])
    more = ", ..." if len(constant) > 5 else ""
    notes.append(
        f"warning: {len(constant)} of {event.shape[1]} columns are constant ({shown}{more}); "
        "they say nothing and can be left out"
    )
