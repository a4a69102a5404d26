"""New rows that keep constraints, through an estimator: what is seen keeps them, as by rejection."""

from __future__ import annotations

import numpy as np
import pytest

from latentkit import VAE
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.data import Combinations, Inequality, Range, Sum

pd = pytest.importorskip("pandas")

COUNTRIES = {"Ulm": "D", "Bonn": "D", "Linz": "A", "Bern": "C"}


def _bills(n: int = 1200, seed: int = 0):
    """Dates, decimals that add up, whole numbers, levels, cities in their countries; some cells are missing."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, n), "D")
    net = rng.lognormal(4, 0.6, n).round(2)
    tax = (net * rng.choice([0.07, 0.19], n)).round(2)
    city = pd.Series(rng.choice(list(COUNTRIES), n))
    grade = rng.integers(0, 3, n)
    bills = pd.DataFrame(
        {
            "start": start,
            "end": pd.Series(start + pd.to_timedelta(rng.integers(0, 60, n), "D")).mask(rng.random(n) < 0.15),
            "net": net,
            "tax": pd.Series(tax).mask(rng.random(n) < 0.1),
            "total": (net + tax).round(2),
            "age": rng.integers(1, 99, n),
            "city": city,
            "country": city.map(COUNTRIES),
            "grade": pd.Categorical.from_codes(grade, ["a", "b", "c"], ordered=True),
            "best": pd.Categorical.from_codes(np.maximum(grade, rng.integers(0, 3, n)), ["a", "b", "c"], ordered=True),
        }
    )
    return bills


@pytest.fixture(scope="module")
def bills():
    return _bills()


@pytest.fixture(scope="module")
def vae(bills) -> VAE:
    return VAE(max_epochs=10, learning_rate=1e-2, random_state=0).fit(bills)


def test_every_row_keeps_every_constraint(vae, bills) -> None:
    constraints = [
        "start <= end",
        Sum("total", ("net", "tax")),
        Inequality("grade", "best"),
        "tax < net",
        "18 <= age < 60",
        Combinations(("city", "country"), bills),
    ]
    rows = vae.sample(3000, constraints=constraints)
    assert len(rows) == 3000
    assert (rows.dtypes == bills.dtypes).all()
    assert not (rows["start"] > rows["end"]).any()
    whole = rows["tax"].notna()
    assert np.array_equal(rows.loc[whole, "total"], (rows["net"] + rows["tax"]).round(2)[whole])
    assert not (rows["tax"] >= rows["net"]).any()
    assert rows["age"].between(18, 59).all()
    assert (rows["grade"] <= rows["best"]).all()
    assert rows["city"].map(COUNTRIES).eq(rows["country"]).all()
    assert 0.05 < rows["end"].isna().mean() < 0.3
    assert 0.02 < rows["tax"].isna().mean() < 0.2, "a sum does not make missing terms more frequent"
    assert rows["city"].nunique() == 4
    assert vae.n_redrawn_ == 0
    assert rows.equals(vae.sample(3000, constraints=constraints))
    assert not rows.equals(vae.sample(3000, constraints=constraints, random_state=1))


def test_constraints_go_with_conditions(vae) -> None:
    rows = vae.sample(300, condition={"country": "A", "age": (30, 50)}, constraints="start < end")
    assert set(rows["country"]) == {"A"}
    assert rows["age"].between(30, 50).all()
    assert not (rows["start"] >= rows["end"]).any()
    none = vae.sample(50, condition={"end": None}, constraints="start < end")
    assert none["end"].isna().all()


@pytest.mark.slow
def test_rows_are_those_that_rejection_would_leave() -> None:
    """Two columns that are even and independent: P(a = k given a <= b) is (10 - k) / 55."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.integers(0, 10, 4000), "b": rng.integers(0, 10, 4000)})
    table["sum"] = pd.Series(table["a"] + table["b"]).map(lambda value: "low" if value < 9 else "high")
    vae = VAE(max_epochs=15, learning_rate=5e-3, decoder="mlp", random_state=0).fit(table)
    held, free = vae.sample(20_000, constraints="a <= b"), vae.sample(60_000)
    kept = free[free["a"] <= free["b"]]
    ends = (np.arange(-0.5, 10), np.arange(-0.5, 10))
    found, expected = (np.histogram2d(rows["a"], rows["b"], bins=ends)[0] / len(rows) for rows in (held, kept))
    error = np.sqrt(expected * (1 - expected) * (1 / len(held) + 1 / len(kept)))
    assert np.abs((found - expected) / np.where(error > 0, error, 1)).max() < 4.5
    assert abs((held["sum"] == "low").mean() - (kept["sum"] == "low").mean()) < 0.02
    exact = (10 - np.arange(10)) / 55
    assert np.abs(found.sum(axis=1) - exact).max() < 0.03
    assert abs(vae.probability(constraints="a <= b") - len(kept) / len(free)) < 0.02


