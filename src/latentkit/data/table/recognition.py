"""Learning the schema of a table: what kind each column is, and why."""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.parameters import check_choice, suggestion
from latentkit.data.containers import Name
from latentkit.data.table.cells import (
    DAY,
    TEMPLATES,
    Cells,
    ConstantCells,
    IdentifierCells,
    LabelCells,
    MissingCells,
    NumberCells,
    TextNumberCells,
    TextTimeCells,
    TimeCells,
    distinct,
    grouped_pattern,
    is_mostly_different,
    is_number,
    is_text,
    is_time,
    number_pattern,
    parse_numbers,
    parse_times,
    strings,
)
from latentkit.data.table.codings import LeftOutCoding, categories_coding, learn_numbers
from latentkit.data.table.columns import TEXT_MARKERS, Column, Missing, markers_of, nulls
from latentkit.data.table.frames import Columns, learn_table_container, to_columns
from latentkit.data.table.schema import TableSchema, Unseen
from latentkit.data.table.sources import read_table_data
from latentkit.data.validation import from_source, show

__all__ = ["KINDS", "ColumnKind", "learn_table_schema"]

Arrow: TypeAlias = Any
Floats: TypeAlias = NDArray[np.float64]
ColumnKind: TypeAlias = Literal[
    "real",
    "positive",
    "bounded",
    "integer",
    "count",
    "ordinal",
    "categorical",
    "boolean",
    "date",
    "identifier",
    "text",
    "constant",
    "missing",
]

#: All of them.
KINDS: tuple[str, ...] = get_args(ColumnKind)
_NUMBERS = ("real", "positive", "bounded", "integer", "count")
#: Integers of at most this many different values are levels.
_FEW_LEVELS = 20
#: Texts are identifiers or free text where at least this share of them is different, in at least this many rows.
_UNIQUE, _ENOUGH = 0.9, 30
#: Texts by which it is judged whether the others can be numbers or dates.
_FIRST = 100
_FALSE_TRUE = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("off", "on"))


def learn_table_schema(
    data: Any,
    *,
    kinds: Mapping[Any, ColumnKind | Sequence[str]] | None = None,
    na_values: Any = None,
    unseen: Unseen = "unknown",
) -> TableSchema:
    """Learn how the columns of a table of mixed kinds become codes and come back.

    A column is recognised by its type and, in files of text, by how its cells are written: truth values, numbers (also
    with a decimal comma), dates and times, else categories. Columns that differ in every row are identifiers or free
    text and are left out, as are constants and columns of which everything is missing. ``schema.summary()`` says what
    each was taken for, and why.

    Missing are null, NaN and empty texts; in files of text also ``NA``, ``N/A``, ``NaN``, ``nan``, ``null``, ``NULL``,
    ``None`` and ``?``.

    Args:
        data: Data frame, table of texts, array, nested list of rows, :class:`~latentkit.data.Dataset`, or the path of
            a table.
        kinds: The kind of columns, by name, where recognition is not wanted; a sequence of categories instead of a
            kind means that they are in this order.
        na_values: What stands for a missing value besides these: a text or number, or several, such as ``-999``.
        unseen: What later becomes of a category that is not there, ``"unknown"`` or ``"error"``; see
            :class:`~latentkit.data.TableSchema`.
    Returns:
        The schema.
    Raises:
        DataError: If there are infinite numbers, cells that do not fit the kind asked for, or fewer than two rows;
            file, line and column are named.
        InvalidParameterError: If `kinds` names a column or a kind that there is not.

    Example:
        >>> import pyarrow as pa
        >>> table = pa.table({"age": [31, 45, 62, 31] * 9, "smokes": ["yes", "no", None, "no"] * 9})
        >>> schema = learn_table_schema(table)
        >>> schema.codes.cardinalities, schema.codes.missing_codes
        ((3, 3), (None, 2))
        >>> schema.encode(table)[:2]
        tensor([[0.5000, 1.5000],
                [1.5000, 0.5000]])
    """
    data = read_table_data(data)
    columns = to_columns(data)
    if columns.n < 2:
        raise DataError(
            f"{from_source(columns.source)}at least 2 examples are needed to learn from, and a few hundred to learn "
            "anything useful; got 1 sample"
        )
    asked = _checked(kinds or {}, columns)
    check_choice("unseen", unseen, get_args(Unseen))
    own = TEXT_MARKERS if columns.text is not None else ("",)
    markers = tuple(dict.fromkeys([*own, *markers_of(na_values)]))
    notes: list[str] = []
    learnt = [
        _Recogniser(name, cells, columns, markers, asked.get(name), notes).column()
        for name, cells in zip(columns.names, columns.arrays, strict=True)
    ]
    if not any(column.coding.sizes for column in learnt):
        raise DataError(
            f"{from_source(columns.source)}there is no column to learn from: all are constant, missing, identifiers or "
            "free text. Say what they are with kinds={...} (--kind NAME=KIND)"
        )
    return TableSchema(tuple(learnt), learn_table_container(data), columns.n, tuple(notes), unseen)


