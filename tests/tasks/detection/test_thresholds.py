"""Alarms: guarantees by simulation, tails against scipy, many tests against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, genpareto

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.tasks.detection import (
    Tail,
    benjamini_hochberg,
    conformal_cut,
    conformal_p_values,
    fit_tail,
    rate_cut,
)


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
def test_a_rate_is_a_share_of_the_reference(contamination) -> None:
    scores = np.random.default_rng(0).normal(size=1000)
    assert (scores > rate_cut(scores, contamination)).mean() == pytest.approx(contamination, abs=0.001)


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (50, 0.1), (200, 0.013)])
def test_false_alarms_are_as_rare_as_promised_for_any_distribution(n, alpha) -> None:
    rng = np.random.default_rng(1)
    draws = rng.lognormal(0, 2, (4000, n + 1))
    alarms = [row[-1] > conformal_cut(row[:-1], alpha) for row in draws]
    p_values = np.array([conformal_p_values(row[-1:], row[:-1])[0] for row in draws])
    error = 3 * np.sqrt(alpha * (1 - alpha) / len(draws))
    assert np.mean(alarms) <= alpha + error
    assert np.mean(alarms) >= alpha - 1 / (n + 1) - error, "no rarer than it must be"
    assert np.array_equal(p_values <= alpha, np.array(alarms)), "two ways to say the same"


def test_equal_scores_raise_no_alarm() -> None:
    assert conformal_p_values(np.array([1.0]), np.ones(9))[0] == 1.0
    assert conformal_cut(np.ones(99), 0.05) == 1.0


def test_many_tests_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        p = np.concatenate([rng.random(30), rng.random(5) ** 6])
        assert np.array_equal(benjamini_hochberg(p, 0.1), false_discovery_control(p) <= 0.1)
    assert not benjamini_hochberg(np.ones(4), 0.1).any()
    assert benjamini_hochberg(np.array([]), 0.1).shape == (0,)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.25])
def test_tails_are_those_of_their_distribution(shape) -> None:
    scores = genpareto(shape, scale=2.0).rvs(200_000, random_state=3)
    tail = fit_tail(scores, share=0.05)
    truth = genpareto(shape, scale=2.0)
    assert tail.share == 0.05
    assert tail.base == pytest.approx(truth.isf(0.05), rel=0.03)
    assert tail.shape == pytest.approx(shape, abs=0.06)
    for probability in (0.05, 0.01, 1e-3):
        cut = tail.cut(probability)
        assert truth.sf(cut) == pytest.approx(probability, rel=0.1)
        assert float(tail.exceedance(np.array([cut]))[0]) == pytest.approx(probability, rel=1e-6)


@pytest.mark.parametrize("shape", [-0.4, 0.0, 0.4])
def test_a_tail_is_the_formula(shape) -> None:
    tail = Tail(base=3.0, share=0.2, scale=1.5, shape=shape)
    scores = np.array([3.0, 3.7, 5.0, 50.0])
    np.testing.assert_allclose(tail.exceedance(scores), 0.2 * genpareto(shape, scale=1.5).sf(scores - 3.0), atol=1e-12)
    assert tail.exceedance(np.array([1.0]))[0] == 0.2


def test_scores_that_do_not_differ_have_a_tail_of_nothing() -> None:
    tail = fit_tail(np.ones(200))
    assert (tail.scale, tail.cut(0.01)) == (0.0, 1.0)
    assert tail.exceedance(np.array([1.0, 1.1])).tolist() == [0.1, 0.0]


def test_what_cannot_be_is_refused() -> None:
    scores = np.arange(18.0)
    with pytest.raises(DataError, match="from 19 held-out normal rows on; there are 18"):
        conformal_cut(scores, 0.05)
    with pytest.raises(DataError, match="0.1 of 18 are 2. Give at least 100 rows"):
        fit_tail(scores)
    with pytest.raises(InvalidParameterError, match=r"contamination must be a float in \(0, 0.5\]; got 0.6"):
        rate_cut(scores, 0.6)
    with pytest.raises(InvalidParameterError, match="rate must be a float"):
        benjamini_hochberg(scores, 1.0)
    with pytest.raises(InvalidParameterError, match="score 1 is not finite"):
        conformal_p_values(scores, np.array([1.0, np.nan]))
    with pytest.raises(InvalidParameterError, match=r"one number a row.*got \(0,\)"):
        rate_cut(np.array([]), 0.1)
    with pytest.raises(InvalidParameterError, match="probability must be a float"):
        Tail(0.0, 0.1, 1.0, 0.0).cut(0.2)
