"""Codes of columns: round trips, the marginal, and what a code may give away."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentkit.core.errors import InvalidParameterError
from latentkit.data.table.codings import CategoryCoding, DigitsCoding, LeftOutCoding, codings, learn_numbers
from latentkit.data.table.quantising import MIN_ROWS

RNG = np.random.default_rng(0)
N = 4000
COLUMNS = {
    "normal": (RNG.normal(size=N), 0.0, -np.inf),
    "heavy tail": (np.exp(3 * RNG.normal(size=N)), 0.0, 0.0),
    "tenths": (np.round(RNG.normal(size=N), 1), 0.1, -np.inf),
    "counts": (RNG.poisson(40, N).astype(float), 1.0, 0.0),
    "wide integers": (RNG.integers(10_000, 900_000, N).astype(float), 1.0, 0.0),
    "spike": (np.where(RNG.random(N) < 0.8, 0.0, RNG.gamma(2.0, 500.0, N)), 0.0, 0.0),
    "spike of integers": (np.where(RNG.random(N) < 0.9, 0, RNG.integers(1000, 99_999, N)).astype(float), 1.0, 0.0),
    "two lumps": (np.where(RNG.random(N) < 0.5, RNG.normal(size=N), 100 + RNG.normal(size=N)), 0.0, -np.inf),
    "few": (RNG.integers(0, 5, N).astype(float), 1.0, 0.0),
    "days": (RNG.integers(10_000, 12_000, N) * 86_400.0, 86_400.0, -np.inf),
}


def learnt(name):
    values, step, lowest = COLUMNS[name]
    return values, learn_numbers(*np.unique(values, return_counts=True), step=step, lowest=lowest)


@pytest.mark.parametrize("name", COLUMNS)
def test_numbers_come_back_within_their_code(name):
    values, coding = learnt(name)
    u = coding.encode(values)
    back = coding.decode(u.astype(np.float32).astype(np.float64))
    np.testing.assert_array_equal(np.floor(coding.encode(back)), np.floor(u))
    assert (u >= 0).all()
    assert (u < coding.sizes[0]).all()
    np.testing.assert_array_equal(np.floor(u.astype(np.float32)), np.floor(u))
    low, high = np.array(coding.low), np.array(coding.high)
    code = np.floor(u[:, 0]).astype(int)
    assert (np.abs(back - values) <= 1e-5 * (high - low)[code] + coding.step / 2).all()
    np.testing.assert_allclose(back[low[code] == high[code]], values[low[code] == high[code]], rtol=1e-12)


@pytest.mark.parametrize("name", COLUMNS)
def test_codes_are_ordered_and_do_not_overlap(name):
    coding = learnt(name)[1]
    low, high = np.array(coding.low), np.array(coding.high)
    assert (low <= high).all()
    assert (high[:-1] <= low[1:]).all()
    values = np.sort(learnt(name)[0])
    assert (np.diff(coding.encode(values)[:, 0]) >= 0).all()


@pytest.mark.parametrize("name", COLUMNS)
def test_drawing_codes_and_places_at_random_keeps_the_distribution(name):
    values, coding = learnt(name)
    u = np.floor(coding.encode(values)) + RNG.random((N, 1))
    made = np.sort(coding.decode(u))
    grid = np.unique(values)
    distance = np.abs(
        np.searchsorted(np.sort(values), grid, "right") - np.searchsorted(made, grid + 1e-9 * np.abs(grid), "right")
    )
    assert distance.max() / N < 0.02
    if coding.step:
        np.testing.assert_allclose(made / coding.step, np.rint(made / coding.step), atol=1e-6)
    assert made.min() >= coding.lowest


@pytest.mark.parametrize("name", COLUMNS)
def test_every_code_stands_for_enough_rows(name):
    values, coding = learnt(name)
    rows = np.bincount(np.floor(coding.encode(values)[:, 0]).astype(int), minlength=coding.sizes[0])
    assert rows.min() >= MIN_ROWS


def test_the_ends_are_nobodys_own_value():
    values = np.r_[RNG.normal(50_000, 9_000, 3000).round(), 137_291.0, 3_117.0]
    coding = learn_numbers(*np.unique(values, return_counts=True), step=1.0)
    assert coding.high[-1] > 137_291.5
    assert coding.low[0] < 3_116.5
    assert coding.high[-1] % 100 == 0.5  # rounded, and half a step on
    made = coding.decode(np.full((2000, 1), coding.sizes[0] - 1) + RNG.random((2000, 1)))
    assert (made == 137_291).mean() < 0.01


def test_a_rare_value_among_few_is_not_handed_out():
    values = np.repeat([1.0, 2.0, 3.0, 47.0, 90.0], [500, 400, 300, 1, 9])
    coding = learn_numbers(*np.unique(values, return_counts=True), step=1.0)
    assert coding.low[:3] == coding.high[:3] == (1.0, 2.0, 3.0)
    assert coding.sizes == (4,)  # 47 has joined the lighter of its neighbours
    made = coding.decode(3 + RNG.random((5000, 1)))
    assert len(np.unique(made)) > 20
    assert made.min() >= 40


def test_what_lies_beyond_the_data_lies_beyond_the_codes():
    coding = learnt("normal")[1]
    last = coding.high[-1]
    width = last - coding.low[-1]
    u = coding.encode(np.array([last + width, coding.low[0] - 1e-9, np.nan]))[:, 0]
    assert u[0] == pytest.approx(coding.sizes[0] + 1)
    assert u[1] < 0
    assert np.isnan(u[2])
    assert coding.decode(u[:1, None])[0] == pytest.approx(last + width)


def test_intervals_are_the_codes_and_places_of_a_range():
    values, coding = learnt("wide integers")
    allowed = coding.interval(100_000, 250_000)
    chosen = np.flatnonzero(allowed.codes)
    u = RNG.choice(chosen, 3000)
    place = allowed.low[u] + (allowed.high[u] - allowed.low[u]) * RNG.random(3000)
    made = coding.decode((u + place)[:, None])
    assert made.min() >= 100_000
    assert made.max() <= 250_000
    inside = (values >= 100_000) & (values <= 250_000)
    assert set(np.floor(coding.encode(values[inside])[:, 0]).astype(int)) <= set(chosen.tolist())


@pytest.mark.parametrize("n", [1001, 1024, 1025, 300_000])
def test_digits_come_back(n):
    coding = DigitsCoding(n)
    values = np.arange(n, dtype=np.float64)
    u = coding.encode(values)
    np.testing.assert_array_equal(coding.decode(u.astype(np.float32).astype(np.float64)), values)
    assert (u < np.array(coding.sizes)).all()
    assert sum(coding.sizes) < 2.1 * np.sqrt(n) + 2
    first, second = (axis.ravel() for axis in np.meshgrid(*map(np.arange, coding.sizes), indexing="ij"))
    every = coding.decode(np.stack([first, second], axis=1) + 0.5)
    assert every.max() == n - 1  # also pairs of digits that no category has


def test_a_category_of_digits_can_be_asked_for_and_two_cannot():
    coding = DigitsCoding(2000)
    first, second = coding.chosen([777])
    assert (int(first.codes.argmax()) * coding.base + int(second.codes.argmax())) == 777
    assert first.codes.sum() == second.codes.sum() == 1
    with pytest.raises(InvalidParameterError, match="one of them at a time; got 2"):
        coding.chosen([3, 777])


@pytest.mark.parametrize("coding", [CategoryCoding(3), DigitsCoding(2000), LeftOutCoding(), learnt("spike")[1]])
def test_descriptions_are_exact(coding):
    description = json.loads(json.dumps(coding.describe()))
    assert codings[description["type"]](description) == coding


def test_bins_are_finer_towards_the_ends():
    values, coding = learnt("heavy tail")
    rows = np.bincount(np.floor(coding.encode(values)[:, 0]).astype(int))
    assert rows[-1] < 0.5 * np.median(rows)
    made = coding.decode(np.floor(coding.encode(values)) + RNG.random((N, 1)))
    assert made.mean() == pytest.approx(values.mean(), rel=0.25)
