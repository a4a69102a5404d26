"""Constraints as they are typed and written, what known cells leave of the others, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.data import Combinations, Inequality, Range, Sum, TableSchema, learn_table_schema
from latentkit.data.table.axes import Axis
from latentkit.data.table.constraints import parse_constraint
from latentkit.data.table.holding import HeldTable

NAMES = ["start", "end", "net", "tax", "total", "a-b", "a", "b", "price < 5", 'in "quotes"', 7]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start <= end", [Inequality("start", "end")]),
        ("end>start", [Inequality("start", "end", strict=True)]),
        ("start < end <= total", [Inequality("start", "end", strict=True), Inequality("end", "total")]),
        ("total >= end > start", [Inequality("start", "end", strict=True), Inequality("end", "total")]),
        ("0 <= net <= 90", [Range("net", "0", "90")]),
        ("90 > net >= 0", [Range("net", "0", "90", inclusive="left")]),
        ("0 < net <= 90", [Range("net", "0", "90", inclusive="right")]),
        ("-5 < net < 5", [Range("net", "-5", "5", inclusive="neither")]),
        ("net < 5", [Range("net", high="5", inclusive="left")]),
        ("2020-01-01 <= start", [Range("start", low="2020-01-01")]),
        ("net > 0", [Range("net", low="0", inclusive="right")]),
        ("0 <= net <= tax", [Range("net", low="0"), Inequality("net", "tax")]),
        ("total = net + tax - a", [Sum("total", ("net", "tax"), ("a",))]),
        ("net+tax == total", [Sum("total", ("net", "tax"))]),
        ("total=-a+b", [Sum("total", ("b",), ("a",))]),
        ("total = a-b", [Sum("total", ("a-b",))]),
        ("total = a - b", [Sum("total", ("a",), ("b",))]),
        ("total = net+a-b", [Sum("total", ("net", "a"), ("b",))]),
        ('\'price < 5\' <= "in ""quotes"""', [Inequality("price < 5", 'in "quotes"')]),
        ("7 <= net", [Inequality(7, "net")]),
    ],
    ids=str,
)
def test_what_is_typed_is_understood_and_typed_again(text, expected) -> None:
    assert list(parse_constraint(text, NAMES)) == expected
    again = [part for constraint in expected for part in parse_constraint(str(constraint), NAMES)]
    assert again == expected


def test_combinations_are_typed_in_brackets() -> None:
    (found,) = parse_constraint("(start, 'price < 5')", NAMES, rows=[("x", "y")])
    assert (found.columns, found.rows) == (("start", "price < 5"), [("x", "y")])
    assert str(found) == '(start, "price < 5")'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start", "'start': there is no comparison in it, and no brackets around it.*Write 'start <= end'"),
        ("start <= ", "a side is empty"),
        ("start < end > net", "more than one comparison in it, of several directions"),
        ("start != end", r"constraint 'start != end' cannot be read\. Write"),
        ("0 <= 5", "neither '0' nor '5' is a column; the table has: start"),
        ("strt = end + net", "'strt' is no column.*Did you mean 'start'"),
        ("total = net + tx", "'tx' is no column.*Did you mean 'tax'"),
        ("net = 5", "'5' is no column. A fixed value is a condition"),
        ("total = -net", "nothing is added"),
        ("total = total + net", "'total' cannot be computed from itself"),
        ("(start, ende)", "'ende' is no column.*Did you mean 'end'"),
        ("(start, start)", "two or more different columns"),
        ("(start, end)", r"a model keeps no combinations of its data. Give .*Combinations\(\['start', 'end'\]"),
    ],
)
def test_texts_without_meaning_are_refused(text, message) -> None:
    rows = None if text == "(start, end)" else []
    with pytest.raises(InvalidParameterError, match=message):
        parse_constraint(text, NAMES, rows=rows)


def test_constraints_that_say_nothing_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="needs an end"):
        Range("net")
    with pytest.raises(InvalidParameterError, match="inclusive must be one of: both"):
        Range("net", 1, inclusive="all")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="takes lists of columns, of which plus= has at least one"):
        Sum("total", "net")
    with pytest.raises(InvalidParameterError, match="min_rows must be an integer of at least 1"):
        Combinations(("a", "b"), [], min_rows=0)


# -- in a table -------------------------------------------------------------------------------------------------------


