"""Holding rows to constraints: what the known cells of a row leave of the others, and whether rows keep them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion
from latentkit.data.containers import Name
from latentkit.data.table.axes import Axis, is_axis
from latentkit.data.table.codings import Allowed
from latentkit.data.table.combining import CodeTuples, learn_tuples
from latentkit.data.table.constraints import Combinations, Constraint, Inequality, Range, Sum, parse_constraint
from latentkit.data.table.frames import to_columns
from latentkit.data.table.rules import Bounds, OrderRule, RangeRule, Rule, SumRule, contradict
from latentkit.data.table.schema import TableSchema

__all__ = ["HeldTable", "Left"]

Floats: TypeAlias = NDArray[np.float64]
Parts: TypeAlias = NDArray[np.float32]


@final
@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a model column.

    Attributes:
        low: First position inside each code, shape (n, codes), or (codes,) where it is the same for all rows.
        high: Last position; where it is not above the first, the code is left out.
        value: The code with position that stands in a row, shape (n,), where nothing but "missing" may stand for it
            otherwise; NaN where a row is free. None where all are.
    """

    low: Parts
    high: Parts
    value: Parts | None = None

    def computed(self, u: Floats, allowed: Left, missing: int | None) -> Left:
        """Return this with cells that are computed, shape (n,), NaN where they are not, as far as they are allowed.

        How probable a model takes a computed cell to be does not count, only whether it is missing: all codes stay.
        """
        is_set = ~np.isnan(u)
        code = np.where(is_set, u, 0).astype(np.int64)[:, None]
        first, last = (np.broadcast_to(end, self.low.shape) for end in (allowed.low, allowed.high))
        first, last = np.take_along_axis(first, code, 1), np.take_along_axis(last, code, 1)
        inside = u[:, None] - code
        fits = (inside >= first) & (inside <= last) & (first < last)
        codes = np.arange(self.low.shape[1])
        replaced = is_set[:, None] & (codes != missing)
        low = np.where(replaced, np.float32(0.0), self.low)
        high = np.where(replaced, fits.astype(np.float32), self.high)
        return Left(low, high, np.where(fits[:, 0], u, np.nan).astype(np.float32))