def _checked(kinds: Mapping[Any, Any], columns: Columns) -> dict[Any, Any]:
    """Return the kinds that are asked for by the names of the columns, which files hold as text."""
    names: dict[Any, Name] = {str(name): name for name in columns.names}
    names.update((name, name) for name in columns.names)
    for name, kind in kinds.items():
        if name not in names:
            known = ", ".join(map(str, columns.names[:20]))
            raise InvalidParameterError(
                f"kinds names column {name!r}, which there is not; choose one of: {known}."
                f"{suggestion(str(name), map(str, columns.names))}"
            )
        if isinstance(kind, str):
            check_choice(f"kinds[{name!r}]", kind, KINDS)
        elif not kind or isinstance(kind, Mapping):
            raise InvalidParameterError(f"kinds[{name!r}] must be a kind or its categories in order; got {kind!r}.")
    return {names[name]: kind for name, kind in kinds.items()}


@dataclass(slots=True)
class _Recogniser:
    """Recognises one column."""

    name: Name
    cells: Arrow
    columns: Columns
    markers: tuple[str, ...]
    asked: str | Sequence[str] | None
    notes: list[str]

    def column(self) -> Column:
        """Return the column as what it was recognised as.

        Raises:
            DataError: If it does not fit the kind that was asked for.
        """
        column = self._recognised()
        if isinstance(self.asked, str) and column.kind != self.asked:
            raise DataError(
                f"{from_source(self.columns.source)}kinds[{self.name!r}]={self.asked!r} does not fit column "
                f"{show(self.name)}, which is {column.kind}: {column.reason}. Choose a kind that fits, or leave it out"
            )
        return column

    def _recognised(self) -> Column:
        missing = nulls(self.cells, self.markers)
        share = float(missing.mean())
        state = Missing(share, bool(missing.any()), self.markers if self._has_markers else (), self._written(missing))
        if missing.all() or self.asked == "missing":
            if self.asked is None:
                self._warn("is missing in every row and is left out")
            return self._left_out("missing", "nothing in it", MissingCells(self._type), state)
        if self.asked == "text" or not (
            is_text(self.cells.type)
            or is_number(self.cells.type)
            or is_time(self.cells.type)
            or self._is_bool
            or self._is_enumerated
        ):
            if self.asked is None:
                self._warn(f"holds values of type {self.cells.type} and is left out")
            kept = self._type if is_text(self.cells.type) or is_number(self.cells.type) else "null"
            return self._left_out("text", f"type {self.cells.type}, not learnt", MissingCells(kept), state)
        column = self._seen(missing, state)
        if share > 0.5 and not column.is_left_out:
            self._warn(f"is missing in {share:.0%} of the rows")
        return column

    @property
    def _is_bool(self) -> bool:
        return str(self.cells.type) == "bool"

    @property
    def _is_enumerated(self) -> bool:
        """Whether the user's own type says that these are categories."""
        from pyarrow import types

        return bool(types.is_dictionary(self.cells.type))

    @property
    def _is_written_as_label(self) -> bool:
        """Whether values of a type that is no text can be written as text and read again."""
        from pyarrow import types

        return is_number(self.cells.type) or (is_time(self.cells.type) and not types.is_duration(self.cells.type))

    @property
    def _type(self) -> str:
        kind = self.cells.type
        return str(kind.value_type) if self._is_enumerated else str(kind)

    @property
    def _has_markers(self) -> bool:
        return is_text(self.cells.type) or is_number(self.cells.type)

    def _written(self, missing: NDArray[np.bool_]) -> str | None:
        """Return the text that most often stands for a missing value; None where it is null."""
        if not missing.any() or not self._has_markers:
            return "" if self.columns.text is not None else None
        places, texts = distinct(self.cells.filter(missing))
        if not len(texts) or (places < 0).sum() * 2 > len(places):
            return None
        most = str(texts[int(np.bincount(places[places >= 0]).argmax())])
        return None if most.lower() == "nan" and not is_text(self.cells.type) else most

    def _warn(self, text: str) -> None:
        self.notes.append(f"warning: column {show(self.name)} {text}")

    def _note(self, text: str) -> None:
        self.notes.append(f"column {show(self.name)} {text}")

    def _left_out(self, kind: str, reason: str, cells: Cells, state: Missing) -> Column:
        return Column(self.name, kind, reason, cells, LeftOutCoding(), replace(state, has_code=False))

    def _seen(self, missing: NDArray[np.bool_], state: Missing) -> Column:
        kind = self.cells.type
        if (
            self._is_bool
            or (self.asked is None and self._is_enumerated)
            or (self._is_written_as_label and self.asked in ("categorical", "boolean"))
            or not (self.asked is None or isinstance(self.asked, str))
        ):
            return self._labels(missing, state)
        if is_time(kind):
            cells = TimeCells(str(kind))
            return self._numeric(_counted(cells.read(self.cells)[~missing]), cells, state, f"type {kind}", "date")
        if is_number(kind):
            number = NumberCells(str(kind))
            values = number.read(self.cells)[~missing]
            return self._numeric(_counted(values), number, state, f"type {kind}", None)
        return self._text(missing, state)

    # -- texts ----------------------------------------------------------------------------------------------------

    def _text(self, missing: NDArray[np.bool_], state: Missing) -> Column:
        texts, counts = self._counted_texts(missing)
        if self.asked in ("categorical", "boolean", "identifier", "constant"):
            return self._labels(missing, state)
        found = self._text_number(texts, counts, state) if self.asked != "date" else None
        if found is None and self.asked in (None, "date"):
            found = self._text_time(texts, counts, state)
        if found is not None:
            return found
        if self.asked not in (None, "ordinal"):
            self._refuse(texts)
        strays = self._strays(texts, counts) if self.asked is None else ()
        if strays:
            return replace(self, markers=(*self.markers, *strays)).column()
        if self.asked is None:
            self._warn_of_times(texts)
        return self._labels(missing, state)

    def _counted_texts(self, missing: NDArray[np.bool_]) -> tuple[Arrow, NDArray[np.int64]]:
        """Return texts and how often each stands there; where most differ, equal ones may come several times."""
        if is_mostly_different(self.cells):
            texts = strings(self.cells.filter(~missing) if missing.any() else self.cells)
            return texts, np.ones(len(texts), np.int64)
        places, texts = distinct(self.cells)
        counts = np.bincount(places[~missing], minlength=len(texts))
        return texts.filter(counts > 0), counts[counts > 0]

    def _text_number(self, texts: Arrow, counts: NDArray[np.int64], state: Missing) -> Column | None:
        for mark, group in self._number_marks(texts):
            if np.isnan(parse_numbers(texts.slice(0, _FIRST), mark, group)).any():
                continue
            values = parse_numbers(texts, mark, group)
            if np.isnan(values).any():
                continue
            cells, reason = _number_format(texts, mark, group)
            if cells.width and self.asked is None:
                return None  # leading zeros: codes, such as those of the post
            if self.columns.text is None:
                self._note("holds numbers written as text; they are taken as numbers and come back as text")
            return self._numeric(_summed(values, counts), cells, state, reason, None)
        return None

    def _number_marks(self, texts: Arrow) -> Iterator[tuple[str, str]]:
        """Yield decimal marks and what stands between thousands, in the order in which they are tried."""
        from pyarrow import compute as pc

        yield ".", ""
        comma = pc.match_substring(texts, ",")
        if not pc.any(comma).as_py():
            return
        is_grouped = pc.all(pc.match_substring_regex(texts.filter(comma), grouped_pattern(".", ","))).as_py()
        by_semicolon = self.columns.text is not None and self.columns.text.dialect.delimiter == ";"
        if is_grouped and not by_semicolon:
            yield ".", ","
        yield ",", ""
        yield ".", ","
        yield ",", "."

    def _text_time(self, texts: Arrow, counts: NDArray[np.int64], state: Missing) -> Column | None:
        fits: list[tuple[str, Floats]] = []
        bad: tuple[str, Floats] | None = None
        for template in (*TEMPLATES, *([COMPACT] if self.asked == "date" else [])):
            is_padded = template == COMPACT
            if np.isnan(parse_times(texts.slice(0, _FIRST), template, padded=is_padded)).mean() > 0.5:
                continue
            values = parse_times(texts, template, padded=is_padded)
            wrong = np.isnan(values)
            if not wrong.any():
                fits.append((template, values))
            elif bad is None and wrong.mean() < 0.2:
                bad = (template, values)
        if not fits:
            if bad is not None and self._time_shaped(texts, bad[0]):
                text = str(texts[int(np.flatnonzero(np.isnan(bad[1]))[0])])
                raise DataError(
                    f"{self._where(text)} is {show(text)}, and there is no such date or time. Correct it, or leave the "
                    "cell empty"
                )
            return None
        template, values = fits[0]
        if len(fits) > 1 and {"{m}/{d}" in text for text, _ in fits} == {True, False}:
            self._note(f"may be month/day or day/month; it is taken as {template.translate(_PLAIN)}")
        padded = not np.isnan(parse_times(texts, template, padded=True)).any()
        cells = TextTimeCells(template, padded)
        return self._numeric(_summed(values, counts), cells, state, f"written {template.translate(_PLAIN)}", "date")

    def _time_shaped(self, texts: Arrow, template: str) -> bool:
        from pyarrow import compute as pc

        shape = re.sub(r"\\?\{\w\\?\}", r"\\d{1,4}", re.escape(template)).replace("\\ ", " ").replace("\\-", "-")
        return bool(pc.all(pc.match_substring_regex(texts, f"^{shape}$")).as_py())

    def _strays(self, texts: Arrow, counts: NDArray[np.int64]) -> tuple[str, ...]:
        """Return the few texts in a column of numbers or dates that are none; empty if it is no such column."""
        from pyarrow import compute as pc

        template = max(TEMPLATES, key=lambda template: _fitting(texts.slice(0, _FIRST), template).sum())
        are_times = _fitting(texts.slice(0, _FIRST), template).mean() > 0.5
        fits = np.asarray(pc.match_substring_regex(texts, number_pattern(".")), np.bool_)
        fits, word = (_fitting(texts, template), "dates or times") if are_times else (fits, "numbers")
        n = int(counts[~fits].sum())
        strays = tuple(dict.fromkeys(texts.filter(~fits).to_pylist())) if n < 0.05 * counts.sum() else ()
        if not 0 < len(strays) <= 5 or fits.sum() <= _FEW_LEVELS:
            return ()
        cells = f"{n} cell{'s' * (n != 1)}"
        self._warn(
            f"holds {word} but for {cells}, the first is {show(strays[0])} ({self._where(strays[0])}); what is none is "
            f"taken as missing. If that is wrong, say {_saying(self.name, 'categorical')}"
        )
        return strays

    def _warn_of_times(self, texts: Arrow) -> None:
        """Warn where texts are dates, but cannot be read as such together."""
        from pyarrow import compute as pc

        heads = (texts.slice(0, _FIRST), texts)
        if not len(texts) or not all(pc.all(pc.match_substring_regex(part, _LIKE_DATES)).as_py() for part in heads):
            return
        fits = [template for template in TEMPLATES if _fitting(texts, template).any()]
        ways = " and ".join(template.translate(_PLAIN) for template in fits[:2])
        why = f"in several ways ({ways})" if len(fits) > 1 else f"in a way that is not read, as {show(str(texts[0]))}"
        self._warn(f"holds dates, but written {why}; they are no dates to the model. Write all as 2020-12-31 23:59:59")

    def _labels(self, missing: NDArray[np.bool_], state: Missing) -> Column:
        places, texts = distinct(self.cells)
        counts = np.bincount(places[~missing], minlength=len(texts))
        names, counts = texts.filter(counts > 0).to_pylist(), counts[counts > 0]
        n, rows = len(names), int(counts.sum())
        if self.asked is None and n == 1 and not state.has_code:
            return self._constant(names[0], state)
        if self.asked == "constant" and n == 1:
            return self._constant(names[0], replace(state, has_code=False))
        may_be_identifier = self.asked == "identifier" or (self.asked is None and rows >= _ENOUGH)
        if may_be_identifier and is_text(self.cells.type):
            longest = float(np.mean([len(name) for name in names[:1000]]))
            spaces = float(np.mean([" " in name.strip() for name in names[:1000]]))
            if self.asked == "identifier" or (n >= _UNIQUE * rows and spaces < 0.5 and longest <= 64):
                return self._identifier(names, state, n, rows)
            if n >= (0.5 if longest > 40 else _UNIQUE) * rows and spaces >= 0.5:
                self._note("is free text and is left out; it is empty in new rows")
                reason = f"{n} different texts in {rows} rows"
                return self._left_out("text", reason, MissingCells(self._type), state)
        return self._categories(names, counts, state)

    def _categories(self, names: list[str], counts: NDArray[np.int64], state: Missing) -> Column:
        n = len(names)
        truth = _truth(names)
        kind, is_ordered = "categorical", False
        levels = self._levels()
        if self.asked == "boolean" and n == 2 and truth is None:
            kind, ordered = "boolean", sorted(names)
        elif self.asked is not None and not isinstance(self.asked, str):
            order = [str(category) for category in self.asked]
            other = next((name for name in names if name not in order), None)
            if other is not None:
                raise DataError(
                    f"{self._where(other)} is {show(other)}, which is not among the categories given: "
                    f"{', '.join(order[:12])}.{suggestion(other, order)} Add it, in its place"
                )
            kind, is_ordered, ordered = "ordinal", True, order
        elif levels is not None:
            kind, is_ordered, ordered = "ordinal", True, levels
        elif truth is not None and self.asked in (None, "boolean"):
            kind, ordered = "boolean", list(truth)
        else:
            ordered = [names[place] for place in sorted(range(n), key=lambda place: (-counts[place], names[place]))]
        if self.asked == "boolean" and n > 2:
            raise DataError(
                f"column {show(self.name)} was said to be boolean, but has {n} different values, such as "
                f"{', '.join(map(show, names[:3]))}. Say {_saying(self.name, 'categorical')}"
            )
        if self.asked == "ordinal" and not is_ordered:
            raise InvalidParameterError(
                f"kinds[{self.name!r}]='ordinal' needs the order of the categories. Give them instead, as in "
                f"kinds={{{self.name!r}: {tuple(sorted(names)[:4])!r}}}"
            )
        rare = int((counts == 1).sum())
        once = f", {rare} of them once" if rare else ""
        if n > 1000:
            once += ", written with two digits"
        cells = LabelCells(tuple(ordered), self._type)
        coding = categories_coding(len(ordered))
        return Column(self.name, kind, f"{n} categories{once}", cells, coding, state, is_ordered)

    def _levels(self) -> list[str] | None:
        """Return the levels of a column of an enumerated type with an order."""
        from pyarrow import types

        if self.asked is None and types.is_dictionary(self.cells.type) and self.cells.type.ordered:
            chunk = self.cells.chunk(0) if hasattr(self.cells, "chunk") else self.cells
            return [str(level) for level in chunk.dictionary.to_pylist()]
        return None

    def _constant(self, value: str, state: Missing) -> Column:
        self._note(f"has one value ({show(value)}); it is left out and put back")
        return self._left_out("constant", f"always {show(value)}", ConstantCells(value, self._type), state)

    def _identifier(self, names: list[str], state: Missing, n: int, rows: int) -> Column:
        self._note("holds identifiers; it is left out, and new rows get new ones")
        reason = f"{n} different texts in {rows} rows"
        return self._left_out("identifier", reason, _new_identifiers(names, self._type, str(self.name)), state)

    # -- numbers --------------------------------------------------------------------------------------------------

    def _numeric(
        self, values: tuple[Floats, NDArray[np.int64]], cells: Cells, state: Missing, reason: str, kind: str | None
    ) -> Column:
        different, counts = values
        self._check_finite(different, cells)
        if self.asked == "date" and kind is None:
            raise DataError(
                f"{from_source(self.columns.source)}kinds[{self.name!r}]='date' does not fit column {show(self.name)}, "
                "which holds numbers. Make them dates first, as with pandas.to_datetime"
            )
        n = int(counts.sum())
        integral = bool((different == np.rint(different)).all())
        words = kind or (self.asked if isinstance(self.asked, str) else None)
        if len(different) == 1 and not state.has_code and self.asked in (None, "constant"):
            text = str(cells.write(different)[0])
            if is_text(self.cells.type):
                return self._constant(text, state)
            self._note(f"has one value ({text}); it is left out and put back")
            fixed = _fixed(different[0], cells, self._type)
            return self._left_out("constant", f"always {text}", fixed, state)
        counts_on = words is None and integral and self._counts_on(different, counts)
        if counts_on or (self.asked == "identifier" and kind is None):
            self._note("holds identifiers; it is left out, and new rows get new ones")
            width = cells.width if isinstance(cells, TextNumberCells) else 0
            new = IdentifierCells(self._type, int(different[-1]) + 1, width=width)
            return self._left_out("identifier", f"integers, another in each of {n} rows", new, state)
        if words is None and integral and set(different.tolist()) == {0.0, 1.0}:
            texts = [str(text) for text in distinct(cells.write(different))[1].to_pylist()]
            labels = LabelCells(tuple(texts), self._type)
            return Column(self.name, "boolean", "0 and 1", labels, categories_coding(2), state)
        step = _time_step(different) if words == "date" else _step(different, counts)
        if words != "date" and step:
            different, counts = _on_grid(different, counts, step)
            if isinstance(cells, TextNumberCells) and cells.most > 0:
                cells = replace(cells, most=max(cells.least, min(cells.most, round(-math.log10(step)))))
        word, lowest, highest, range_reason = _range(different, integral, words)
        coding = learn_numbers(different, counts, step=step, lowest=lowest, highest=highest)
        reason = ", ".join([reason, range_reason, *_spike(different, counts, cells)])
        if isinstance(cells, TextNumberCells | NumberCells) and word in ("real", "positive", "bounded") and step:
            reason += f", in steps of {step:g}"
        return Column(self.name, word, reason, cells, coding, state, is_ordered=True)

    def _counts_on(self, different: Floats, counts: NDArray[np.int64]) -> bool:
        """Whether integers are identifiers: another in every row, and one after the other or named so."""
        n = len(different)
        if n < _ENOUGH or counts.max() > 1:
            return False
        named = re.search(r"(^|[_\W])(id|key|nr|no|index|uuid)$", str(self.name).lower()) is not None
        dense = different[-1] - different[0] < (2 * n if named else n)
        return bool(dense or (named and n > 0.99 * self.columns.n))

    def _check_finite(self, different: Floats, cells: Cells) -> None:
        if np.isfinite(different).all():
            return
        row = int(np.flatnonzero(np.isinf(cells.read(self.cells)))[0])
        raise DataError(
            f"{self.columns.place(row, self.name)} is infinite. Correct it, or leave the cell empty: a missing value "
            "can be learnt, infinity cannot"
        )

    def _refuse(self, texts: Arrow) -> None:
        bad = texts.filter(np.isnan(parse_numbers(texts, ".")))
        text = str(bad[0] if len(bad) else texts[0])
        raise DataError(
            f"{self._where(text)} is {show(text)}, which does not fit kinds[{self.name!r}]={self.asked!r}. Correct the "
            "cell, say na_values=[{text!r}] (--missing {text}) if it stands for a missing value, or choose another kind"
        )

    def _where(self, text: str) -> str:
        places, texts = distinct(self.cells)
        row = int(np.flatnonzero(places == texts.to_pylist().index(text))[0])
        return self.columns.place(row, self.name)


