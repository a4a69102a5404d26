"""Constraints: what every row of a table has to keep, in classes, and as they are typed (``start <= end``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer, suggestion
from latentkit.data.containers import Name

__all__ = ["FORMS", "Combinations", "Constraint", "Inequality", "Range", "Sum", "parse_constraint"]

#: What can be typed, for messages.
FORMS = (
    "Write 'start <= end', '0 <= age < 90', 'total = net + tax', or '(city, country)', with quotes around names that "
    "hold such marks"
)


@final
@dataclass(frozen=True, slots=True)
class Inequality:
    """One column is never above another: numbers, dates and times, or categories of one order.

    Args:
        low: Column of the lower values.
        high: Column of the higher values.
        strict: Whether equal values are forbidden, too.

    Example:
        >>> print(Inequality("start", "end"))
        start <= end
    """

    low: Name
    high: Name
    strict: bool = False

    def __str__(self) -> str:
        """Return it as it is typed."""
        return f"{_quoted(self.low)} {'<' if self.strict else '<='} {_quoted(self.high)}"


@final
@dataclass(frozen=True, slots=True)
class Range:
    """A column lies between fixed ends: numbers, dates and times, or categories that have an order.

    Args:
        column: The column.
        low: Lower end, as a value of the column or as text; None is open.
        high: Upper end; None is open.
        inclusive: Which ends belong to the range.

    Raises:
        InvalidParameterError: If both ends are open.

    Example:
        >>> print(Range("age", 0, 90, inclusive="left"))
        0 <= age < 90
    """

    column: Name
    low: Any = None
    high: Any = None
    inclusive: Literal["both", "left", "right", "neither"] = "both"

    def __post_init__(self) -> None:
        """Check the ends."""
        check_choice("inclusive", self.inclusive, ("both", "left", "right", "neither"))
        if self.low is None and self.high is None:
            raise InvalidParameterError(f"a range of column {self.column!r} needs an end: give low=, high= or both.")

    @property
    def is_open(self) -> tuple[bool, bool]:
        """Whether the lower and the upper end do not belong to the range."""
        return self.inclusive in ("right", "neither"), self.inclusive in ("left", "neither")

    def __str__(self) -> str:
        """Return it as it is typed."""
        below, above = ("<" if is_open else "<=" for is_open in self.is_open)
        low = "" if self.low is None else f"{self.low} {below} "
        return f"{low}{_quoted(self.column)}" + ("" if self.high is None else f" {above} {self.high}")


@final
@dataclass(frozen=True, slots=True)
class Sum:
    r"""A column of numbers is the sum of others, less further ones, to its own decimals.

    .. math:: x = \sum_{j \in plus} x_j - \sum_{j \in minus} x_j

    It is computed from the others. With one term and nothing less it says that two columns are equal, and then takes
    dates and times, too.

    Args:
        column: The column that is computed.
        plus: Columns that are added, at least one.
        minus: Columns that are taken off.

    Raises:
        InvalidParameterError: If nothing is added, or the column is among its own terms.

    Example:
        >>> print(Sum("total", ("net", "tax"), minus=("discount",)))
        total = net + tax - discount
    """

    column: Name
    plus: Sequence[Name]
    minus: Sequence[Name] = ()

    def __post_init__(self) -> None:
        """Check the terms."""
        if isinstance(self.plus, str) or isinstance(self.minus, str) or not self.plus:
            raise InvalidParameterError(
                f"the sum {self.column!r} takes lists of columns, of which plus= has at least one; got "
                f"plus={self.plus!r}, minus={self.minus!r}."
            )
        if self.column in self.terms:
            raise InvalidParameterError(f"column {self.column!r} cannot be computed from itself. Leave it out.")

    @property
    def terms(self) -> tuple[Name, ...]:
        """The columns that it is computed from."""
        return (*self.plus, *self.minus)

    def __str__(self) -> str:
        """Return it as it is typed."""
        less = "".join(f" - {_quoted(name)}" for name in self.minus)
        return f"{_quoted(self.column)} = {' + '.join(map(_quoted, self.plus))}{less}"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Combinations:
    """Columns of categories hold no other combination than given ones, such as cities in their countries.

    A model keeps none of the combinations that it was fitted to: they are facts of the data, and a rare one may be
    somebody's. Give a table that you may tell from.

    Args:
        columns: The columns, at least two.
        rows: A table with these columns (others do not matter), or the path of one, of which the combinations are the
            allowed ones; or a list of them. ``[(1, 0, 0), (0, 1, 0), (0, 0, 1)]`` says that one of three is set.
        min_rows: Rows of the table in which a combination stands at least, so that rare ones are not handed out.

    Raises:
        InvalidParameterError: If there are fewer than two columns.

    Example:
        >>> print(Combinations(("city", "country"), [("Ulm", "Germany"), ("Linz", "Austria")]))
        (city, country)
    """

    columns: Sequence[Name]
    rows: Any
    min_rows: int = 1

    def __post_init__(self) -> None:
        """Check the columns."""
        check_integer("min_rows", self.min_rows, low=1)
        if isinstance(self.columns, str) or len(set(self.columns)) < max(2, len(self.columns)):
            raise InvalidParameterError(f"combinations are of two or more different columns; got {self.columns!r}.")

    def __str__(self) -> str:
        """Return it as it is typed."""
        return f"({', '.join(map(_quoted, self.columns))})"


Constraint: TypeAlias = Inequality | Range | Sum | Combinations

_QUOTED = r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\''
_COMPARISON = re.compile(rf"({_QUOTED}|<=|>=|==|!=|<|>|=)")
_COMMA = re.compile(rf"({_QUOTED}|,)")
_SPACED_SIGN = re.compile(rf"({_QUOTED}|(?<=\s)[+-](?=\s))")
_SIGN = re.compile(rf"({_QUOTED}|[+-])")


def parse_constraint(text: str, names: Sequence[Name], *, rows: Any = None) -> tuple[Constraint, ...]:
    """Return what a text says that every row has to keep.

    Args:
        text: An inequality of columns or values, ``a <= b``, ``a < b <= c``, ``0 <= a``; a sum ``a = b + c - d``; or
            ``(a, b)`` for the combinations of `rows`. A name that holds a mark such as ``<`` or ``=`` stands in quotes,
            single or double; a value that is the name of a column is one.
        names: Names of the columns of the table.
        rows: Table of which the combinations are the allowed ones.
    Raises:
        InvalidParameterError: If it cannot be read, or names columns that there are not; the nearest is suggested.

    Example:
        >>> [str(part) for part in parse_constraint("0 < net <= gross", ["net", "gross"])]
        ['0 < net', 'net <= gross']
    """
    reader = _Reader(text, {str(name): name for name in names})
    parts = _split(_COMPARISON, text)
    marks = parts[1::2]
    if not marks:
        return (reader.combinations(text.strip(), rows),)
    if marks in (["="], ["=="]):
        return (reader.sum(*parts[::2]),)
    if set(marks) <= {"<", "<="}:
        return reader.chain(parts)
    if set(marks) <= {">", ">="}:
        return reader.chain([part.replace(">", "<") if part in (">", ">=") else part for part in reversed(parts)])
    raise reader.error("there is more than one comparison in it, of several directions" if len(marks) > 1 else "")


def _split(marks: re.Pattern[str], text: str) -> list[str]:
    """Return what stands between marks, and the marks, in turn; marks in quotes do not count."""
    parts = [""]
    for piece in marks.split(text):
        if marks.fullmatch(piece) and piece[0] not in "\"'":
            parts += [piece, ""]
        else:
            parts[-1] += piece
    return [part.strip() for part in parts]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the parts of one text."""

    text: str
    names: dict[str, Name]

    def chain(self, parts: Sequence[str]) -> tuple[Constraint, ...]:
        """An ascending chain of columns and values, with its marks between."""
        sides, marks = parts[::2], parts[1::2]
        columns = [self._column(side) for side in sides]
        if len(sides) == 3 and columns[0] is None and columns[1] is not None and columns[2] is None:
            inclusive: Any = {"<=<=": "both", "<=<": "left", "<<=": "right", "<<": "neither"}["".join(marks)]
            return (Range(columns[1], self._value(sides[0]), self._value(sides[2]), inclusive),)
        return tuple(self._compared(sides, columns, marks, place) for place in range(len(marks)))

    def _compared(
        self, sides: Sequence[str], columns: Sequence[Name | None], marks: Sequence[str], place: int
    ) -> Constraint:
        low, high, is_strict = columns[place], columns[place + 1], marks[place] == "<"
        if low is not None and high is not None:
            return Inequality(low, high, is_strict)
        if high is not None:
            return Range(high, low=self._value(sides[place]), inclusive="right" if is_strict else "both")
        if low is not None:
            return Range(low, high=self._value(sides[place + 1]), inclusive="left" if is_strict else "both")
        raise self._unknown(sides[place], f"neither {sides[place]!r} nor {sides[place + 1]!r} is a column")

    def sum(self, left: str, right: str) -> Sum:
        """A column that equals a sum of columns; the column stands on either side."""
        if self._column(left) is None and self._column(right) is not None:
            left, right = right, left
        column = self._column(left)
        if column is None:
            raise self._unknown(left, f"{left!r} is no column")
        terms = self._terms(right)
        plus = [name for sign, name in terms if sign == "+"]
        if not plus:
            raise self.error("nothing is added")
        return Sum(column, tuple(plus), tuple(name for sign, name in terms if sign == "-"))

    def _terms(self, text: str) -> list[tuple[str, Name]]:
        """Signs and names of a sum: a sign with spaces around, or any where names hold none."""
        for marks in (_SPACED_SIGN, _SIGN):
            first, *others = _split(marks, text)
            parts = ["+", first, *others] if first else others
            pairs = list(zip(parts[::2], parts[1::2], strict=True))
            named = [(sign, column) for sign, name in pairs if (column := self._column(name)) is not None]
            if len(named) == len(pairs):
                return named
        unknown = next(name for _, name in pairs if self._column(name) is None)
        hint = "" if len(pairs) > 1 else ". A fixed value is a condition: condition= (--where)"
        raise self._unknown(unknown, f"{unknown!r} is no column{hint}")

    def combinations(self, text: str, rows: Any) -> Combinations:
        """Names in brackets."""
        if not (text.startswith("(") and text.endswith(")")):
            raise self.error("there is no comparison in it, and no brackets around it")
        columns = []
        for name in _split(_COMMA, text[1:-1])[::2]:
            column = self._column(name)
            if column is None:
                raise self._unknown(name, f"{name!r} is no column")
            columns.append(column)
        if rows is None:
            raise self.error(
                f"a model keeps no combinations of its data. Give latentkit.data.Combinations({columns!r}, rows=table) "
                "with a table that has the allowed ones",
                forms=False,
            )
        return Combinations(tuple(columns), rows)

    def _column(self, text: str) -> Name | None:
        return self.names.get(text, self.names.get(_unquoted(text)))

    def _value(self, text: str) -> str:
        if not text:
            raise self.error("a side is empty")
        return _unquoted(text)

    def _unknown(self, name: str, what: str) -> InvalidParameterError:
        shown = ", ".join(list(self.names)[:20]) + (", ..." if len(self.names) > 20 else "")
        return InvalidParameterError(
            f"constraint {self.text!r}: {what}; the table has: {shown}.{suggestion(_unquoted(name), self.names)}"
        )

    def error(self, what: str, *, forms: bool = True) -> InvalidParameterError:
        """What is wrong with the text."""
        reason = f": {what}" if what else " cannot be read"
        return InvalidParameterError(f"constraint {self.text!r}{reason}.{f' {FORMS}.' if forms else ''}")


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        return text[1:-1].replace(text[0] * 2, text[0])
    return text


def _quoted(name: Name) -> str:
    text = str(name)
    return '"' + text.replace('"', '""') + '"' if re.search(r"[<>=!,+()\"'-]", text) else text