def _table(n: int = 400, seed: int = 0) -> pa.Table:
    """Whole numbers, decimals, dates, categories with and without an order, and cells that are missing."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 12, n)
    net, tax = rng.lognormal(3, 1, n).round(2), rng.lognormal(1, 1, n).round(2)
    city = rng.choice(["Ulm", "Bonn", "Linz", "Bern"], n)
    size = pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, 3, n), pa.int8()), ["s", "m", "l"], ordered=True)
    other = pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, 2, n), pa.int8()), ["m", "l"], ordered=True)
    return pa.table(
        {
            "low": low,
            "high": pa.array(low + rng.integers(0, 9, n), mask=rng.random(n) < 0.2),
            "net": net,
            "tax": tax,
            "total": (net + tax).round(2),
            "measure": rng.normal(size=n),
            "start": pa.array(rng.integers(17_000, 18_000, n).astype(np.int32)).cast(pa.date32()),
            "minute": pa.array(rng.integers(0, 86_400, n).astype(np.int32)).cast(pa.time32("s")),
            "city": city,
            "country": pa.array([{"Ulm": "D", "Bonn": "D", "Linz": "A"}.get(name, "C") for name in city]),
            "size": size,
            "best": size,
            "other": other,
            "note": ["the same"] * n,
        }
    )


@pytest.fixture(scope="module")
def schema() -> TableSchema:
    return learn_table_schema(_table())


def _held(schema: TableSchema, *constraints, condition=None) -> HeldTable:
    return HeldTable(schema, constraints, condition or {}, order=range(len(schema.sizes)))


def _draw(held: HeldTable, n: int = 3000, seed: int = 0) -> torch.Tensor:
    """Rows of evenly drawn codes, each column within what the ones before it leave; rows that end are left out."""
    rng = np.random.default_rng(seed)
    sizes = held.schema.sizes
    rows = np.full((n, len(sizes)), np.nan, np.float32)
    alive = np.ones(n, bool)
    for column in (*held.columns, *(place for place in range(len(sizes)) if place not in held.columns)):
        low, high, value = np.zeros((1, sizes[column])), np.ones((1, sizes[column])), None
        if column in held.columns:
            left = held.region(column, rows.astype(np.float64))
            low, high, value = np.atleast_2d(left.low), np.atleast_2d(left.high), left.value
        low, high = (np.broadcast_to(end, (n, sizes[column])) for end in (low, high))
        chance = (high > low) + 1e-300
        alive &= (high > low).any(axis=1)
        codes = (chance.cumsum(1) / chance.sum(1, keepdims=True) > rng.random((n, 1))).argmax(axis=1)
        first, last = low[np.arange(n), codes], high[np.arange(n), codes]
        cells = codes + np.minimum(first + (last - first) * rng.random(n), 0.999)
        if value is not None:
            missing = -1 if held.schema.codes.missing_codes[column] is None else held.schema.missing_codes[column]
            cells = np.where(np.isnan(value) | (codes == missing), cells, value)
        rows[:, column] = cells
    assert alive.mean() > 0.3
    return torch.from_numpy(rows[alive])


def _columns(table: pa.Table) -> dict[str, np.ndarray]:
    return {name: table[name].to_pandas().to_numpy() for name in table.column_names}


def _is_null(values: np.ndarray) -> np.ndarray:
    return np.array([value is None or value != value for value in values])


def test_rows_keep_inequalities_in_the_values_that_are_seen(schema) -> None:
    held = _held(schema, "low < high", "net <= total", "size <= best", "-1 <= measure < 1", "3 < low <= 9")
    table = held.decode(_draw(held))
    assert held.holds(table).all()
    cells = _columns(table)
    gone = _is_null(cells["high"])
    assert 0 < gone.mean() < 0.9
    assert (cells["low"] < cells["high"])[~gone].all()
    assert (cells["net"] <= cells["total"]).all()
    rank = {"s": 0, "m": 1, "l": 2}
    assert all(rank[a] <= rank[b] for a, b in zip(cells["size"], cells["best"], strict=True))
    assert set(cells["low"]) == {4, 5, 6, 7, 8, 9}
    assert (cells["measure"] >= -1).all()
    assert (cells["measure"] < 1).all()
    free = _held(schema).decode(_draw(_held(schema)))
    assert not held.holds(free).all()


def test_sums_are_exact_to_the_decimals_of_the_table(schema) -> None:
    held = _held(schema, "total = net + tax", "20 <= total <= 60")
    assert held.columns.index(schema.locate("total")[0]) == 2
    cells = _columns(held.decode(_draw(held)))
    assert np.array_equal(cells["total"], (cells["net"] + cells["tax"]).round(2))
    assert cells["total"].min() >= 20
    assert cells["total"].max() <= 60


def test_a_sum_with_a_missing_term_is_free_and_one_term_is_equality(schema) -> None:
    held = _held(schema, Sum("low", ("high",)))
    cells = _columns(held.decode(_draw(held)))
    gone = _is_null(cells["high"])
    assert gone.any()
    assert (cells["low"] == cells["high"])[~gone].all()
    assert len(set(cells["low"][gone])) > 5


def test_chains_leave_room_for_the_column_between(schema) -> None:
    """The ends are drawn first, and must not cross: the middle can never be missing."""
    held = _held(schema, "net <= tax <= total")
    order = [schema.locate(name)[0] for name in ("net", "total", "tax")]
    held = HeldTable(schema, ["net <= tax <= total"], {}, order=order)
    assert held.columns == tuple(order)
    table = held.decode(_draw(held))
    cells = _columns(table)
    assert (cells["net"] <= cells["total"]).all()
    assert held.holds(table).all()


def test_a_column_that_may_be_missing_ties_nothing_until_it_is_drawn(schema) -> None:
    order = [schema.locate(name)[0] for name in ("low", "net", "high")]
    held = HeldTable(schema, ["low <= high <= net"], {}, order=order)
    table = held.decode(_draw(held))
    cells = _columns(table)
    gone = _is_null(cells["high"])
    assert held.holds(table).all()
    assert (cells["low"] <= cells["net"])[~gone].all()
    assert (cells["low"] > cells["net"])[gone].any()


def test_only_given_combinations_are_left(schema) -> None:
    held = _held(schema, Combinations(("city", "country"), _table()))
    cells = _columns(held.decode(_draw(held)))
    pairs = set(zip(cells["city"], cells["country"], strict=True))
    assert pairs == {("Ulm", "D"), ("Bonn", "D"), ("Linz", "A"), ("Bern", "C")}
    listed = _held(schema, Combinations(("country", "city"), [("D", "Ulm"), ("A", "Linz")]))
    cells = _columns(listed.decode(_draw(listed)))
    assert set(zip(cells["city"], cells["country"], strict=True)) == {("Ulm", "D"), ("Linz", "A")}
    asked = _held(schema, Combinations(("city", "country"), _table()), condition={"country": "D"})
    assert set(_columns(asked.decode(_draw(asked)))["city"]) == {"Ulm", "Bonn"}


def test_rare_combinations_can_be_kept_back(schema) -> None:
    rows = pa.table({"city": ["Ulm"] * 5 + ["Linz"], "country": ["D"] * 5 + ["A"]})
    held = _held(schema, Combinations(("city", "country"), rows, min_rows=2))
    assert set(_columns(held.decode(_draw(held)))["city"]) == {"Ulm"}


def test_combinations_of_very_many_categories_are_held_digit_by_digit() -> None:
    rng = np.random.default_rng(0)
    shops = [f"shop {number}" for number in range(1500)]
    table = pa.table({"shop": shops * 2, "region": [f"r{number % 7}" for number in range(1500)] * 2})
    schema = learn_table_schema(table, kinds={"shop": "categorical", "region": "categorical"})
    assert len(schema.locate("shop")) == 2
    places = list(range(3))
    rng.shuffle(places)
    for order in itertools.permutations(range(3)):
        held = HeldTable(schema, [Combinations(("shop", "region"), table)], {}, order=order)
        drawn = held.decode(_draw(held, 500))
        assert all(int(a[5:]) % 7 == int(b[1:]) for a, b in zip(*_columns(drawn).values(), strict=True))
        assert held.holds(drawn).all()


def test_numbers_of_few_values_can_be_combined(schema) -> None:
    held = _held(schema, Combinations(("city", "low"), [("Ulm", 3), ("Bonn", 4.0), ("Bonn", 11)]))
    table = held.decode(_draw(held))
    assert {(row["city"], row["low"]) for row in table.to_pylist()} == {("Ulm", 3), ("Bonn", 4), ("Bonn", 11)}
    assert held.holds(table).all()
    assert not held.holds(_table()).all()
    with pytest.raises(InvalidParameterError, match="hold no combination of categories that the model knows"):
        _held(schema, Combinations(("city", "low"), [("Ulm", 3.5)]))


def test_combinations_with_a_missing_cell_are_free() -> None:
    table = pa.table({"a": ["x", "y", None] * 20, "b": ["p", "q", "q"] * 20})
    schema = learn_table_schema(table)
    for order in ((0, 1), (1, 0)):
        held = HeldTable(schema, [Combinations(("a", "b"), table)], {}, order=order)
        rows = held.decode(_draw(held)).to_pylist()
        assert {(row["a"], row["b"]) for row in rows} == {("x", "p"), ("y", "q"), (None, "p"), (None, "q")}


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (["low <= hihg"], r"cannot be read as that\. Did you mean 'high'"),
        ([Inequality("low", "hihg")], "there is no column 'hihg'.*Did you mean 'high'"),
        (["low <= start"], "'low <= start': the columns cannot be compared: 'low' is ordinal .* and 'start' is date"),
        (["start <= minute"], "cannot be compared: 'start' is date .* and 'minute' is date"),
        (["size <= other"], "cannot be compared.*must be the same, in the same order"),
        (["city <= country"], "column 'city' is categorical .*: its values have no order"),
        (["size <= xl"], "no category 'xl'; it has 's', 'm', 'l'"),
        (["note <= low"], "column 'note' is left out"),
        (["total = net + start"], "column 'start' is date .*; only numbers can be added"),
        (["low > 90"], "no row can keep '90 < low'. To the model, 'low' goes from 0 to 11"),
        (["low <= 3", "0 <= net", "low >= 7"], "no row can keep 'low <= 3' and '7 <= low' together"),
        (["net < tax", "tax <= total", "total <= net"], "'net < tax' and 'tax <= total' and 'total <= net' together"),
        (["measure < net", "net < measure"], "'measure < net' and 'net < measure' together"),
        (
            ["total = net + tax", "net >= 60", "total <= 50"],
            "'total = .*' and '60 <= net' and 'total <= 50' together",
        ),
        (
            ["total = net + tax", "total = net"],
            "'total' is computed twice: 'total = net . tax' and 'total = net'",
        ),
        (["total = net + tax", "net = total - tax"], "computed from each other in a circle"),
        ([Combinations(("city", "net"), [])], "combinations are of categories, and column 'net' is positive"),
        ([Combinations(("city", "country"), [("Ulm",)])], r"takes rows of 2 values each; got \('Ulm',\)"),
        ([Combinations(("city", "country"), [("Ulmm", "D")])], "no category 'Ulmm'.*Did you mean 'Ulm'"),
        ([Combinations(("city", "country"), [])], "hold no combination of categories that the model knows"),
        (
            [Combinations(("city", "country"), pa.table({"city": ["Ulm"]}))],
            r"for \(city, country\) has no column",
        ),
        ([5], "a constraint is a text such as .*; got 5"),
    ],
)
def test_what_makes_no_sense_or_cannot_be_is_refused(schema, constraints, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        _held(schema, *constraints)


def test_contradictions_with_conditions_are_named(schema) -> None:
    with pytest.raises(InvalidParameterError, match="no row can keep the condition on 'low' and 'low < 4' together"):
        _held(schema, "low < 4", condition={"low": (5, 9)})
    with pytest.raises(InvalidParameterError, match=r"no combination that \(city, country\) allows fits the condition"):
        _held(schema, Combinations(("city", "country"), _table()), condition={"city": "Ulm", "country": "A"})
    held = _held(schema, "low <= high", condition={"high": None})
    assert _is_null(_columns(held.decode(_draw(held)))["high"]).all()


def test_bounds_are_parts_of_codes(schema) -> None:
    """Every value inside the bounds has a place in the parts of the codes that are left, and no other has."""
    for name in ("low", "net", "start"):
        axis = Axis(schema.column(name), schema.locate(name)[0])
        values = np.unique(schema.numbers(_table()).values[:, list(schema.feature_names).index(name)])
        low, high = np.full(len(values), values[40 % len(values) // 2]), np.full(len(values), values[-5])
        u = axis.encode(values)
        codes = u.astype(np.int64)
        first, last = (part[np.arange(len(values)), codes] for part in axis.parts(low, high))
        inside = (u - codes >= first - 1e-6) & (u - codes <= last + 1e-6) & (last > first)
        assert np.array_equal(inside, (values >= low) & (values <= high)), name
        assert (axis.above(values) == values).all()
        assert (axis.above(values, strict=True) > values).all()
        assert (axis.below(values, strict=True) < values).all()