def test_sums_leave_their_terms_as_they_are(vae) -> None:
    held, free = vae.sample(4000, constraints="total = net + tax"), vae.sample(4000)
    for level in (0.1, 0.5, 0.9):
        assert abs(np.log(held["net"].quantile(level) / free["net"].quantile(level))) < 0.1


def test_functions_are_checked_and_rows_drawn_again(vae) -> None:
    rows = vae.sample(200, constraints=["start <= end", lambda rows: rows["age"] % 3 == 0])
    assert len(rows) == 200
    assert (rows["age"] % 3 == 0).all()
    assert not (rows["start"] > rows["end"]).any()
    assert 200 < vae.n_redrawn_ < 1500
    assert len(rows.drop_duplicates()) == 200
    assert rows.equals(vae.sample(200, constraints=["start <= end", lambda rows: rows["age"] % 3 == 0]))
    vae.sample(3, constraints="start <= end")
    assert vae.n_redrawn_ == 0


def test_functions_that_no_row_passes_are_given_up(vae) -> None:
    with pytest.raises(InvalidParameterError, match=r"^0 of \d+ rows \(0.00%\) passed .* and 5 are wanted"):
        vae.sample(5, constraints=lambda rows: rows["age"] > 200)
    with pytest.raises(InvalidParameterError, match=r"a truth value for each, shape \(5,\); got shape \(5,\) of int64"):
        vae.sample(5, constraints=lambda rows: rows["age"])
    with pytest.raises(InvalidParameterError, match=r"got shape \(\) of bool"):
        vae.sample(5, constraints=lambda rows: True)


def test_constraints_that_cannot_be_are_refused(vae, bills) -> None:
    with pytest.raises(InvalidParameterError, match="no row can keep 'start < end' and 'end < start' together"):
        vae.sample(3, constraints=["start < end", "end < start"])
    with pytest.raises(InvalidParameterError, match=r"drawn as they are; got draw='mean'"):
        vae.sample(3, constraints="start < end", draw="mean")
    with pytest.raises(InvalidParameterError, match="the probability of a function is not known"):
        vae.probability(constraints=lambda rows: rows["age"] > 3)
    numbers = VAE(max_epochs=1).fit(np.random.default_rng(0).normal(size=(30, 3)))
    with pytest.raises(UnsupportedOperationError, match="constraints are between columns of a table of mixed kinds"):
        numbers.sample(3, constraints="a <= b")


def test_a_model_with_conditions_of_its_own_keeps_constraints_too(bills) -> None:
    table, country = bills.drop(columns="country"), bills["country"]
    vae = VAE(max_epochs=2, random_state=0).fit(table, condition=country)
    rows = vae.sample(40, condition="D", constraints=[Range("age", 20, 40), lambda rows: rows["age"] != 30])
    assert rows["age"].between(20, 40).all()
    assert not (rows["age"] == 30).any()
    assert vae.n_redrawn_ >= 0
    with pytest.raises(DataError, match="given one condition; got 40"):
        vae.sample(40, condition=["D"] * 40, constraints="age < 40")
