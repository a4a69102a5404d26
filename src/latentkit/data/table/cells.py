"""Cells: how the values of a column are written in the user's data, and written again; one class for each way."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.registry import Registry

__all__ = [
    "TEMPLATES",
    "Cells",
    "ConstantCells",
    "IdentifierCells",
    "LabelCells",
    "MissingCells",
    "NumberCells",
    "TextNumberCells",
    "TextTimeCells",
    "TimeCells",
    "arrow_type",
    "cells_kinds",
    "distinct",
    "grouped_pattern",
    "is_mostly_different",
    "is_number",
    "is_text",
    "is_time",
    "number_pattern",
    "parse_numbers",
    "parse_times",
    "strings",
]

Floats: TypeAlias = NDArray[np.float64]
#: An Arrow array; pyarrow has no types of its own.
Arrow: TypeAlias = Any

DAY = 86_400
#: The years 1 to 9999, in seconds from 1970.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800.0, 253_402_300_799.0


class Cells(Protocol):
    """How the values of a column are written."""

    @property
    def is_open(self) -> bool:
        """Whether a cell that cannot be read is a category not seen before, and not a mistake."""
        ...

    def read(self, column: Arrow) -> Floats:
        """Return the values of an Arrow column, shape (n,); NaN where a cell is null or cannot be read."""
        ...

    def write(self, values: Floats) -> Arrow:
        """Return values, shape (n,), as an Arrow array; null where a value is NaN."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the cells as JSON values."""
        ...


#: Every kind of cells, by the name that stands in a description; each part makes one from its description.
cells_kinds: Registry[Callable[[dict[str, Any]], Cells]] = Registry("kind of cells")


def arrow_type(name: str) -> Arrow:
    """Return the Arrow type of a name such as ``"int64"`` or ``"timestamp[ns, tz=UTC]"``."""
    import pyarrow as pa

    match = re.fullmatch(r"timestamp\[(\w+)(?:, tz=(.+))?\]", name)
    if match:
        return pa.timestamp(match[1], tz=match[2])
    match = re.fullmatch(r"decimal(\d+)\((\d+), (-?\d+)\)", name)
    if match:
        return getattr(pa, f"decimal{match[1]}")(int(match[2]), int(match[3]))
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return pa.type_for_alias(names.get(name, name))


def is_text(column_type: Arrow) -> bool:
    """Whether an Arrow type holds text, also as a dictionary."""
    from pyarrow import types

    value = column_type.value_type if types.is_dictionary(column_type) else column_type
    return bool(types.is_string(value) or types.is_large_string(value) or types.is_string_view(value))


def is_number(column_type: Arrow) -> bool:
    """Whether an Arrow type holds numbers; bools are none."""
    from pyarrow import types

    return bool(types.is_integer(column_type) or types.is_floating(column_type) or types.is_decimal(column_type))


def is_time(column_type: Arrow) -> bool:
    """Whether an Arrow type holds dates, times of the day, instants or durations."""
    from pyarrow import types

    return bool(types.is_temporal(column_type))


