"""Alarms: guarantees by simulation, tails against scipy, many tests against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, genpareto

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.tasks.detection import (
    Tail,
    auto_cut,
    benjamini_hochberg,
    best_cut,
    conformal_cut,
    conformal_p_values,
    fit_tail,
    rate_cut,
    repeated_confidence,
    verdict_confidence,
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


def test_an_automatic_cut_leaves_its_share_of_normal_rows() -> None:
    rng = np.random.default_rng(4)
    for draw in (rng.exponential, rng.normal, rng.gumbel):
        reference, new = draw(size=5000), draw(size=200_000)
        assert (new > auto_cut(reference, is_clean=True)).mean() == pytest.approx(0.01, rel=0.4)
        assert 0.0005 < (new > auto_cut(reference, is_clean=False)).mean() < 0.04
        assert auto_cut(reference, rate=0.001, is_clean=True) > auto_cut(reference, is_clean=True)


def test_an_automatic_cut_is_the_formula_of_its_quantiles() -> None:
    scores = np.random.default_rng(5).uniform(size=999)  # none is above the cut
    middle, upper = np.quantile(scores, [1 / 2, 3 / 4])
    tail = genpareto(-0.15, scale=(upper - middle) * -0.15 / (2.0**-0.15 - 1))
    expected = middle + tail.isf(2 * 0.01)
    assert expected > scores.max()
    assert auto_cut(scores, is_clean=False) == pytest.approx(expected)


def test_an_automatic_cut_of_mixed_rows_is_not_that_of_the_odd_ones() -> None:
    rng = np.random.default_rng(6)
    normal = rng.exponential(size=1600)
    mixed = np.concatenate([normal, rng.normal(50, 1, 400)])
    cuts = [auto_cut(scores, is_clean=False) for scores in (normal, mixed)]
    assert cuts[1] == pytest.approx(cuts[0], rel=0.1)
    assert (mixed > cuts[1])[1600:].all()
    assert auto_cut(mixed, is_clean=True) > 40, "the tail of clean rows would be that of the odd ones"


@pytest.mark.parametrize("is_clean", [True, False])
def test_automatic_cuts_of_few_or_equal_scores(is_clean) -> None:
    assert auto_cut(np.ones(500), is_clean=is_clean) == 1.0
    for n in (1, 2, 5, 50):
        scores = np.random.default_rng(7).normal(size=n)
        assert np.isfinite(auto_cut(scores, is_clean=is_clean))
        assert auto_cut(scores, is_clean=is_clean) >= np.median(scores)


def f1_score(odd: np.ndarray, flagged: np.ndarray) -> float:
    return 2 * (odd & flagged).sum() / (odd.sum() + flagged.sum())


def test_the_best_cut_is_that_of_all_cuts() -> None:
    rng = np.random.default_rng(8)
    for _ in range(100):
        odd = rng.random(30) < 0.3
        odd[:2] = [True, False]
        scores = (rng.normal(size=30) + odd).round(1)
        cuts = np.append(np.unique(scores), scores.min() - 1)
        expected = max(f1_score(odd, scores > cut) for cut in cuts)
        cut = best_cut(scores, odd)
        assert f1_score(odd, scores > cut) == pytest.approx(expected)
        assert cut not in scores, "it lies between scores"


def test_verdicts_are_as_sure_as_they_are_repeated() -> None:
    """With reference rows drawn anew and a cut at the same share of them."""
    rng = np.random.default_rng(9)
    n, share = 200, 0.1
    reference = np.sort(rng.normal(size=n))
    cut = np.quantile(reference, 1 - share)
    scores = np.array([-3.0, 0.0, cut - 0.3, cut + 0.2, cut + 0.6, 6.0])
    found = repeated_confidence(scores, reference, cut)
    assert ((found >= 0) & (found <= 1)).all()
    assert found[[0, 1, -1]].min() > 0.99
    n_above = (reference > cut).sum()
    again = np.sort(rng.choice(reference, (4000, n)), axis=1)
    repeated = [((score > again[:, n - n_above - 1]) == (score > cut)).mean() for score in scores]
    np.testing.assert_allclose(found, repeated, atol=0.1)


def test_a_verdict_is_as_sure_as_its_cut() -> None:
    """Cuts at one in a hundred, learnt from exponential scores drawn anew, leave the verdict as often as is said."""
    rng = np.random.default_rng(10)
    cut, n = np.log(100), 500
    cuts = np.array([auto_cut(rng.exponential(size=n), is_clean=True) for _ in range(600)])
    scores = cut + np.array([-3.0, -0.5, -0.2, 0.2, 0.5, 4.0])
    repeated = [((score > cuts) == (score > cut)).mean() for score in scores]
    np.testing.assert_allclose(verdict_confidence(scores, cut, n), repeated, atol=0.13)


def test_what_cannot_be_cut_is_refused() -> None:
    scores, odd = np.arange(6.0), np.array([0, 0, 0, 0, 1, 1], bool)
    with pytest.raises(DataError, match="labels of both kinds, one for each of 6 scores; got 6 labels, 0 of them odd"):
        best_cut(scores, np.zeros(6, bool))
    with pytest.raises(DataError, match="got 6 labels, 6 of them odd"):
        best_cut(scores, np.ones(6, bool))
    with pytest.raises(DataError, match="got 5 labels, 2 of them odd"):
        best_cut(scores, odd[1:])
    with pytest.raises(InvalidParameterError, match=r"rate must be a float in \(0, 0.1\]; got 0.2"):
        auto_cut(scores, rate=0.2, is_clean=True)
    with pytest.raises(InvalidParameterError, match="score 2 is not finite"):
        auto_cut(np.array([0, 1, np.inf]), is_clean=False)
    with pytest.raises(InvalidParameterError, match="score 0 is not finite"):
        repeated_confidence(scores, np.array([np.nan]), 1.0)