_PLAIN = str.maketrans("", "", "{}")
#: Dates of eight digits are numbers, unless they are said to be dates.
COMPACT = "{Y}{m}{d}"
#: Beginnings of texts that a person takes for dates.
_LIKE_DATES = r"^\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})([T ,].*)?$"


def _saying(name: Name, kind: str) -> str:
    """How a kind is asked for, in Python and on the command line."""
    return f"kinds={{{name!r}: {kind!r}}} (--kind {shlex.quote(f'{name}={kind}')})"


def _fixed(value: float, cells: Cells, column_type: str) -> Cells:
    return ConstantCells(str(strings(cells.write(np.array([value])))[0]), column_type)


def _counted(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    different, counts = np.unique(values, return_counts=True)
    return different, counts


def _summed(values: Floats, counts: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Return different numbers and their counts from those of different texts: 1 and 1.0 are one number."""
    different, places = np.unique(values, return_inverse=True)
    return different, np.bincount(places, weights=counts).astype(np.int64)


def _fitting(texts: Arrow, template: str) -> NDArray[np.bool_]:
    """Which texts are times that are written so."""
    return ~np.isnan(parse_times(texts, template, padded=False))


def _number_format(texts: Arrow, mark: str, group: str) -> tuple[TextNumberCells, str]:
    """Return how numbers are written: the marks, the digits behind the point, and leading zeros."""
    from pyarrow import compute as pc

    plain = pc.utf8_trim_whitespace(texts)
    if group:
        plain = pc.replace_substring(plain, group, "")
    if pc.any(pc.match_substring_regex(plain, "[eE]")).as_py():
        return TextNumberCells(mark, group=group), "numbers, some with exponents"
    point = np.asarray(pc.find_substring(plain, mark), np.int64)
    tail = np.where(point < 0, 0, np.asarray(pc.utf8_length(plain), np.int64) - point - 1)
    least, most = int(tail.min()), int(tail.max())
    width = 0
    if pc.any(pc.match_substring_regex(plain, r"^[+-]?0\d")).as_py():
        whole = pc.replace_substring_regex(pc.replace_substring_regex(plain, r"[.,].*$", ""), r"^[+-]", "")
        lengths = pc.utf8_length(whole)
        width = int(pc.min(lengths).as_py())
    marks = ["a decimal comma"] * (mark == ",") + [f"{group!r} between thousands"] * bool(group)
    words = f" with {' and '.join(marks)}" if marks else ""
    if not most:
        return TextNumberCells(mark, 0, 0, width, group), f"integers{words if group else ''}"
    return TextNumberCells(mark, least, min(most, 17), width, group), f"decimals{words}"


def _step(different: Floats, counts: NDArray[np.int64]) -> float:
    """Return the grid of decimal places on which the numbers lie: 1, 0.1, ... down to a millionth; 0 if none.

    Numbers of more than six places do not count where they are below a hundredth of the rows: among measurements to one
    place, a few means with 15 are the exception, and what is made is to look like the rule.
    """
    highest = int(np.floor(50 - math.log2(max(1.0, float(np.abs(different).max())))) / math.log2(10))
    finest = 10.0 ** min(6, highest)
    regular = _lies_on(different, finest)
    if counts[~regular].sum() >= 0.01 * counts.sum():
        return 0.0
    for places in range(min(6, highest) + 1):
        if (
            _lies_on(different[:1000][regular[:1000]], 10.0**places).all()
            and _lies_on(different[regular], 10.0**places).all()
        ):
            return 10.0**-places
    return 0.0


def _lies_on(numbers: Floats, scale: float) -> NDArray[np.bool_]:
    scaled = numbers * scale
    return np.asarray(np.abs(scaled - np.rint(scaled)) <= 1e-6 + 1e-12 * np.abs(scaled))


def _on_grid(different: Floats, counts: NDArray[np.int64], step: float) -> tuple[Floats, NDArray[np.int64]]:
    """Return the different numbers after rounding to a grid, and their counts."""
    places = round(-math.log10(step))
    return _summed(np.round(different, places), counts)


def _time_step(different: Floats) -> float:
    for step in (float(DAY), 3600.0, 60.0, 1.0):
        if (different % step == 0).all():
            return step
    return 0.0


def _range(different: Floats, integral: bool, asked: str | None) -> tuple[str, float, float, str]:
    """Return a word for the range of the numbers, its ends, and the reason."""
    low, high, n = float(different[0]), float(different[-1]), len(different)
    span = f"{low:g} to {high:g}"
    if asked == "date":
        return "date", -math.inf, math.inf, f"{n} different"
    if asked == "bounded":
        return asked, low, high, span
    if asked == "real" or (asked is None and low < 0 and not integral):
        return "real", -math.inf, math.inf, span
    if asked == "positive" or (asked is None and not integral and (high > 1 or high - low < 0.2)):
        return "positive", min(0.0, low), math.inf, span
    if asked is None and not integral:
        return "bounded", 0.0, 1.0, f"{span}, within 0 and 1"
    if asked == "ordinal" or (asked is None and n <= _FEW_LEVELS):
        return "ordinal", low, high, f"{n} levels, {span}"
    if asked == "integer" or low < 0:
        return "integer", -math.inf, math.inf, f"{n} different, {span}"
    return "count", 0.0, math.inf, f"{n} different, {span}"


def _spike(different: Floats, counts: NDArray[np.int64], cells: Cells) -> list[str]:
    most = int(counts.argmax())
    share = counts[most] / counts.sum()
    if share < 0.3 or len(different) <= _FEW_LEVELS:
        return []
    return [f"{share:.0%} are {cells.write(different[[most]])[0]}"]


def _truth(names: Sequence[str]) -> tuple[str, str] | None:
    """Return false and true in the words of the column; None if these are no words for them."""
    by_word = {name.strip().lower(): name for name in names}
    for no, yes in _FALSE_TRUE:
        if len(names) == 2 and by_word.keys() == {no, yes}:
            return by_word[no], by_word[yes]
    return None


def _new_identifiers(names: Sequence[str], column_type: str, name: str) -> Cells:
    """Return how identifiers go on: a number in them counts on, or they are digests, or the column's name and a number.

    None of the new ones is among the old: its number is larger than theirs, or its digest is one of 64 bits or more.
    """
    runs = [list(re.finditer(r"\d+", text)) for text in names]
    n_runs = {len(found) for found in runs}
    if len(n_runs) == 1 and runs[0] and max(len(run.group()) for found in runs for run in found) <= 15:
        # Of several numbers in an identifier the one that differs most counts.
        place = max(range(len(runs[0])), key=lambda place: len({found[place].group() for found in runs}))
        counted = [found[place] for found in runs]
        ends = Counter((run.string[: run.start()], run.string[run.end() :]) for run in counted)
        before, after = min(ends, key=lambda both: (-ends[both], both))
        width = min(len(run.group()) for run in counted)
        return IdentifierCells(column_type, max(int(run.group()) for run in counted) + 1, before, after, width)
    groups = tuple(map(len, names[0].split("-")))
    digits = "-".join(f"[0-9a-fA-F]{{{size}}}" for size in groups)
    if sum(groups) >= 16 and all(re.fullmatch(digits, text) for text in names):
        start = int.from_bytes(hashlib.blake2b("\n".join(names).encode(), digest_size=6).digest(), "big")
        is_upper = any(text != text.lower() for text in names)
        return IdentifierCells(column_type, start, groups=groups, is_upper=is_upper)
    return IdentifierCells(column_type, 1, f"{name}-", "", 6)