def strings(column: Arrow) -> Arrow:
    """Return an Arrow column as strings."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.large_string())


def distinct(column: Arrow) -> tuple[NDArray[np.int64], Arrow]:
    """Return the place of each cell among the different texts of a column, -1 where it is null, and those texts."""
    import pyarrow as pa

    texts = strings(column)
    if isinstance(texts, pa.ChunkedArray):
        # One dictionary for all: making one for each chunk and joining them takes many times as long.
        texts = pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], texts.type)
    encoded = texts.dictionary_encode()
    places = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return places, encoded.dictionary


def is_mostly_different(column: Arrow) -> bool:
    """Whether most texts of a column stand there once, by its first rows: collecting them gains nothing."""
    places, texts = distinct(column.slice(0, 2000))
    return len(texts) > 0.6 * len(places)


def number_pattern(mark: str) -> str:
    """Return the pattern of a number with this decimal mark."""
    mark = re.escape(mark)
    return rf"^\s*[+-]?((\d+({mark}\d*)?|{mark}\d+)([eE][+-]?\d+)?|inf|Inf|INF|[Ii]nfinity)\s*$"


def grouped_pattern(mark: str, group: str) -> str:
    """Return the pattern of a number of which every three digits before the decimal mark are set apart."""
    return rf"^\s*[+-]?[1-9]\d{{0,2}}({re.escape(group)}\d{{3}})+({re.escape(mark)}\d*)?\s*$"


def parse_numbers(texts: Arrow, mark: str, group: str = "") -> Floats:
    """Return an Arrow array of texts as numbers, shape (n,); NaN where a text is null or no number.

    Args:
        texts: The texts.
        mark: Decimal mark.
        group: What may stand between thousands; nothing if empty.
    """
    import pyarrow as pa
    from pyarrow import compute as pc

    fits = pc.match_substring_regex(texts, number_pattern(mark))
    if group:
        fits = pc.or_(fits, pc.match_substring_regex(texts, grouped_pattern(mark, group)))
    plain = pc.utf8_trim_whitespace(pc.if_else(fits, texts, pa.scalar(None, texts.type)))
    if group:
        plain = pc.replace_substring(plain, group, "")
    if pc.any(pc.starts_with(plain, "+")).as_py():
        plain = pc.replace_substring_regex(plain, r"^\+", "")
    if mark != ".":
        plain = pc.replace_substring(plain, mark, ".")
    return _numpy(plain.cast(pa.float64()))


def _numpy(column: Arrow) -> Floats:
    import pyarrow as pa

    return np.array(column.cast(pa.float64(), safe=False), np.float64)


def _spread(values: Floats, places: NDArray[np.int64]) -> Floats:
    """Return the values of different texts at the places of all cells; NaN where the place is -1."""
    return np.append(values, np.nan)[places]


def _numbers(column: Arrow, mark: str = ".", group: str = "") -> Floats:
    """Return a column of numbers, or of texts that are numbers, as float64."""
    from pyarrow import types

    if is_number(column.type):
        import pyarrow as pa

        return _numpy(column)
    if types.is_boolean(column.type):
        import pyarrow as pa

        return _numpy(column.cast(pa.uint8()))
    if is_mostly_different(column):
        return parse_numbers(strings(column), mark, group)
    places, texts = distinct(column)
    return _spread(parse_numbers(texts, mark, group), places)


def _texts(values: Floats, write: Callable[[float], str]) -> Arrow:
    """Return values as texts, each different value written once; null where a value is NaN."""
    import pyarrow as pa

    known = ~np.isnan(values)
    different, places = np.unique(values[known], return_inverse=True)
    indices = np.zeros(len(values), np.int64)
    indices[known] = places
    names = pa.array([write(float(value)) for value in different], pa.string())
    return names.take(pa.array(indices, mask=~known))


@final
@dataclass(frozen=True, slots=True)
class NumberCells:
    """Numbers in a column of numbers.

    Attributes:
        type: Name of the Arrow type: ``"int64"``, ``"double"``.
    """

    type: str
    is_open = False

    def read(self, column: Arrow) -> Floats:
        return _numbers(column)

    def write(self, values: Floats) -> Arrow:
        import pyarrow as pa
        from pyarrow import types

        target = arrow_type(self.type)
        missing = np.isnan(values)
        if types.is_integer(target):
            bounds = np.iinfo(target.to_pandas_dtype())
            highest = np.nextafter(float(bounds.max), 0) if float(bounds.max) > bounds.max else float(bounds.max)
            exact = np.clip(np.rint(np.where(missing, 0, values)), float(bounds.min), highest)
            return pa.array(exact.astype(target.to_pandas_dtype()), target, mask=missing)
        return pa.array(values, mask=missing).cast(target, safe=False)

    def describe(self) -> dict[str, Any]:
        return {"type": "number", "arrow": self.type}


@cells_kinds.register("number")
def _number_cells(description: dict[str, Any]) -> NumberCells:
    return NumberCells(description["arrow"])


@final
@dataclass(frozen=True, slots=True)
class TextNumberCells:
    """Numbers written as text.

    Attributes:
        mark: Decimal mark, ``"."`` or ``","``.
        least: Digits behind the mark at least: 1 where 1 is written ``1.0``.
        most: Digits behind the mark at most; -1: as many as single out the number.
        width: Digits before the mark at least, filled with zeros.
        group: What stands between thousands; nothing if empty.
    """

    mark: str = "."
    least: int = 0
    most: int = -1
    width: int = 0
    group: str = ""
    is_open = False

    def read(self, column: Arrow) -> Floats:
        return _numbers(column, self.mark, self.group)

    def write(self, values: Floats) -> Arrow:
        return _texts(values, self._write)

    def _write(self, value: float) -> str:
        if self.most < 0:
            text = repr(value)
            text = text.removesuffix(".0") if self.least == 0 else text
        else:
            text = f"{value:.{self.most}f}"
            if self.most > self.least:
                whole, _, digits = text.partition(".")
                digits = digits.rstrip("0").ljust(self.least, "0")
                text = f"{whole}.{digits}" if digits else whole
        if float(text) == 0:
            text = text.removeprefix("-")
        if self.width:
            sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
            whole, dot, digits = text.partition(".")
            text = sign + whole.zfill(self.width) + dot + digits
        whole, dot, digits = text.partition(".")
        if self.group:
            whole = f"{int(whole):,}".replace(",", self.group)
        return whole + dot.replace(".", self.mark) + digits

    def describe(self) -> dict[str, Any]:
        return {
            "type": "text number",
            "mark": self.mark,
            "least": self.least,
            "most": self.most,
            "width": self.width,
            "group": self.group,
        }


@cells_kinds.register("text number")
def _text_number_cells(description: dict[str, Any]) -> TextNumberCells:
    names = ("mark", "least", "most", "width", "group")
    return TextNumberCells(**{name: description[name] for name in names if name in description})


@final
@dataclass(frozen=True, slots=True)
class TimeCells:
    """Dates, times of the day, instants or durations in a column of such; values are seconds.

    Attributes:
        type: Name of the Arrow type: ``"timestamp[ns]"``, ``"date32[day]"``.
    """

    type: str
    is_open = False

    def read(self, column: Arrow) -> Floats:
        import pyarrow as pa

        if is_text(column.type):
            for template in TEMPLATES:
                places, texts = distinct(column)
                values = parse_times(texts, template, padded=False)
                if not np.isnan(values).all():
                    return _spread(values, places)
        if not is_time(column.type):
            return np.full(len(column), np.nan)
        whole = column.cast(pa.int32()) if "32" in str(column.type) else column.cast(pa.int64())
        days, parts = _units(str(column.type))
        return _numpy(whole) * (days * DAY) if days else _numpy(whole) / parts

    def write(self, values: Floats) -> Arrow:
        import pyarrow as pa

        target = arrow_type(self.type)
        missing = np.isnan(values)
        days, parts = _units(self.type)
        # What is made may lie beyond the data, but not beyond what 64 bits hold; whole seconds stay exact.
        seconds = np.clip(np.where(missing, 0, values), -(2.0**62) / parts, 2.0**62 / parts)
        if days:
            exact = np.rint(seconds / DAY).astype(np.int64)
        else:
            below = np.floor(seconds)
            exact = below.astype(np.int64) * parts + np.rint((seconds - below) * parts).astype(np.int64)
        whole = pa.array(exact, mask=missing)
        return whole.cast(pa.int32()).cast(target) if "32" in self.type else whole.cast(target)

    def describe(self) -> dict[str, Any]:
        return {"type": "time", "arrow": self.type}


@cells_kinds.register("time")
def _time_cells(description: dict[str, Any]) -> TimeCells:
    return TimeCells(description["arrow"])


def _units(name: str) -> tuple[int, int]:
    """Return how many days the unit of an Arrow type is, and if it is none, how many of it make a second."""
    unit = name[name.index("[") + 1 : -1].split(",", maxsplit=1)[0]
    return (1, 1) if unit == "day" else (0, {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit])


#: How dates and times are written, the first that fits all cells counts; day.month before month/day is by the marks.
TEMPLATES = (
    "{Y}-{m}-{d}",
    "{Y}/{m}/{d}",
    "{d}.{m}.{Y}",
    "{m}/{d}/{Y}",
    "{d}/{m}/{Y}",
    "{Y}-{m}-{d} {H}:{M}:{S}",
    "{Y}-{m}-{d}T{H}:{M}:{S}",
    "{Y}-{m}-{d}T{H}:{M}:{S}Z",
    "{Y}-{m}-{d} {H}:{M}",
    "{Y}-{m}-{d}T{H}:{M}",
    "{Y}/{m}/{d} {H}:{M}:{S}",
    "{d}.{m}.{Y} {H}:{M}:{S}",
    "{d}.{m}.{Y} {H}:{M}",
    "{m}/{d}/{Y} {H}:{M}:{S}",
    "{m}/{d}/{Y} {H}:{M}",
    "{d}/{m}/{Y} {H}:{M}:{S}",
    "{d}/{m}/{Y} {H}:{M}",
    "{H}:{M}:{S}",
    "{H}:{M}",
)


def time_pattern(template: str, *, padded: bool) -> str:
    """Return the pattern of texts that are written so, with a named group for each part."""
    pattern = re.escape(template)
    for name in "YmdHMS":
        digits = r"\d{4}" if name == "Y" else r"\d{2}" if padded else r"\d{1,2}"
        pattern = pattern.replace(rf"\{{{name}\}}", f"(?P<{name}>{digits})")
    # What Python escapes, RE2 need not know.
    return "^" + pattern.replace(r"\ ", " ").replace(r"\-", "-").replace(r"\/", "/").replace(r"\:", ":") + "$"


def parse_times(texts: Arrow, template: str, *, padded: bool) -> Floats:
    """Return an Arrow array of texts as seconds since 1970, or since midnight; NaN where one is no such time."""
    import pyarrow as pa
    from pyarrow import compute as pc

    parts = pc.extract_regex(texts, time_pattern(template, padded=padded))
    if isinstance(parts, pa.ChunkedArray):
        parts = parts.combine_chunks()
    number: dict[str, Floats] = {}
    defaults = {"Y": 1970, "m": 1, "d": 1, "H": 0, "M": 0, "S": 0}
    for name, default in defaults.items():
        if f"{{{name}}}" in template:
            number[name] = _numpy(pc.struct_field(parts, name).cast(pa.float64()))
        else:
            number[name] = np.full(len(texts), float(default))
    known = ~np.isnan(number["Y"] + number["H"] + number["m"])
    year, month, day = (np.where(known, number[name], 1).astype(np.int64) for name in "Ymd")
    good = known & (year >= 1) & (month >= 1) & (month <= 12)
    good &= (number["H"] < 24) & (number["M"] < 60) & (number["S"] < 60)
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    after = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    good &= (day >= 1) & (first + day - 1 < after)
    seconds = (first + day - 1) * DAY + number["H"] * 3600 + number["M"] * 60 + number["S"]
    return np.where(good, seconds, np.nan)


@final
@dataclass(frozen=True, slots=True)
class TextTimeCells:
    """Dates and times written as text; values are seconds since 1970, or since midnight.

    Attributes:
        template: One of `TEMPLATES`.
        padded: Whether days, months and hours below 10 have a leading zero.
    """

    template: str
    padded: bool = True
    is_open = False

    def read(self, column: Arrow) -> Floats:
        if is_time(column.type):
            return TimeCells(str(column.type)).read(column)
        places, texts = distinct(column)
        return _spread(parse_times(texts, self.template, padded=self.padded), places)

    def write(self, values: Floats) -> Arrow:
        return _texts(values, self._write)

    def _write(self, value: float) -> str:
        value = min(max(value, _FIRST_SECOND), _LAST_SECOND)
        time = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=round(value))
        two = "02d" if self.padded else "d"
        return self.template.format(
            Y=f"{time.year:04d}",
            m=f"{time.month:{two}}",
            d=f"{time.day:{two}}",
            H=f"{time.hour:{two}}",
            M=f"{time.minute:02d}",
            S=f"{time.second:02d}",
        )

    def describe(self) -> dict[str, Any]:
        return {"type": "text time", "template": self.template, "padded": self.padded}


@cells_kinds.register("text time")
def _text_time_cells(description: dict[str, Any]) -> TextTimeCells:
    return TextTimeCells(description["template"], bool(description["padded"]))


@final
@dataclass(frozen=True)
class LabelCells:
    """Categories; a value is the place of a category.

    Attributes:
        categories: The categories as text, in the order of their codes.
        type: Name of the Arrow type of the column: ``"string"``, ``"bool"``, ``"int64"``.
    """

    categories: tuple[str, ...]
    type: str = "string"
    is_open = True

    @cached_property
    def _names(self) -> Arrow:
        import pyarrow as pa

        return pa.array(self.categories, pa.large_string())

    def read(self, column: Arrow) -> Floats:
        import pyarrow as pa
        from pyarrow import compute as pc

        target = arrow_type(self.type)
        if str(column.type) != self.type and not is_text(column.type) and not is_text(target):
            try:
                column = column.cast(target)
            except pa.ArrowInvalid:
                column = column.cast(pa.float64())
        places, texts = distinct(column)
        return _spread(_numpy(pc.index_in(texts, self._names)), places)

    def write(self, values: Floats) -> Arrow:
        import pyarrow as pa

        missing = np.isnan(values)
        places = np.where(missing, 0, values).astype(np.int64)
        return self._names.cast(arrow_type(self.type)).take(pa.array(places, mask=missing))

    def describe(self) -> dict[str, Any]:
        return {"type": "label", "categories": list(self.categories), "arrow": self.type}


@cells_kinds.register("label")
def _label_cells(description: dict[str, Any]) -> LabelCells:
    return LabelCells(tuple(description["categories"]), description["arrow"])


@final
@dataclass(frozen=True, slots=True)
class ConstantCells:
    """The one value that a column has.

    Attributes:
        value: It, as text.
        type: Name of the Arrow type of the column.
    """

    value: str
    type: str = "string"
    is_open = True

    def read(self, column: Arrow) -> Floats:
        return np.zeros(len(column))

    def write(self, values: Floats) -> Arrow:
        return LabelCells((self.value,), self.type).write(np.zeros(len(values)))

    def describe(self) -> dict[str, Any]:
        return {"type": "constant", "value": self.value, "arrow": self.type}


@cells_kinds.register("constant")
def _constant_cells(description: dict[str, Any]) -> ConstantCells:
    return ConstantCells(description["value"], description["arrow"])


@final
@dataclass(frozen=True, slots=True)
class IdentifierCells:
    """Identifiers, each its own; new ones count on from the last, or are digests where there is no last one.

    Attributes:
        type: Name of the Arrow type of the column.
        start: Number of the first new one.
        before: What stands before the number.
        after: What stands behind it.
        width: Digits of the number at least, filled with zeros.
        groups: Numbers of hexadecimal digits between hyphens, as in a UUID; where there are some, the number is not
            shown: 64 bits or more of its digest are, which meet no other identifier.
        is_upper: Whether such digits are capitals.
    """

    type: str
    start: int
    before: str = ""
    after: str = ""
    width: int = 0
    groups: tuple[int, ...] = ()
    is_upper: bool = False
    is_open = True

    def read(self, column: Arrow) -> Floats:
        return np.zeros(len(column))

    def write(self, values: Floats) -> Arrow:
        import pyarrow as pa

        numbers = range(self.start, self.start + len(values))
        texts = [f"{self.before}{self._shown(number)}{self.after}" for number in numbers]
        return pa.array(texts, pa.string()).cast(arrow_type(self.type))

    def _shown(self, number: int) -> str:
        if not self.groups:
            return f"{number:0{self.width}d}"
        digits = hashlib.shake_256(f"{self.before}{number}".encode()).hexdigest(-(-sum(self.groups) // 2))
        ends = [0, *itertools.accumulate(self.groups)]
        text = "-".join(digits[start:end] for start, end in itertools.pairwise(ends))
        return text.upper() if self.is_upper else text

    def describe(self) -> dict[str, Any]:
        return {
            "type": "identifier",
            "arrow": self.type,
            "start": self.start,
            "before": self.before,
            "after": self.after,
            "width": self.width,
            "groups": list(self.groups),
            "is_upper": self.is_upper,
        }


@cells_kinds.register("identifier")
def _identifier_cells(description: dict[str, Any]) -> IdentifierCells:
    return IdentifierCells(
        description["arrow"],
        int(description["start"]),
        description["before"],
        description["after"],
        int(description["width"]),
        tuple(description.get("groups", ())),
        bool(description.get("is_upper", False)),
    )


@final
@dataclass(frozen=True, slots=True)
class MissingCells:
    """A column of which nothing is kept: all missing, or free text.

    Attributes:
        type: Name of the Arrow type of the column.
    """

    type: str
    is_open = True

    def read(self, column: Arrow) -> Floats:
        return np.zeros(len(column))

    def write(self, values: Floats) -> Arrow:
        import pyarrow as pa

        return pa.nulls(len(values), arrow_type(self.type))

    def describe(self) -> dict[str, Any]:
        return {"type": "missing", "arrow": self.type}


@cells_kinds.register("missing")
def _missing_cells(description: dict[str, Any]) -> MissingCells:
    return MissingCells(description["arrow"])