@final
class HeldTable:
    """A table whose rows are held to conditions and constraints, cell by cell in an order.

    A constraint with a missing cell holds, as in SQL.

    Args:
        schema: Schema of the table.
        constraints: What each row has to keep, also as it is typed (:func:`parse_constraint`).
        condition: What columns shall hold, as :meth:`TableSchema.allowed` takes it.
        order: The model columns in the order in which they are drawn; sums are moved behind their terms.

    Raises:
        InvalidParameterError: If there is no such column, values cannot be compared or added, a text makes no sense,
            or the constraints contradict each other; those that do are named.

    Example:
        >>> import pyarrow as pa
        >>> from latentkit.data import learn_table_schema
        >>> table = pa.table({"net": [3, 4, 5, 9] * 9, "gross": [4, 4, 6, 9] * 9})
        >>> held = HeldTable(learn_table_schema(table), ["net <= gross"], {}, order=[0, 1])
        >>> held.region(1, np.array([[1.5, np.nan]])).high
        array([[1., 1., 1.]], dtype=float32)
        >>> held.region(1, np.array([[2.5, np.nan]])).high
        array([[0., 1., 1.]], dtype=float32)
    """

    def __init__(
        self,
        schema: TableSchema,
        constraints: Sequence[Constraint | str],
        condition: Mapping[Any, Any],
        *,
        order: Sequence[int],
    ) -> None:
        self.schema = schema
        self._asked = {place: part for name, value in condition.items() for place, part in self._ask(name, value)}
        self._axes: dict[Name, Axis] = {}
        rules = [rule for name in condition if is_axis(schema.column(name)) for rule in self._asked_range(name)]
        self._tuples: list[CodeTuples] = []
        for constraint in _read(schema, constraints):
            if isinstance(constraint, Combinations):
                self._tuples.append(learn_tuples(schema, constraint).within(self._asked))
            else:
                rules.append(self._rule(constraint))
        self._rules: list[Rule] = list(rules)
        self._sums = {rule.total.name: rule for rule in rules if isinstance(rule, SumRule)}
        self._refuse_contradictions()
        held = {*self._asked, *(axis.place for axis in self._axes.values())}
        held.update(place for tuples in self._tuples for place in tuples.places)
        self.columns = self._ordered([place for place in order if place in held])

    # What was given

    def _ask(self, name: Name, value: Any) -> list[tuple[int, Allowed]]:
        return list(self.schema.allowed(name, value).items())

    def _asked_range(self, name: Name) -> list[Rule]:
        """The range of the values that a condition leaves; none where it leaves "missing" alone."""
        axis = self._axis(name)
        low, high = axis.hull(self._asked[axis.place])
        return [RangeRule(f"the condition on {name!r}", axis, low, high)] if low <= high else []

    def _axis(self, name: Name) -> Axis:
        if name not in self._axes:
            column = self.schema.column(name)
            self._axes[name] = Axis(column, next(iter(self.schema.locate(name)), -1))
        return self._axes[name]

    def _rule(self, constraint: Inequality | Range | Sum) -> Rule:
        text = repr(str(constraint))
        if isinstance(constraint, Inequality):
            low, high = self._axis(constraint.low), self._axis(constraint.high)
            _check_comparable(text, low, high)
            return OrderRule(text, low, high, constraint.strict)
        if isinstance(constraint, Sum):
            return self._sum_rule(constraint)
        axis = self._axis(constraint.column)
        first, last = self._end(axis, constraint.low, -np.inf), self._end(axis, constraint.high, np.inf)
        no_first, no_last = constraint.is_open
        ends = axis.above(np.array(first), strict=no_first), axis.below(np.array(last), strict=no_last)
        return RangeRule(text, axis, *map(float, ends))

    def _end(self, axis: Axis, value: Any, default: float) -> float:
        try:
            return axis.read(value, default)
        except InvalidParameterError as error:
            near = suggestion(str(value), [str(name) for name in self.schema.feature_names])
            raise InvalidParameterError(f"{error}.{near}" if near else str(error)) from None

    def _sum_rule(self, constraint: Sum) -> Rule:
        total, *terms = (self._axis(name) for name in (constraint.column, *constraint.terms))
        if len(terms) == 1:
            _check_comparable(repr(str(constraint)), total, terms[0])
        else:
            for axis in (total, *terms):
                if not axis.is_number:
                    raise InvalidParameterError(
                        f"constraint {str(constraint)!r}: column {axis.name!r} is {axis.column.kind} "
                        f"({axis.column.reason}); only numbers can be added."
                    )
        n_plus = len(constraint.plus)
        return SumRule(repr(str(constraint)), total, tuple(terms[:n_plus]), tuple(terms[n_plus:]))

    def _refuse_contradictions(self) -> None:
        if not contradict(self._rules):
            return
        left = list(self._rules)
        for rule in self._rules:
            others = [other for other in left if other is not rule]
            if contradict(others):
                left = others
        axes = {axis.name: axis for rule in left for axis in rule.axes}
        spans = "; ".join(
            f"{name!r} goes from {axis.show(axis.lowest)} to {axis.show(axis.highest)}" for name, axis in axes.items()
        )
        together = " together" if len(left) > 1 else ""
        texts = " and ".join(rule.text for rule in left)
        raise InvalidParameterError(f"no row can keep {texts}{together}. To the model, {spans}.")

    def _ordered(self, places: Sequence[int]) -> tuple[int, ...]:
        """The model columns with each sum behind its terms."""
        ordered = list(places)
        sums = [rule for rule in self._rules if isinstance(rule, SumRule)]
        totals = [rule.total.name for rule in sums]
        for rule in sums:
            if totals.count(rule.total.name) > 1:
                texts = " and ".join(other.text for other in sums if other.total.name == rule.total.name)
                raise InvalidParameterError(f"column {rule.total.name!r} is computed twice: {texts}. Leave one out.")
        for _ in range(len(sums) + 1):
            moved = False
            for rule in sums:
                last = max(ordered.index(axis.place) for axis in rule.axes[1:])
                if last > ordered.index(rule.total.place):
                    ordered.insert(last, ordered.pop(ordered.index(rule.total.place)))
                    moved = True
            if not moved:
                return tuple(ordered)
        texts = ", ".join(rule.text for rule in sums)
        raise InvalidParameterError(f"sums are computed from each other in a circle: {texts}. Leave one out.")

    # What is left of a column

    def region(self, column: int, rows: Floats) -> Left:
        """Return what known cells leave of a model column.

        Args:
            column: The model column, one of `columns`.
            rows: Codes with positions, shape (n, model columns), NaN where unknown.
        """
        size = self.schema.codes.cardinalities[column]
        low, high = np.zeros(size, np.float32), np.ones(size, np.float32)
        if column in self._asked:
            asked = self._asked[column]
            low, high = asked.low.astype(np.float32), np.where(asked.codes, asked.high, 0.0).astype(np.float32)
        for tuples in self._tuples:
            if column in tuples.places:
                high = np.minimum(high, tuples.allowed(column, size, rows).astype(np.float32))
        axis = next((axis for axis in self._axes.values() if axis.place == column), None)
        return Left(low, high) if axis is None else self._bounded(Left(low, high), axis, rows)

    def _bounded(self, allowed: Left, axis: Axis, rows: Floats) -> Left:
        """What rules leave of what conditions and combinations allow."""
        known = {name: (other.values(rows), other.is_known(rows)) for name, other in self._tied(axis).items()}
        lowest, highest = self._bounds(axis, known, len(rows))
        first, last = axis.parts(lowest, highest)
        missing = ((0, 0), (0, int(axis.can_be_missing)))
        first, last = np.pad(first, missing), np.pad(last, missing, constant_values=1.0)
        bounded = Left(np.maximum(allowed.low, first), np.minimum(allowed.high, last))
        rule = self._sums.get(axis.name)
        if rule is None:
            return bounded
        terms = np.stack([known[term.name][0] for term in rule.axes[1:]])
        is_set = (lowest <= highest) & ~np.isnan(terms).any(axis=0)
        u = axis.encode(np.where(is_set, lowest, np.nan))
        return bounded.computed(u, allowed, self.schema.codes.missing_codes[axis.place])

    def _tied(self, axis: Axis) -> dict[Name, Axis]:
        """The axes that rules tie to an axis, also by way of others."""
        names = {axis.name}
        for _ in self._rules:
            for rule in self._rules:
                if any(other.name in names for other in rule.axes):
                    names.update(other.name for other in rule.axes)
        return {name: other for name, other in self._axes.items() if name in names}

    def _bounds(
        self, target: Axis, known: Mapping[Name, tuple[Floats, NDArray[np.bool_]]], n: int
    ) -> tuple[Floats, Floats]:
        """The lowest and highest values that are left of an axis, shape (n,), given values and which are known."""
        tied = self._tied(target)
        low, high, is_open = {}, {}, {}
        for name, axis in tied.items():
            values, is_known = known.get(name, (np.full(n, np.nan), np.zeros(n, np.bool_)))
            is_known = is_known & (name != target.name)
            # A cell that may yet turn out to be missing ties nothing to anything.
            is_open[name] = ~is_known & (name == target.name or not self._may_miss(axis))
            is_there = is_known & ~np.isnan(values)
            low[name] = np.where(is_there, values, np.where(is_open[name], axis.lowest, -np.inf))
            high[name] = np.where(is_there, values, np.where(is_open[name], axis.highest, np.inf))
        bounds = Bounds(low, high, is_open)
        rules = [rule for rule in self._rules if rule.axes[0].name in tied]
        for _ in rules:
            for rule in rules:
                rule.narrow(bounds)
        return bounds.low[target.name], bounds.high[target.name]

    def _may_miss(self, axis: Axis) -> bool:
        asked = self._asked.get(axis.place)
        return axis.can_be_missing and (asked is None or bool(asked.codes[-1]))

    # Rows

    def decode(self, x: Tensor) -> Any:
        """Return codes as a table that keeps the constraints in the values that the user sees.

        A position inside a code is a number of single precision: numbers are moved by its rounding, and sums computed
        from their terms.

        Args:
            x: Codes with positions, shape (n, model columns), drawn within :meth:`region`.
        """
        values = self.schema.read_codes(x)
        places = {column.name: index for index, column in enumerate(self.schema.columns)}
        settled: dict[Name, tuple[Floats, NDArray[np.bool_]]] = {}
        axes = sorted(self._axes.values(), key=lambda axis: self.columns.index(axis.place))
        for axis in axes:
            cells = values[places[axis.name]]
            low, high = self._bounds(axis, settled, len(cells))
            cells = np.where(low <= high, np.clip(cells, low, high), cells)
            values[places[axis.name]] = cells
            settled[axis.name] = (cells, np.ones(len(cells), np.bool_))
        return self.schema.write(values)

    def holds(self, data: Any) -> NDArray[np.bool_]:
        """Return which rows of a table keep all constraints and conditions on values with an order, shape (n,)."""
        if not self._rules and not self._tuples:
            return np.ones(to_columns(data).n, np.bool_)
        table = to_columns(data).ordered(self.schema.feature_names)
        arrays = dict(zip(table.names, table.arrays, strict=True))
        values = {name: axis.column.read(arrays[name])[0] for name, axis in self._axes.items()}
        kept = np.ones(table.n, np.bool_)
        for rule in self._rules:
            kept &= rule.holds(values)
        for tuples in self._tuples:
            kept &= tuples.holds(arrays)
        return kept


def _read(schema: TableSchema, constraints: Sequence[Constraint | str]) -> Iterator[Constraint]:
    for constraint in constraints:
        if isinstance(constraint, str):
            yield from parse_constraint(constraint, schema.feature_names)
        elif isinstance(constraint, Constraint):
            yield constraint
        else:
            raise InvalidParameterError(
                f"a constraint is a text such as 'start <= end', one of Inequality, Range, Sum and Combinations of "
                f"latentkit.data, or a function of the rows; got {constraint!r}."
            )


def _check_comparable(text: str, first: Axis, second: Axis) -> None:
    if first.unit == second.unit:
        return
    kinds = " and ".join(f"{axis.name!r} is {axis.column.kind} ({axis.column.reason})" for axis in (first, second))
    order = " The categories of both must be the same, in the same order."
    hint = order if "order" in first.unit + second.unit else ""
    raise InvalidParameterError(f"constraint {text}: the columns cannot be compared: {kinds}.{hint}")
